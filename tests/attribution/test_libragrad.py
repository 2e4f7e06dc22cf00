"""LibraGrad against its authors' numbers, against autograd with detached factors, and its conservation of the logit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from quantus_vit import LibraGrad
from quantus_vit.attribution.libragrad import AGGREGATIONS
from quantus_vit.relevance import TraceOptions, trace
from quantus_vit.relevance.composites import libra_grad

from .families import BY_NAME, FAMILIES, images, make, randomise
from .golden import DATA, Golden, load_golden, method_references, relative_error
from .wider_families import WIDER_BY_NAME

KEYS = {
    "ixg": ("ixg_tokens", ""),
    "hirescam": ("hirescam", ""),
    "plus": ("plus", "skipplus"),
    "fullgrad": ("fullgrad", ""),
    "fullgrad+": ("fullgradplus", "fullgradplus_skip"),
    "fullgrad-plus": ("fullgrad_PLUS", "fullgrad_PLUS_skip"),
    "attcat": ("attcat", ""),
    "gradcam": ("gradcam", ""),
    "gradcam-plus": ("gradcam_PLUS", "gradcam_PLUS_skip"),
    "xgradcam+": ("xgradcamplus", ""),
    "xgradcam+-plus": ("xgradcamplus_PLUS", ""),
}
SKIP_START = 1  # of three blocks


@pytest.fixture(scope="module")
def vit() -> Golden:
    return load_golden(DATA / "vit_d48_l3_f64.npz")


@pytest.fixture(scope="module")
def references() -> dict[str, Tensor]:
    return method_references()


def test_every_aggregation_has_a_reference() -> None:
    assert KEYS.keys() == AGGREGATIONS.keys()


@pytest.mark.parametrize("libra", [True, False])
@pytest.mark.parametrize("seed", ["logit", "probability"])
@pytest.mark.parametrize("aggregation", KEYS)
def test_equals_the_authors_code(
    vit: Golden, references: dict[str, Tensor], aggregation: str, seed: str, libra: bool
) -> None:
    prefix = f"{'libra' if libra else 'plain'}_{'logit' if seed == 'logit' else 'prob'}_"
    for key, start in zip(KEYS[aggregation], (0, SKIP_START), strict=True):
        if not key:
            continue
        method = LibraGrad(vit.model, aggregation, seed, start, libra)
        for target in range(vit.classes):
            found = method.tokens(vit.inputs, target)
            assert relative_error(found, references[prefix + key][:, target]) < 1e-10, key


def test_single_blocks_equal_the_authors_code(vit: Golden, references: dict[str, Tensor]) -> None:
    for block in range(3):
        for aggregation, key in (("ixg", "libra_logit_cat_layers"), ("fullgrad", "libra_logit_fullgrad_layers")):
            found = LibraGrad(vit.model, aggregation, start_block=block).tokens(vit.inputs, 2)
            assert relative_error(found, references[key][:, 2, block]) < 1e-10


def test_gated_mlps_equal_the_authors_code(shared_dir: Path) -> None:
    from timm.layers import SwiGLUPacked
    from timm.models.vision_transformer import VisionTransformer

    file = np.load(shared_dir / "golden" / "vit_swiglu_d48_l3_f64_libra.npz")
    size, patch, dim, depth, heads, classes = (int(value) for value in file["config"])
    options: dict[str, Any] = {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU, "init_values": 1.0}
    model = VisionTransformer(size, patch, num_classes=classes, embed_dim=dim, depth=depth, num_heads=heads, **options)
    model.double().load_state_dict({key[2:]: torch.from_numpy(file[key]) for key in file if key.startswith("w/")})
    x = torch.from_numpy(file["x"])
    for aggregation, keys in KEYS.items():
        for key, start in zip(keys, (0, SKIP_START), strict=True):
            for kind in ("libra", "plain"):
                if f"r/{kind}_logit_{key}" in file:
                    method = LibraGrad(model.eval(), aggregation, start_block=start, libra=kind == "libra")
                    for target in range(classes):
                        wanted = torch.from_numpy(file[f"r/{kind}_logit_{key}"][:, target])
                        assert relative_error(method.tokens(x, target), wanted) < 1e-10


class Gated(nn.Module):
    """A block of attention and a gated MLP, as a user may write it; ``libra`` detaches by hand what LibraGrad does."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 4, 4)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(8) for _ in range(3))
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 8)
        self.up, self.gate, self.down = nn.Linear(8, 12), nn.Linear(8, 12), nn.Linear(12, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, image: Tensor) -> Tensor:
        return self.behind(self.embed(image).flatten(2).transpose(1, 2))

    def behind(self, x: Tensor, libra: bool = False) -> Tensor:
        const = Tensor.detach if libra else (lambda t: t)

        def norm(layer: nn.LayerNorm, t: Tensor) -> Tensor:
            if not libra:
                return layer(t)
            deviation = (t.var(-1, unbiased=False, keepdim=True) + layer.eps).sqrt().detach()
            return (t - t.mean(-1, keepdim=True)) / deviation * layer.weight + layer.bias

        q, k, v = self.qkv(norm(self.norm1, x)).chunk(3, -1)
        x = x + self.out(const((q @ k.transpose(1, 2) / 8**0.5).softmax(-1)) @ v)
        y = norm(self.norm2, x)
        a, b = self.gate(y), self.up(y)
        active = a * a.sigmoid().detach() if libra else F.silu(a)
        product = active * b
        if libra:
            product = product / 2 + (product / 2).detach()
        x = x + self.down(product)
        return self.head(norm(self.norm3, x).mean(1))


