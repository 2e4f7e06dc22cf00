"""TokenOcclusion and TokenShapley against closed forms and against the definition over all subsets."""

from __future__ import annotations

from math import comb
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from quantus_vit import TokenOcclusion, TokenShapley
from quantus_vit.relevance import TokenRemoval

from .families import BY_NAME, images, make


class Game(nn.Module):
    """Logits that are a chosen function of the sum of the patches' vectors, read from a class token.

    Attention is uniform, so mean and weight of the class token (which is 0) give the sum of the patches that are there;
    its ``power`` makes a game with interactions of that order.
    """

    def __init__(self, rows: int, columns: int, power: int = 1) -> None:
        super().__init__()
        self.embed = nn.Conv2d(1, 4, 4, 4)
        self.token = nn.Parameter(torch.zeros(1, 1, 4), requires_grad=False)
        self.head = nn.Linear(4, 3)
        self.power = power

    def forward(self, x: Tensor) -> Tensor:
        patches = self.embed(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), patches], 1)
        weights = (0 * (tokens[:, :1] @ tokens.transpose(1, 2))).softmax(-1)
        mean = (weights @ tokens)[:, 0]
        first = weights[:, 0, :1]  # the class token's weight, 1 / number of tokens
        return self.head((mean / first) ** self.power)


