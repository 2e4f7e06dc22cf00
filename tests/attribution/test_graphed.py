"""Attributions captured as graphs: on a CPU with a capture that replays the function into the same memory."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from quantus_vit import (
    AttentionRollout,
    AttnLRP,
    BeyondIntuition,
    GenericAttention,
    LeGrad,
    LibraGrad,
    PositionalLRP,
    TokenOcclusion,
    TokenTM,
    TransformerLRP,
)
from quantus_vit.attribution.graphed import Graphed
from quantus_vit.errors import GraphWarning

from .families import BY_NAME, make
from .host_waits import counted_waits

# How often the host waits for the device in one call of each method, of a ViT with a class token and GELU.
WAITS = {
    TransformerLRP: 9, AttnLRP: 5, AttentionRollout: 2, GenericAttention: 1, LeGrad: 8, LibraGrad: 6, TokenTM: 2,
    PositionalLRP: 5, BeyondIntuition: 28,
}  # fmt: skip
GRAPHED = [method for method in WAITS if method is not BeyondIntuition]


class FakeCapture:
    """As a CUDA graph: what waits for the host is an error, and each replay computes into the memory of the first."""

    def __init__(self) -> None:
        self.captures = 0

    def __call__(self, function: Callable[[], tuple[Tensor, Tensor]]) -> tuple[tuple[Tensor, Tensor], Callable]:
        self.captures += 1
        with counted_waits(allowed=False):
            results = function()

        def replay() -> None:
            for kept, computed in zip(results, function(), strict=True):
                kept.copy_(computed)

        return results, replay


def graphed(method: type, model: nn.Module, example: Tensor) -> tuple[Graphed, FakeCapture]:
    capture = FakeCapture()
    return method(model).graphed(example, capture=capture), capture


needs_fake = pytest.mark.skipif(
    tuple(map(int, torch.__version__.split(".")[:2])) < (2, 5), reason="torch 2.4 cannot take over the fake's tensors"
)


@needs_fake
@pytest.mark.parametrize("method", WAITS)
def test_the_host_waits_so_often_and_no_more(vit: nn.Module, batch: Tensor, method: type) -> None:
    explainer = method(vit)
    with counted_waits() as waits:
        explainer.attribute(batch, [1, 2], internal_batch_size=2)
    assert len(waits) == WAITS[method], waits


class Shifted(nn.Module):
    """A model that adds a number to its images."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x + 0.5)  # type: ignore[no-any-return]


@needs_fake
@pytest.mark.parametrize("method", [AttnLRP, PositionalLRP])
def test_numbers_of_rules_and_models_are_not_copied_to_the_device(vit: nn.Module, batch: Tensor, method: type) -> None:
    with counted_waits() as waits:
        method(Shifted(vit)).attribute(batch, [1, 2], internal_batch_size=2)
    assert not [wait for wait in waits if "copies" in wait]


