"""What the engine benchmark measures: this package's methods, plain gradients, and other packages' methods.

A :class:`Candidate` builds, for a model and a batch, the call that is measured. It knows models and packages; it does
not know how a call is measured (``measuring``) nor what becomes of the numbers (``engine``, ``growth``).
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import timm
import torch
import torchvision
from torch import Tensor, nn

from quantus_vit import (
    AttentionRollout,
    AttnLRP,
    BeyondIntuition,
    GenericAttention,
    GradCAM,
    LeGrad,
    LibraGrad,
    PositionalLRP,
    TokenOcclusion,
    TokenTM,
    TransformerLRP,
)

CLASSES = 3
Call = Callable[[], Any]
Build = Callable[[nn.Module, Tensor], Call]


@dataclass(frozen=True)
class Candidate:
    """One method.

    Attributes
    ----------
    name : str
        As in the table.
    build : callable
        (model, images) -> the call to measure, which computes one map an image for class 0 (or says otherwise).
    package : str or None
        The distribution that must be installed beside this package's own needs.
    architecture : {"timm", "torchvision"}
        Whose Vision Transformer it explains; the geometry is the same.
    largest_batch : int or None
        More images than this in a batch give wrong maps or an error there.
    cost, memory : float or None
        The aim, as multiples of the plain forward's time and peak memory.
    forwards : callable or None
        (model, images) -> the call that time is a multiple of, where that is not one plain forward.
    """

    name: str
    build: Build
    package: str | None = None
    architecture: str = "timm"
    largest_batch: int | None = None
    cost: float | None = None
    memory: float | None = None
    forwards: Build | None = None

    @property
    def ours(self) -> bool:
        """Whether it is a method of this package; the check compares these alone with the record."""
        return self.build in OURS


# Models --------------------------------------------------------------------------------------------------------------


def make_model(name: str, architecture: str, size: int, **options: Any) -> nn.Module:
    """A randomly initialised classifier of timm for size x size pixels, or torchvision's ViT of the same geometry."""
    torch.manual_seed(0)
    if size != 224:
        options["img_size"] = size
    model = timm.create_model(name, num_classes=CLASSES, **options)
    if architecture == "torchvision":
        block = model.blocks[0]
        model = torchvision.models.VisionTransformer(
            image_size=size,
            patch_size=model.patch_embed.patch_size[0],
            num_layers=len(model.blocks),
            num_heads=block.attn.num_heads,
            hidden_dim=model.embed_dim,
            mlp_dim=block.mlp.fc1.out_features,
            num_classes=CLASSES,
        )
        nn.init.normal_(model.heads.head.weight, std=0.02)  # torchvision starts with a head of zeros
    return model.eval()


def make_images(batch: int, size: int) -> Tensor:
    """(batch, 3, size, size) of normal noise, the same every time."""
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(1))


def plain_forward(model: nn.Module, images: Tensor) -> Call:
    """The model's own forward under ``no_grad``: what every number is a multiple of."""

    def call() -> Tensor:
        with torch.no_grad():
            return model(images)

    return call


# This package --------------------------------------------------------------------------------------------------------


def attributing(method: type, call: str = "attribute", options: dict[str, Any] | None = None, **given: Any) -> Build:
    """Builds the call of a method of this package made with these options; ``given`` goes to the call."""

    def build(model: nn.Module, images: Tensor) -> Call:
        explain = getattr(method(model, **(options or {})), call)
        return lambda: explain(images, **given)

    return build


transformer_lrp = attributing(TransformerLRP, target=0)
transformer_lrp_all = attributing(TransformerLRP, "attribute_all_targets")
attn_lrp_epsilon = attributing(AttnLRP, options={"conv_gamma": 0, "linear_gamma": 0}, target=0)
attn_lrp = attributing(AttnLRP, target=0)
generic_attention = attributing(GenericAttention, target=0)
attention_rollout = attributing(AttentionRollout)

libra_grad = attributing(LibraGrad, target=0)
le_grad = attributing(LeGrad, target=0)
le_grad_mean = attributing(LeGrad, options={"pool": "mean", "start_layer": 0}, target=0)
token_tm = attributing(TokenTM, target=0)
beyond_intuition = attributing(BeyondIntuition, target=0)
stabilised_lrp = attributing(TransformerLRP, options={"stabilizer": 0.1}, target=0)
positions_lrp = attributing(AttnLRP, options={"positions": True}, target=0)
positional_lrp = attributing(PositionalLRP, target=0)
grad_cam = attributing(GradCAM, target=0)
token_occlusion = attributing(TokenOcclusion, target=0)


def occlusion_forwards(model: nn.Module, images: Tensor) -> Call:
    """The forwards that :data:`token_occlusion` runs for one image, bare: the whole image, then 16 at a time."""
    windows = math.prod(model.patch_embed.grid_size)

    def call() -> None:
        with torch.no_grad():
            model(images)
            for start in range(0, windows, 16):
                model(images.expand(min(16, windows - start), -1, -1, -1))

    return call


OURS = (
    transformer_lrp,
    transformer_lrp_all,
    stabilised_lrp,
    attn_lrp_epsilon,
    attn_lrp,
    positions_lrp,
    generic_attention,
    attention_rollout,
    libra_grad,
    le_grad,
    le_grad_mean,
    token_tm,
    beyond_intuition,
    positional_lrp,
    grad_cam,
    token_occlusion,
)