def game(rows: int, columns: int, power: int = 1) -> tuple[nn.Module, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Game(rows, columns, power).double().eval(), torch.randn(2, 1, 4 * rows, 4 * columns).double()


def each_alone(model: Any, x: Tensor) -> Tensor:
    """Of an additive game what each patch brings to each logit, (N, classes, h, w)."""
    embedded = model.embed(x)
    return torch.einsum("kc,nchw->nkhw", model.head.weight, embedded)


@pytest.mark.parametrize("method", [TokenOcclusion, TokenShapley])
def test_additive_models_exactly(method: Any) -> None:
    model, x = game(3, 5)
    options = {"num_samples": 1} if method is TokenShapley else {}
    found = method(model, interpolate=None, **options).attribute_all_targets(x)
    torch.testing.assert_close(found[:, :, 0], each_alone(model, x), rtol=1e-9, atol=1e-9)


def test_occlusion_windows_of_additive_models() -> None:
    """A patch gets the mean, over the windows that hold it, of what the window's patches bring together."""
    model, x = game(3, 4)
    alone = each_alone(model, x)[:, 1]
    drops = alone.unfold(1, 2, 1).unfold(2, 3, 1).sum((-1, -2))  # (N, 2, 2), by upper left corner
    wanted, count = torch.zeros_like(alone), torch.zeros(3, 4)
    for row in range(2):
        for column in range(2):
            wanted[:, row : row + 2, column : column + 3] += drops[:, row, column].view(2, 1, 1)
            count[row : row + 2, column : column + 3] += 1
    found = TokenOcclusion(model, window=(2, 3), interpolate=None).attribute(x, 1)
    torch.testing.assert_close(found[:, 0], wanted / count, rtol=1e-9, atol=1e-9)


def test_occlusion_windows_in_strides_end_at_the_border() -> None:
    """Windows of two patches in steps of two over a row of five: 0-1, 2-3, and 3-4 in place of one over the border."""
    model, x = game(2, 5)
    alone = each_alone(model, x)[:, 1]
    pair = alone.sum(1)  # both rows
    first, second, third = (pair[:, left : left + 2].sum(1) for left in (0, 2, 3))
    wanted = torch.stack([first, first, second, (second + third) / 2, third], 1)[:, None].expand(-1, 2, -1)
    found = TokenOcclusion(model, window=2, interpolate=None, stride=2).attribute(x, 1)
    torch.testing.assert_close(found[:, 0], wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("stride", [0, 3, True])
def test_wrong_strides(stride: Any) -> None:
    with pytest.raises(ValueError, match="stride must be a whole number from 1 to 2, the window's size"):
        TokenOcclusion(nn.Identity(), 2, stride=stride)


def test_one_pair_of_orders_is_exact_for_interactions_of_two() -> None:
    """(sum of patches) ** 2: a patch's value is its own square and its half of each product."""
    model, x = game(3, 4, power=2)
    embedded = model.embed(x)
    wanted = torch.einsum("kc,nchw->nkhw", model.head.weight, embedded * embedded.sum((2, 3), keepdim=True))
    found = TokenShapley(model, num_samples=1, interpolate=None).attribute_all_targets(x)[:, :, 0]
    torch.testing.assert_close(found, wanted, rtol=1e-8, atol=1e-8)


def by_definition(model: nn.Module, x: Tensor, target: int, places: int) -> Tensor:
    """Shapley values of one image from all subsets, in the weighted form that the definition states."""
    values: dict[frozenset[int], float] = {}
    removal = TokenRemoval(model)
    with torch.no_grad():
        for number in range(2**places):
            there = frozenset(i for i in range(places) if number >> i & 1)
            removal.mask = torch.tensor([[i not in there for i in range(places)]])
            values[there] = float(removal(x)[0, target])
    found = torch.zeros(places, dtype=torch.float64)
    for subset, value in values.items():
        for patch in set(range(places)) - subset:
            found[patch] += (values[subset | {patch}] - value) / (places * comb(places - 1, len(subset)))
    return found


@pytest.fixture(scope="module")
def vit_of_eight() -> tuple[nn.Module, Tensor]:
    """A real ViT over 2 x 4 patches."""
    from timm.models.vision_transformer import VisionTransformer

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = VisionTransformer((16, 32), 8, embed_dim=24, depth=2, num_heads=2, num_classes=3)
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.3)
        return model.double().eval(), torch.randn(1, 3, 16, 32).double()


def test_all_subsets_where_they_are_no_more_than_the_samples(vit_of_eight: tuple[nn.Module, Tensor]) -> None:
    model, x = vit_of_eight
    values, errors = TokenShapley(model, num_samples=19).attribute_with_errors(x, 2)
    torch.testing.assert_close(values.flatten(), by_definition(model, x, 2, 8), rtol=1e-8, atol=1e-8)
    assert not errors.any()


def test_sampled_values_lie_within_their_errors(vit_of_eight: tuple[nn.Module, Tensor]) -> None:
    """And the errors are of the right size: not far above the deviations that are seen."""
    model, x = vit_of_eight
    wanted = by_definition(model, x, 1, 8)
    ratios = []
    for seed in range(6):
        values, errors = TokenShapley(model, num_samples=12, seed=seed).attribute_with_errors(x, 1)
        assert (errors > 0).all()
        ratios.append((values - wanted.view(1, 1, 2, 4)) / errors)
    spread = torch.stack(ratios)
    assert spread.abs().max() < 5
    assert 0.6 < float(spread.square().mean().sqrt()) < 1.7


@pytest.mark.parametrize("name", ["vit", "vit_gap", "siglip", "torchvision_vit"])
def test_efficiency(name: str) -> None:
    """The values sum to logit(all) - logit(none), whatever orders were drawn."""
    model, x = make(BY_NAME[name]).double(), images(BY_NAME[name], 2).double()
    found = TokenShapley(model, num_samples=1, interpolate=None).attribute_all_targets(x)
    with torch.no_grad():
        none = TokenRemoval(model, torch.ones(2, 16, dtype=torch.bool))(x)
        torch.testing.assert_close(found.sum((2, 3, 4)), model(x) - none)


@pytest.mark.parametrize(
    "method", [lambda m, **o: TokenOcclusion(m, window=2, **o), lambda m, **o: TokenShapley(m, num_samples=1, **o)]
)
def test_batches_targets_and_sizes(method: Any) -> None:
    model, x = make(BY_NAME["vit"]), images(BY_NAME["vit"], 3)
    maps = method(model).attribute(x, [2, 0, 1])
    assert maps.shape == (3, 1, 32, 32)
    assert maps.dtype == x.dtype
    every = method(model, interpolate=None).attribute_all_targets(x)
    assert every.shape == (3, 5, 1, 4, 4)
    one = method(model, interpolate=None).attribute(x[1:2], 0, internal_batch_size=5)
    torch.testing.assert_close(one[0], every[1, 0], rtol=1e-4, atol=1e-5)
    predicted = method(model, interpolate=None).attribute(x)
    chosen = model(x).argmax(1)
    torch.testing.assert_close(predicted, every[torch.arange(3), chosen])
    assert isinstance(method(model).attribute((x,), 0), tuple)


def test_seeds() -> None:
    model, x = make(BY_NAME["vit"]), images(BY_NAME["vit"], 1)
    first, again, other = (TokenShapley(model, 1, seed=s, interpolate=None).attribute(x, 0) for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


class Conditioned(nn.Module):
    """A ViT with a second argument for each image."""

    def __init__(self) -> None:
        super().__init__()
        self.vit = make(BY_NAME["vit"])

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        return self.vit(x) * scale[:, None]


def test_further_arguments_go_along() -> None:
    model, x = Conditioned(), images(BY_NAME["vit"], 2)
    scale = torch.tensor([1.0, 3.0])
    found = TokenOcclusion(model).attribute(x, 1, additional_forward_args=scale)
    plain = TokenOcclusion(model.vit).attribute(x, 1)
    torch.testing.assert_close(found, plain * scale.view(2, 1, 1, 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("window", [0, (1, 2, 3, 4), 1.5, (2, -1), "1"])
def test_wrong_windows(window: Any) -> None:
    with pytest.raises(ValueError, match="window must be"):
        TokenOcclusion(nn.Identity(), window)


def test_what_cannot_be_is_refused() -> None:
    model, x = make(BY_NAME["vit"]), images(BY_NAME["vit"], 1)
    with pytest.raises(ValueError, match="does not fit the model's grid"):
        TokenOcclusion(model, window=5).attribute(x, 0)
    with pytest.raises(ValueError, match="num_samples"):
        TokenShapley(model, num_samples=0)
    with pytest.raises(ValueError, match="seed must be a whole number, not 'x'"):
        TokenShapley(model, seed="x")
    with pytest.raises(ValueError, match="internal_batch_size"):
        TokenOcclusion(model).attribute(x, 0, internal_batch_size=0)
    with pytest.raises(ValueError, match="out of range"):
        TokenOcclusion(model).attribute(x, 7)
    with pytest.raises(ValueError, match="tokens cannot be removed"):
        TokenOcclusion(make(BY_NAME["swin"])).attribute(x, 0)


@pytest.mark.parametrize("name", ["TokenOcclusion", "TokenShapley"])
def test_by_name_in_quantus(name: str) -> None:
    quantus = pytest.importorskip("quantus")
    model, x = make(BY_NAME["vit"]), images(BY_NAME["vit"], 2)
    options = {"xai_lib_kwargs": {"num_samples": 1}} if name == "TokenShapley" else {}
    found = quantus.explain(model, x.numpy(), np.array([1, 2]), method=name, **options)
    method = TokenShapley(model, num_samples=1) if name == "TokenShapley" else TokenOcclusion(model)
    np.testing.assert_allclose(found, method.attribute(x, [1, 2]).numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", [TokenOcclusion, TokenShapley])
def test_logits_that_are_not_finite_are_refused(method: Any) -> None:
    with pytest.raises(ValueError, match="not all finite"):
        method(Game(2, 2)).attribute(torch.full((1, 1, 8, 8), torch.nan), 0)


@pytest.mark.parametrize("at_once", [1, 5, 6, 16])
def test_how_many_forwards_run_at_once_changes_no_map(at_once: int) -> None:
    """16 windows: four times four where five are allowed, five, five and so on where six are."""
    model, x = make(BY_NAME["vit"]), images(BY_NAME["vit"], 2)
    sizes: list[int] = []
    handle = model.register_forward_pre_hook(lambda module, args: sizes.append(len(args[0])))
    found = TokenOcclusion(model, interpolate=None).attribute(x, 1, internal_batch_size=at_once)
    handle.remove()
    assert max(sizes) <= at_once
    assert sum(sizes) == 2 * 17
    torch.testing.assert_close(found, TokenOcclusion(model, interpolate=None).attribute(x, 1, internal_batch_size=3))
