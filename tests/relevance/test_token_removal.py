"""Removal of tokens gives what a forward without those tokens gives: models rebuilt by hand, token by token."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from attribution.families import BY_NAME, FAMILIES, VIT, images, make, vit
from torch import Tensor, nn

from quantus_vit.relevance import TokenRemoval, tokens_removed
from quantus_vit.relevance.forward import logits_of

REFUSED = (
    "xcit",
    "swin",
    "swinv2",
    "torchvision_swin",
    "torchvision_swin_v2",
    "hf_swin_eager",
    "hf_swin_sdpa",
    "pvt_v2",
    "hf_segformer",
)
MIXED_STEM = ("hybrid",)  # its tokens see each other's pixels
SERVED = [family.name for family in FAMILIES if family.name not in REFUSED]

ByHand = Callable[[Any, Tensor, Tensor], Tensor]  # (model, one image, mask) -> logits


def some_mask(count: int, places: int, share: float = 0.4) -> Tensor:
    return torch.rand(count, places, generator=torch.Generator().manual_seed(3)) < share


def kept_tokens(mask: Tensor, prefix: int) -> Tensor:
    return torch.cat([torch.ones(prefix, dtype=torch.bool), ~mask]).nonzero()[:, 0]


# Forwards of one image written anew, with tokens dropped after the position embedding ---------------------------------


def timm_vit(model: Any, x: Tensor, mask: Tensor) -> Tensor:
    tokens = model.norm_pre(model._pos_embed(model.patch_embed(x)))
    tokens = tokens[:, kept_tokens(mask, model.num_prefix_tokens)]
    for block in model.blocks:
        tokens = block(tokens)
    return model.forward_head(model.norm(tokens))


def timm_beit(model: Any, x: Tensor, mask: Tensor) -> Tensor:
    keep = kept_tokens(mask, 1)
    tokens = model.patch_embed(x)
    tokens = torch.cat([model.cls_token, tokens], 1)
    tokens = (tokens if model.pos_embed is None else tokens + model.pos_embed)[:, keep]
    for block in model.blocks:
        own = block.attn._get_rel_pos_bias
        bias = own()[..., keep, :][..., keep]
        block.attn._get_rel_pos_bias = lambda bias=bias: bias
        try:
            tokens = block(tokens)
        finally:
            del block.attn._get_rel_pos_bias
    return model.forward_head(model.norm(tokens))


def timm_eva_rotary(model: Any, x: Tensor, mask: Tensor) -> Tensor:
    tokens, rotary = model._pos_embed(model.patch_embed(x))
    if hasattr(model, "norm_pre"):  # not in older timm
        tokens = model.norm_pre(tokens)
    tokens = tokens[:, kept_tokens(mask, model.num_prefix_tokens)]
    for block in model.blocks:
        tokens = block(tokens, rope=rotary[~mask])
    return model.forward_head(model.norm(tokens))


def torchvision_vit(model: Any, x: Tensor, mask: Tensor) -> Tensor:
    tokens = torch.cat([model.class_token, model._process_input(x)], 1) + model.encoder.pos_embedding
    tokens = model.encoder.ln(model.encoder.layers(tokens[:, kept_tokens(mask, 1)]))
    return model.heads(tokens[:, 0])


def hugging_face_vit(model: Any, x: Tensor, mask: Tensor) -> Tensor:
    tokens = model.vit.embeddings(x)[:, kept_tokens(mask, 1)]
    layers = getattr(model.vit, "layers", None) or model.vit.encoder.layer
    for layer in layers:
        found = layer(tokens)
        tokens = found[0] if isinstance(found, tuple) else found
    return model.classifier(model.vit.layernorm(tokens)[:, 0])


def hugging_face_clip(model: Any, x: Tensor, mask: Tensor) -> Tensor:
    vision = model.vision_model
    tokens = vision.pre_layrnorm(vision.embeddings(x))[:, kept_tokens(mask, 1)]
    tokens = vision.encoder(inputs_embeds=tokens).last_hidden_state
    return model.classifier(tokens[:, 1:].mean(1))


class SiglipPooled(nn.Module):
    """The vision tower of SigLIP with its attention pooling."""

    def __init__(self) -> None:
        super().__init__()
        transformers = pytest.importorskip("transformers")
        size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
        config = transformers.SiglipVisionConfig(**size, image_size=32, patch_size=8)
        self.tower = transformers.SiglipVisionModel(config)

    def forward(self, x: Tensor) -> Tensor:
        return self.tower(pixel_values=x).pooler_output


def siglip_tower(model: Any, x: Tensor, mask: Tensor) -> Tensor:
    vision = getattr(model.tower, "vision_model", model.tower)
    tokens = vision.embeddings(x)[:, ~mask]
    tokens = vision.encoder(inputs_embeds=tokens).last_hidden_state
    return vision.head(vision.post_layernorm(tokens))


class PlainViT(nn.Module):
    """Patches by unfolding and a linear map, channels-last maps, attention written as einsum, mean over all tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.qkv, self.out = nn.Linear(3 * 64, 24), nn.Linear(24, 72), nn.Linear(24, 24)
        self.position, self.head = nn.Parameter(torch.randn(1, 4, 4, 24)), nn.Linear(24, 5)

    def tokens(self, x: Tensor) -> Tensor:
        size = len(x)
        patches = x.reshape(size, 3, 4, 8, 4, 8).permute(0, 2, 4, 3, 5, 1).reshape(size, 4, 4, 192)
        return (self.embed(patches) + self.position).flatten(1, 2)

    def attend(self, tokens: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (3, 8)) for part in self.qkv(tokens).chunk(3, -1))
        weights = torch.einsum("bihd,bjhd->bhij", q, k).softmax(-1)
        mixed = tokens + self.out(torch.einsum("bhij,bjhd->bihd", weights, v).flatten(2))
        return self.head(mixed.mean(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.attend(self.tokens(x))


def plain_vit(model: Any, x: Tensor, mask: Tensor) -> Tensor:
    return model.attend(model.tokens(x)[:, ~mask])


REBUILT: dict[str, tuple[Callable[[], nn.Module], ByHand]] = {
    **{
        name: (lambda name=name: make(BY_NAME[name]), timm_vit)
        for name in (
            "vit", "vit_gap", "vit_avg_class_token", "vit_avgmax", "vit_map", "vit_reg", "vit_qk_norm",
            "vit_ParallelScalingBlock", "deit_distilled", "deit3", "dinov2_reg", "siglip", "siglip_gap", "clip",
        )
    },
    "beit": (lambda: make(BY_NAME["beit"]), timm_beit),
    "eva02": (lambda: make(BY_NAME["eva02"]), timm_eva_rotary),
    "torchvision": (lambda: make(BY_NAME["torchvision_vit"]), torchvision_vit),
    "hf_vit_eager": (lambda: make(BY_NAME["hf_vit_eager"]), hugging_face_vit),
    "hf_vit_sdpa": (lambda: make(BY_NAME["hf_vit_sdpa"]), hugging_face_vit),
    "hf_clip_eager": (lambda: make(BY_NAME["hf_clip_eager"]), hugging_face_clip),
    "hf_clip_sdpa": (lambda: make(BY_NAME["hf_clip_sdpa"]), hugging_face_clip),
    "siglip_pooled": (SiglipPooled, siglip_tower),
    "plain": (PlainViT, plain_vit),
    "custom_function": (lambda: CustomFunction(), lambda model, x, mask: timm_vit(model.vit, x, mask)),
}  # fmt: skip


@pytest.fixture(params=list(REBUILT))
def rebuilt(request: pytest.FixtureRequest) -> tuple[nn.Module, ByHand]:
    build, by_hand = REBUILT[request.param]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        return build().double().eval(), by_hand


def test_equals_a_forward_without_the_tokens(
    rebuilt: tuple[nn.Module, ByHand],
) -> None:
    """Other masks for each image of a batch, none and one patch left among them."""
    model, by_hand = rebuilt
    x = images(BY_NAME["vit"], 4).double()
    mask = some_mask(4, 16)
    mask[1], mask[2] = False, True
    mask[2, 5] = False
    with torch.no_grad():
        whole = logits_of(model(x))
        found = logits_of(tokens_removed(model, mask)(x))
        wanted = torch.cat([by_hand(model, one[None], gone) for one, gone in zip(x, mask, strict=True)])
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-6)  # some models compute their softmax in float32
    torch.testing.assert_close(found[1], whole[1], rtol=1e-6, atol=1e-6)
    assert (found - whole)[[0, 2, 3]].abs().amax(1).min() > 1e-3


@pytest.mark.parametrize("name", SERVED)
def test_no_model_sees_the_removed_pixels(name: str) -> None:
    model, x = make(BY_NAME[name]), images(BY_NAME[name], 2)
    removal = TokenRemoval(model)
    with torch.no_grad():
        whole = logits_of(getattr(model, "_orig_mod", model)(x))
        torch.testing.assert_close(logits_of(removal(x)), whole, rtol=1e-4, atol=1e-4)
        rows, columns = removal.grid
        mask = some_mask(2, rows * columns).view(2, rows, columns)
        removal.mask = mask
        found = logits_of(removal(x))
        side = x.shape[-1] // columns
        pixels = mask[:, None].repeat_interleave(side, 2).repeat_interleave(side, 3)
        other = logits_of(removal(torch.where(pixels, 9 * torch.ones_like(x), x)))
    assert (found - whole).abs().max() > 1e-2
    if name not in MIXED_STEM:
        torch.testing.assert_close(other, found, rtol=0, atol=0)


@pytest.mark.parametrize("name", REFUSED)
def test_windows_pyramids_and_convolutions_are_refused(name: str) -> None:
    model, x = make(BY_NAME[name]), images(BY_NAME[name], 2)
    with pytest.raises(ValueError, match=r"tokens cannot be removed from this model: .+ in module '.+'"):
        TokenRemoval(model)(x)


def hooks_and_attributes(model: nn.Module) -> list[Any]:
    modules = model.named_modules()
    return [(name, len(m._forward_hooks), len(m._forward_pre_hooks), sorted(vars(m))) for name, m in modules]


def test_a_context_serves_several_forwards_and_leaves_nothing_behind() -> None:
    model, x = make(BY_NAME["vit"]), images(BY_NAME["vit"], 2)
    mask = some_mask(2, 16)
    before = hooks_and_attributes(model)
    with torch.no_grad():
        with tokens_removed(model, mask):
            first, second = model(x), model(2 * x)
        again = model(x)
    after = hooks_and_attributes(model)
    assert before == after
    assert torch.overrides._len_torch_function_stack() == 0
    with torch.no_grad():
        torch.testing.assert_close(tokens_removed(model, mask)(2 * x), second)
        torch.testing.assert_close(model(x), again)
    assert (first - again).abs().max() > 1e-3


def test_gradients_flow_past_the_removed_patches() -> None:
    model = make(BY_NAME["vit"])
    x = images(BY_NAME["vit"], 1).requires_grad_()
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[0, 1, 2] = True
    (gradient,) = torch.autograd.grad(tokens_removed(model, mask)(x)[0, 1], x)
    assert not gradient[0, :, 8:16, 16:24].any()
    assert gradient.any()


def test_half_precision_and_other_threads() -> None:
    model, x = make(BY_NAME["vit"]).bfloat16(), images(BY_NAME["vit"], 2).bfloat16()
    mask = some_mask(2, 16)
    found: dict[str, Tensor] = {}
    with torch.no_grad(), tokens_removed(model, mask):
        found["removed"] = model(x)

        def beside() -> None:
            with torch.no_grad():
                found["beside"] = model(x)

        thread = threading.Thread(target=beside)
        thread.start()
        thread.join()
    with torch.no_grad():
        torch.testing.assert_close(found["beside"], model(x))
    assert found["removed"].isfinite().all()
    assert (found["removed"] - found["beside"]).abs().max() > 1e-2


@pytest.mark.parametrize("name", ["vit", "vit_gap", "vit_avgmax", "siglip", "hf_vit_eager", "torchvision_vit"])
def test_no_patch_at_all_is_finite(name: str) -> None:
    """Attention over nothing and the mean of nothing are 0, so what is left does not depend on the image."""
    model, x = make(BY_NAME[name]), images(BY_NAME[name], 2)
    with torch.no_grad():
        found = logits_of(tokens_removed(model, torch.ones(2, 16, dtype=torch.bool))(x))
    assert found.isfinite().all()
    torch.testing.assert_close(found[0], found[1])


class LostTokens(nn.Module):
    """A ViT, one of whose activations no mode of torch sees."""

    def __init__(self) -> None:
        super().__init__()
        self.vit = vit()()
        self.vit.blocks[1].mlp.act = Unseen()

    def forward(self, x: Tensor) -> Tensor:
        return self.vit(x)


class Unseen(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        with torch._C.DisableTorchFunction():
            return x.sigmoid()


class CustomFunction(nn.Module):
    """A custom autograd function: its forward is Python, and its torch functions are seen."""

    def __init__(self) -> None:
        super().__init__()
        self.vit = vit()()
        self.vit.blocks[1].mlp.act = Custom()

    def forward(self, x: Tensor) -> Tensor:
        return self.vit(x)


class Custom(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _Sigmoid.apply(x)


class _Sigmoid(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.sigmoid()


class Mixer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix, self.head = nn.Conv2d(3, 8, 8, 8), nn.Linear(16, 16), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(x).flatten(2)
        return self.head((tokens + self.mix(tokens)).mean(2))


def convolutional() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))


def scripted() -> nn.Module:
    return nn.Sequential(torch.jit.script(nn.Conv2d(3, 8, 3)), nn.Flatten())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (LostTokens, "no torch function seen here"),
        (Mixer, "mixes all tokens by a linear map"),
        (convolutional, "no attention over a grid"),
        (scripted, "is a script"),
    ],
)
def test_what_cannot_be_right_is_refused(build: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TokenRemoval(build().eval(), torch.ones(2, 16, dtype=torch.bool))(images(BY_NAME["vit"], 2))


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        (torch.zeros(2, 16), TypeError, "bool tensor"),
        ([True] * 16, TypeError, "bool tensor"),
        (torch.zeros(16, dtype=torch.bool), ValueError, r"\(N, h \* w\)"),
        (torch.zeros(3, 16, dtype=torch.bool), ValueError, "for 3 images, but the model was called with 2"),
        (torch.ones(2, 9, dtype=torch.bool), ValueError, "9 places an image.*4 x 4 = 16"),
    ],
)
def test_wrong_masks(mask: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        tokens_removed(vit(**VIT)().eval(), mask)(images(BY_NAME["vit"], 2))


def test_misuse_is_told() -> None:
    model, x = vit()().eval(), images(BY_NAME["vit"], 1)
    removal = TokenRemoval(model)
    with pytest.raises(RuntimeError, match="known after a forward"):
        _ = removal.grid
    with pytest.raises(RuntimeError, match="was not called"), removal:
        pass
    with pytest.raises(RuntimeError, match="open already"), removal:
        removal(x)
    with pytest.raises(TypeError, match=r"must be a torch\.nn\.Module"):
        TokenRemoval(lambda x: x)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["vit", "hf_vit_sdpa"])
def test_an_expanded_image_is_a_repeated_one(name: str) -> None:
    """Its patches are embedded once, which no result shows: neither values nor a model that writes into them."""
    model, x = make(BY_NAME[name]), images(BY_NAME[name], 1)
    removal = TokenRemoval(model, some_mask(5, 16))
    embedded = []
    convolution = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
    handle = convolution.register_forward_hook(lambda module, args, output: embedded.append(output.add_(1)))
    with torch.no_grad():
        expanded, repeated = logits_of(removal(x.expand(5, -1, -1, -1))), logits_of(removal(x.repeat(5, 1, 1, 1)))
    handle.remove()
    torch.testing.assert_close(expanded, repeated)
    assert embedded[0].stride() == embedded[1].stride()
    assert (expanded[0] - expanded[1]).abs().max() > 1e-3