@pytest.mark.parametrize("method", GRAPHED)
def test_a_graph_gives_the_methods_maps_for_other_images_and_targets(vit, batch, method: type) -> None:
    replayed, capture = graphed(method, vit, batch)
    generator = torch.Generator().manual_seed(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error", GraphWarning)
        found = [replayed(batch, [1, 2])]
        other = torch.randn(batch.shape, generator=generator)
        found += [replayed(other, 0), replayed(other), replayed(batch, torch.tensor([2, 0]))]
    assert capture.captures == 2  # with and without given targets
    assert replayed.reason is None
    for maps, (x, target) in zip(found, [(batch, [1, 2]), (other, 0), (other, None), (batch, [2, 0])], strict=True):
        torch.testing.assert_close(maps, method(vit).attribute(x, target), rtol=1e-4, atol=1e-6)


def test_changed_weights_are_seen(batch: Tensor) -> None:
    model = make(BY_NAME["vit"])
    replayed, capture = graphed(AttnLRP, model, batch)
    before = replayed(batch, 1)
    with torch.no_grad():
        next(model.parameters()).mul_(1.5)
        model.head.weight.mul_(2)
    after = replayed(batch, 1)
    assert capture.captures == 2
    assert not torch.allclose(before, after)
    torch.testing.assert_close(after, AttnLRP(model).attribute(batch, 1), rtol=1e-4, atol=1e-6)
    model.head = copy.deepcopy(model.head)  # the same values, elsewhere
    replayed(batch, 1)
    assert capture.captures == 3


def test_other_shapes_and_types_are_explained_without_the_graph(vit: nn.Module, batch: Tensor) -> None:
    replayed, capture = graphed(AttnLRP, vit, batch)
    with pytest.warns(GraphWarning, match=r"the graph is for images \(2, 3, .*and these are \(1, 3, "):
        found = replayed(batch[:1], 1)
    torch.testing.assert_close(found, AttnLRP(vit).attribute(batch[:1], 1))
    with (
        pytest.warns(GraphWarning, match=r"of torch\.float32 .* of torch\.float64"),
        pytest.raises(TypeError, match=r"inputs are torch\.float64"),
    ):
        replayed(batch.double(), 1)
    assert capture.captures == 0


def test_what_the_method_refuses_is_refused(vit: nn.Module, batch: Tensor) -> None:
    replayed, _ = graphed(TransformerLRP, vit, batch)
    with pytest.raises(ValueError, match="target 77 is out of range"):
        replayed(batch, [0, 77])
    with pytest.raises(ValueError, match="one class or 2"):
        replayed(batch, [0, 1, 2])
    with pytest.raises(ValueError, match="not all finite"):
        replayed(batch * float("nan"), 1)
    torch.testing.assert_close(replayed(batch, 1), TransformerLRP(vit).attribute(batch, 1), rtol=1e-3, atol=1e-6)


def test_values_that_a_graph_took_for_granted_are_computed_by_the_method(batch: Tensor) -> None:
    class Relu(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.act, self.last = nn.Flatten(), nn.ReLU(), nn.Linear(batch[0].numel(), 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.act(self.first(x)))

    torch.manual_seed(0)
    model = Relu().eval()
    replayed, _ = graphed(AttnLRP, model, batch)
    with_zeros = batch.clone()
    with_zeros[:, :, ::2] = 0  # 0 / 0 in the activation's gate, unless it is looked for
    found = replayed(with_zeros, 1)
    assert found.isfinite().all()
    torch.testing.assert_close(found, AttnLRP(model).attribute(with_zeros, 1))


def test_a_capture_that_fails_is_told_once_and_the_method_goes_on(vit: nn.Module, batch: Tensor) -> None:
    def failing(_: Callable) -> tuple:
        raise RuntimeError("CUDA error: operation not permitted\nwhen stream is capturing")

    replayed = AttnLRP(vit).graphed(batch, capture=failing)
    with pytest.warns(
        GraphWarning, match="without a CUDA graph.*RuntimeError: CUDA error: operation not permitted when"
    ):
        found = replayed(batch, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error", GraphWarning)
        assert torch.equal(replayed(batch, 1), found)
    assert torch.equal(found, AttnLRP(vit).attribute(batch, 1))
    assert "capturing" in replayed.reason


def test_a_method_that_looks_at_values_has_no_graph(vit: nn.Module, batch: Tensor) -> None:
    replayed, _ = graphed(BeyondIntuition, vit, batch)
    with pytest.warns(GraphWarning, match="not permitted when stream is capturing"):
        found = replayed(batch, 1)
    assert torch.equal(found, BeyondIntuition(vit).attribute(batch, 1))


def test_a_cpu_has_no_graphs(vit: nn.Module, batch: Tensor) -> None:
    with pytest.warns(GraphWarning, match="need images on a CUDA device, and these are on cpu"):
        replayed = AttnLRP(vit).graphed(batch)
    assert torch.equal(replayed(batch, 1), AttnLRP(vit).attribute(batch, 1))


def test_a_game_over_tokens_has_no_graph(vit: nn.Module, batch: Tensor) -> None:
    with pytest.warns(GraphWarning, match="in batches of its own"):
        replayed = TokenOcclusion(vit).graphed(batch)
    assert torch.equal(replayed(batch, 1), TokenOcclusion(vit).attribute(batch, 1))


def test_the_count_sees_what_waits() -> None:
    device, host = torch.arange(6.0).requires_grad_(), None
    with counted_waits() as waits:
        doubled = device * 2
        host = torch.tensor([0, 2])
        assert host.tolist() == [0, 2]
        assert int(host.sum()) == 2
        assert waits == []
        bool((doubled > 3).any())
        doubled[doubled > 3]
        doubled[host]
        doubled.detach().cpu().tolist()
        doubled.nonzero()
    assert len(waits) == 5, waits