def gated() -> tuple[Gated, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = randomise(Gated()).double().eval()
        assert isinstance(model, Gated)
        return model, torch.randn(2, 3, 12, 16).double()


@pytest.mark.parametrize("libra", [True, False])
def test_a_users_gated_model_equals_autograd_with_detached_factors(libra: bool) -> None:
    model, image = gated()
    x = model.embed(image).flatten(2).transpose(1, 2).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(model.behind(x, libra)[:, 1].sum(), x)
    found = LibraGrad(model, "ixg", libra=libra, interpolate=None).attribute(image, 1)
    torch.testing.assert_close(found, (x * gradient).sum(-1).detach().view(2, 1, 3, 4))


COMPLETE = [f.name for f in FAMILIES if f.name not in ("cait", "xcit")]  # these add class tokens between blocks


@pytest.mark.parametrize("name", COMPLETE)
def test_input_and_biases_sum_to_the_logit_at_every_block(name: str) -> None:
    """The most that can be asked of a graph: no block input, bias or factor is missed, in windows and pyramids too."""
    family = BY_NAME[name]
    model, x = make(family).double(), images(family).double()
    for start in range(2):
        method = LibraGrad(model, "fullgrad", start_block=start)
        traced = method._trace(x, ())
        (maps,) = method._sums(traced, [torch.tensor([1, 3])], x)
        total = sum(tokens.flatten(1).sum(1) for tokens in maps.by_layout.values())
        torch.testing.assert_close(total, traced.logits[[0, 1], [1, 3]], rtol=1e-10, atol=1e-10)


@pytest.mark.skipif(
    not hasattr(torch.zeros(2, requires_grad=True).unbind()[0].grad_fn, "_input_metadata"),
    reason="nodes of torch 2.4 do not tell the shapes of parts",
)
@pytest.mark.parametrize("count", [1, 2, 17])
def test_biases_of_query_and_key_norms_count_at_their_tokens(count: int) -> None:
    """The ordinary gradient reaches them; against hooks. There are 2 heads and 17 tokens, too."""
    family = BY_NAME["vit_qk_norm"]
    model, x = make(family).double(), images(family, count).double()
    outputs: dict[str, Tensor] = {}
    biased: dict[str, Any] = {n: m for n, m in model.named_modules() if getattr(m, "bias", None) is not None}
    handles = [
        module.register_forward_hook(lambda _, __, out, name=name: outputs.update({name: out}))
        for name, module in biased.items()
        if not name.startswith("patch_embed")
    ]
    entering: list[Tensor] = []
    first: Any = model.blocks[0]  # type: ignore[index, union-attr]
    handles.append(first.register_forward_pre_hook(lambda _, given: entering.append(given[0])))
    logits = model(x)
    for handle in handles:
        handle.remove()
    gradients = torch.autograd.grad(logits[:, 1].sum(), [entering[0], *outputs.values()])
    wanted = (entering[0] * gradients[0]).sum(-1).detach()
    for name, gradient in zip(outputs, gradients[1:], strict=True):
        rows = (gradient * biased[name].bias).detach()
        if name == "head":
            wanted[:, 0] += rows.sum(1)
        else:  # (N, T, C), or of one head each (N, heads, T, C)
            wanted += rows.sum((1, 3)) if rows.dim() == 4 else rows.sum(-1)
    assert {"blocks.0.attn.q_norm", "blocks.1.attn.k_norm"} <= outputs.keys()
    torch.testing.assert_close(LibraGrad(model, "fullgrad", libra=False).tokens(x, 1), wanted)


def test_biases_of_windows_count_at_their_tokens() -> None:
    """Against hooks on timm's Swin (ordinary gradients) and timm's own way from windows back to the map."""
    from timm.models.swin_transformer import window_reverse

    family = BY_NAME["swin"]
    model, x = make(family).double(), images(family).double()
    outputs: dict[str, Tensor] = {}
    inputs: list[Tensor] = []
    biased = {n: m for n, m in model.named_modules() if getattr(m, "bias", None) is not None and "cpb" not in n}
    handles = [
        module.register_forward_hook(lambda _, __, out, name=name: outputs.update({name: out}))
        for name, module in biased.items()
        if not name.startswith("patch_embed")
    ]
    first: Any = model.layers[0].blocks[0]  # type: ignore[index, union-attr]
    handles.append(first.register_forward_pre_hook(lambda _, given: inputs.append(given[0])))
    logits = model(x)
    for handle in handles:
        handle.remove()
    gradients = torch.autograd.grad(logits[:, 1].sum(), [inputs[0], *outputs.values()])
    finest = (inputs[0] * gradients[0]).sum(-1)
    coarse, whole = torch.zeros(2, 4, 4, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    for name, gradient in zip(outputs, gradients[1:], strict=True):
        rows = (gradient * biased[name].bias).sum(-1)
        if ".attn." in name:
            block = model.get_submodule(name.split(".attn.")[0])
            side = 8 if name.startswith("layers.0") else 4
            rows = window_reverse(rows.reshape(-1, 4, 4, 1), (4, 4), side, side)[..., 0]
            rows = rows.roll(block.shift_size, (1, 2))
        if rows.dim() == 1:
            whole = whole + rows
        elif rows[0].numel() == 64:
            finest = finest + rows.reshape(2, 8, 8)
        else:
            coarse = coarse + rows.reshape(2, 4, 4)
    coarse = coarse + whole.view(2, 1, 1) / 16
    wanted = finest + coarse.repeat_interleave(2, 1).repeat_interleave(2, 2)
    found = LibraGrad(model, "fullgrad", libra=False, interpolate=None).attribute(x, 1)
    torch.testing.assert_close(found[:, 0], wanted.detach())


@pytest.mark.parametrize("name", ["swin", "swinv2", "hf_swin_sdpa", "torchvision_swin_v2"])
@pytest.mark.parametrize("aggregation", sorted(AGGREGATIONS.keys() - {"attcat"}))
def test_pyramids_sum_the_maps_of_their_stages(name: str, aggregation: str) -> None:
    family = BY_NAME[name]
    model, x = make(family).double(), images(family).double()
    maps = LibraGrad(model, aggregation).attribute(x, [1, 2])
    assert maps.shape == (2, 1, *family.size)
    assert maps.isfinite().all()
    assert (maps.flatten(1).std(1) > 0).all()


def test_the_stages_of_a_pyramid_are_interpolated_one_by_one() -> None:
    family = BY_NAME["swin"]
    model, x = make(family).double(), images(family).double()
    summed = LibraGrad(model, "plus").attribute(x, 1)
    alone = []
    for block in range(4):
        grid = LibraGrad(model, "ixg", start_block=block, interpolate=None).attribute(x, 1)
        assert grid.shape[-2:] == ((8, 8) if block < 2 else (4, 4))
        alone.append(F.interpolate(grid, (32, 32), mode="bilinear", align_corners=False))
    torch.testing.assert_close(summed, torch.stack(alone).sum(0))
    finest = LibraGrad(model, "plus", interpolate=None).attribute(x, 1)
    assert finest.shape == (2, 1, 8, 8)


@pytest.mark.parametrize(("image", "widths"), [(64, (8, 16, 16)), (24, (8, 12))], ids=["16 x 16", "4 x 9"])
def test_images_that_the_model_holds_in_blocks(image: int, widths: tuple[int, ...]) -> None:
    """Against hooks on timm's NesT, whose stream is (N, blocks, T, C); no size may be taken for another that equals it.

    In the first case there are as many blocks as tokens in each, and 16 channels.
    """
    from timm.models.nest import Nest, deblockify

    count = len(widths)
    options: dict[str, Any] = {"embed_dims": widths, "num_heads": (2,) * count, "depths": (1,) * count}
    model = Nest(image, num_levels=count, num_classes=3, **options)
    model = randomise(model).double().eval()
    x = torch.randn(2, 3, image, image, generator=torch.Generator().manual_seed(2)).double()
    entering: list[Tensor] = []
    blocks: Any = [block for level in model.levels for block in level.transformer_encoder]  # type: ignore[union-attr]
    handles = [block.register_forward_pre_hook(lambda _, given: entering.append(given[0])) for block in blocks]
    logits = model(x)
    for handle in handles:
        handle.remove()
    wanted = torch.zeros(2, 1, image, image, dtype=torch.float64)
    for stream, gradient in zip(entering, torch.autograd.grad(logits[:, 1].sum(), entering), strict=True):
        tokens = (stream * gradient).sum(-1, keepdim=True).detach()
        grid = deblockify(tokens, round(tokens.shape[2] ** 0.5)).permute(0, 3, 1, 2)
        wanted += F.interpolate(grid, (image, image), mode="bilinear", align_corners=False)
    torch.testing.assert_close(LibraGrad(model, "plus", libra=False).attribute(x, 1), wanted)


@pytest.mark.parametrize("last", [True, False])
def test_as_many_channels_as_rows_and_columns(last: bool) -> None:
    """A stream of 8 x 8 x 8 may have its channels last or first: where places lie alike tells."""

    class Stream(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.qkv, self.head = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 24), nn.Linear(8, 3)

        def forward(self, image: Tensor) -> Tensor:
            x = self.embed(image)
            return self.behind(x.permute(0, 2, 3, 1).contiguous() if last else x)

        def behind(self, x: Tensor) -> Tensor:
            tokens = (x if last else x.permute(0, 2, 3, 1)).flatten(1, 2)
            q, k, v = self.qkv(tokens).chunk(3, -1)
            y = ((q @ k.mT).softmax(-1) @ v).unflatten(1, (8, 8))
            x = x + (y if last else y.permute(0, 3, 1, 2))
            return self.head(x.mean((1, 2) if last else (2, 3)))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, image = randomise(Stream()).double().eval(), torch.randn(2, 3, 32, 32).double()
    assert isinstance(model, Stream)
    x = model.embed(image)
    x = (x.permute(0, 2, 3, 1) if last else x).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(model.behind(x)[:, 1].sum(), x)
    found = LibraGrad(model, "ixg", libra=False, interpolate=None).attribute(image, 1)
    torch.testing.assert_close(found, (x * gradient).detach().sum(3 if last else 1)[:, None])


def test_images_that_are_not_square() -> None:
    family = BY_NAME["torchvision_swin"]
    model, x = make(family, oblong=True), images(family, oblong=True)
    assert LibraGrad(model).attribute(x, 1).shape == (2, 1, 32, 48)
    assert LibraGrad(model, interpolate=None).attribute(x, 1).shape == (2, 1, 8, 12)


class Activation(nn.Module):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x).flatten(1)


@pytest.mark.parametrize(
    ("function", "gate"),
    [
        (F.gelu, lambda x: torch.special.ndtr(x)),
        (
            lambda x: F.gelu(x, approximate="tanh"),
            lambda x: 0.5 * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3))),
        ),
        (F.silu, torch.sigmoid),
        (F.relu, lambda x: (x > 0).double()),
        (F.hardswish, lambda x: (x + 3).clamp(0, 6) / 6),
    ],
)
def test_gates_of_activations_are_exact_at_0(function: Any, gate: Any) -> None:
    x = torch.tensor([[-3.0, -0.5, 0.0, 1e-300, 2.0]], dtype=torch.float64).view(1, 1, 1, 5)
    traced = trace(Activation(function), x, TraceOptions(libra_grad(), gradients=False))
    (message,) = traced.relevance(torch.ones(1, 5, dtype=torch.float64))
    torch.testing.assert_close(message, gate(x), rtol=1e-14, atol=1e-15)