# Others --------------------------------------------------------------------------------------------------------------


def input_gradient(model: nn.Module, images: Tensor) -> Call:
    def call() -> Tensor:
        x = images.detach().requires_grad_()
        return torch.autograd.grad(model(x)[:, 0].sum(), x)[0]

    return call


def input_x_gradient(model: nn.Module, images: Tensor) -> Call:
    from captum.attr import InputXGradient

    method = InputXGradient(model)
    return lambda: method.attribute(images.detach().requires_grad_(), target=0)


def lxt_gamma(model: nn.Module, images: Tensor) -> Call:
    return _lxt(model, images, 0.25, 0.05)


def lxt_plain(model: nn.Module, images: Tensor) -> Call:
    return _lxt(model, images, None, None)


def _lxt(model: nn.Module, images: Tensor, conv_gamma: float | None, linear_gamma: float | None) -> Call:
    """LXT's recipe for Vision Transformers: patched classes, gamma rules by a composite of zennit.

    Of the recipe's ``backward()`` only the part down to the input is computed, which is in LXT's favour.
    """
    from zennit.composites import LayerMapComposite
    from zennit.rules import Gamma

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patched = _patched_classes()

    def call() -> Tensor:
        x = images.detach().requires_grad_()
        composite = None
        if conv_gamma is not None:
            rules = [(nn.Conv2d, Gamma(conv_gamma)), (nn.Linear, Gamma(linear_gamma))]
            composite = LayerMapComposite(layer_map=rules)
            composite.register(model)
        try:
            with patched():
                (gradient,) = torch.autograd.grad(model(x)[:, 0].sum(), x)
        finally:
            if composite is not None:
                composite.remove()
        return gradient * images

    return call


def _patched_classes() -> Callable[[], contextlib.AbstractContextManager[None]]:
    """LXT's patches as a context: the plain forward that LXT is compared with must run torch's own classes."""
    from lxt.efficient import monkey_patch, monkey_patch_zennit
    from torchvision.models import vision_transformer

    classes = (nn.GELU, nn.LayerNorm, nn.MultiheadAttention)

    def put(forwards: list[Any]) -> None:
        for cls, forward in zip(classes, forwards, strict=True):
            cls.forward = forward

    originals = [cls.forward for cls in classes]
    monkey_patch(vision_transformer)
    monkey_patch_zennit()
    patches = [cls.forward for cls in classes]
    put(originals)
    if any(old is new for old, new in zip(originals, patches, strict=True)):
        raise RuntimeError("LXT patched other classes than expected")

    @contextlib.contextmanager
    def patched() -> Iterator[None]:
        put(patches)
        try:
            yield
        finally:
            put(originals)

    return patched


def hilrp_map(model: nn.Module, images: Tensor) -> Call:
    """HiLRP patches timm's classes for good at its first call; the forward beside it then runs those too."""
    import hilrp

    return lambda: hilrp.attribute(model, images, target=0)


def autolrp_map(model: nn.Module, images: Tensor) -> Call:
    import autolrp

    def call() -> Tensor:
        x = autolrp.tensor(images)
        model(x)[:, 0].sum().lrp()
        return x.relevance

    return call


CANDIDATES: tuple[Candidate, ...] = (
    Candidate("TransformerLRP", transformer_lrp, cost=5.5, memory=8),
    Candidate("TransformerLRP, three targets", transformer_lrp_all, cost=12),
    Candidate("TransformerLRP, stabilizer 0.1", stabilised_lrp),
    Candidate("AttnLRP, epsilon", attn_lrp_epsilon, cost=2.6, memory=7),
    Candidate("AttnLRP, gamma", attn_lrp, cost=6, memory=9),
    Candidate("AttnLRP, gamma, with positions", positions_lrp),
    Candidate("AttnLRP, gamma, torchvision's ViT", attn_lrp, architecture="torchvision"),
    Candidate("GenericAttention", generic_attention, cost=2.5),
    Candidate("AttentionRollout", attention_rollout, cost=1.3),
    Candidate("LibraGrad", libra_grad, cost=2.6, memory=7),
    Candidate("LeGrad", le_grad, cost=2.7, memory=7),
    Candidate("LeGrad, mean of tokens, all layers", le_grad_mean, cost=2.7, memory=7),
    Candidate("TokenTM", token_tm, cost=2.7, memory=7),
    Candidate("BeyondIntuition", beyond_intuition),
    Candidate("PositionalLRP", positional_lrp),
    Candidate("GradCAM", grad_cam),
    Candidate("TokenOcclusion", token_occlusion),
    Candidate(
        "TokenOcclusion, to its bare forwards",
        token_occlusion,
        largest_batch=1,
        cost=1.05,
        forwards=occlusion_forwards,
    ),
    Candidate("input gradient", input_gradient),
    Candidate("captum InputXGradient", input_x_gradient, package="captum"),
    Candidate("lxt, gamma, torchvision's ViT", lxt_gamma, package="lxt", architecture="torchvision"),
    Candidate("lxt, no gamma, torchvision's ViT", lxt_plain, package="lxt", architecture="torchvision"),
    Candidate("hilrp", hilrp_map, package="hilrp", largest_batch=1),
    Candidate("autolrp", autolrp_map, package="autolrp"),
)


def candidate(name: str) -> Candidate:
    """The candidate of that name."""
    return next(found for found in CANDIDATES if found.name == name)