def test_models_without_residual_attention_are_refused() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)).eval()
    with pytest.raises(ValueError, match=r"no attention with a residual connection.*use AttnLRP"):
        LibraGrad(model).attribute(torch.randn(1, 3, 16, 16), 1)


@pytest.mark.parametrize("block", range(4))
def test_tokens_in_another_order_lie_where_they_belong(block: int) -> None:
    """Hiera holds its tokens in units; against hooks and the model's own way back to rows and columns."""
    family = WIDER_BY_NAME["hiera"]
    model, x = make(family).double(), images(family).double()
    inputs: list[Tensor] = []
    blocks: Any = model.blocks
    handle = blocks[block].register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    (gradient,) = torch.autograd.grad(model(x)[:, 1].sum(), inputs)
    handle.remove()
    terms = (inputs[0] * gradient).sum(-1, keepdim=True)
    wanted = model.reroll(terms, max(block - 1, 0))[..., 0]  # type: ignore[operator]
    found = LibraGrad(model, "ixg", libra=False, start_block=block, interpolate=None).attribute(x, 1)
    torch.testing.assert_close(found[:, 0], wanted.reshape(found[:, 0].shape).detach())


def test_followed_places_are_those_of_rows_and_columns() -> None:
    """Swin is served without following any token; following them must not change its maps."""
    family = BY_NAME["swin"]
    model, x = make(family).double(), images(family).double()
    for aggregation in ("fullgrad+", "plus", "gradcam-plus"):
        method = LibraGrad(model, aggregation)
        traced = method._traced(x, (), places=True)
        placed = [maps.image(traced, x, None) for maps in method._sums(traced, [torch.tensor([1, 3])], x)]
        torch.testing.assert_close(placed[0], LibraGrad(model, aggregation, interpolate=None).attribute(x, [1, 3]))


@pytest.mark.parametrize("name", ["cait", "xcit"])
def test_attention_that_no_rollout_serves(name: str) -> None:
    """Talking heads and attention over channels: the residual stream is all that is looked at."""
    family = BY_NAME[name]
    maps = LibraGrad(make(family)).attribute(images(family), 1)
    assert maps.shape == (2, 1, *family.size)
    assert (maps.flatten(1).std(1) > 0).all()


def test_attcat_needs_global_attention() -> None:
    family = BY_NAME["swin"]
    with pytest.raises(ValueError, match="windowed attention has no global token grid"):
        LibraGrad(make(family), "attcat").attribute(images(family), 1)


def test_tokens_of_a_pyramid_are_refused() -> None:
    family = BY_NAME["swin"]
    with pytest.raises(ValueError, match=r"several grids \(.*\); attribute"):
        LibraGrad(make(family)).tokens(images(family), 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"aggregation": "sum"}, "aggregation must be one of ixg, .*not 'sum'"),
        ({"seed": "loss"}, "seed must be .*not 'loss'"),
        ({"start_block": -1}, "start_block must be an integer of 0 or more, not -1"),
        ({"interpolate": "cubic"}, "interpolate must be"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LibraGrad(nn.Identity(), **options)


def test_a_block_that_does_not_exist() -> None:
    family = BY_NAME["vit"]
    with pytest.raises(ValueError, match="2 attention blocks, 0 to 1; start_block 2 does not exist"):
        LibraGrad(make(family), start_block=2).attribute(images(family), 1)


def test_attention_that_was_not_seen_is_refused() -> None:
    def masked(self: Any, x: Tensor, **unused: Any) -> Tensor:
        n, tokens, width = x.shape
        q, k, v = self.qkv(x).reshape(n, tokens, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        weights = (q @ k.mT * self.scale).softmax(-1).flatten(0, 1)
        values = (weights @ v.flatten(0, 1)).unflatten(0, (n, -1))
        return self.proj(values.transpose(1, 2).reshape(n, tokens, width))

    options: dict[str, Any] = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "num_heads": 2, "num_classes": 4}
    model = VisionTransformer(depth=2, **options).eval()
    for block in model.blocks:
        block.attn.forward = masked.__get__(block.attn)
    with pytest.raises(ValueError, match="no attention layer was seen"):
        LibraGrad(model).attribute(torch.randn(1, 3, 32, 32), 1)
