"""Values that a model changes in place, and other ways around the graph: right or refused, never silently wrong."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from quantus_vit import AttentionRollout, AttnLRP, GenericAttention, TransformerLRP, UnsupportedOperationError
from quantus_vit.attribution.transformer_lrp import Rows
from quantus_vit.relevance import ConservationReport, TraceOptions, trace, transformer_lrp
from quantus_vit.relevance.rules import ZBox

from .in_place import RULES, D, relevance

WEIGHTS = torch.tensor([1.0, 3.0, 3.0, 1.0, 1.0, 1.0], dtype=D)
PRODUCERS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "layer_norm": lambda x: F.layer_norm(x, (6,)),
    "scale": lambda x: x * 0.7,
}


def by_item(x: Tensor) -> Tensor:
    x[:, 1:3] = x[:, 1:3].clone() * 3
    return x


def by_view(x: Tensor) -> Tensor:
    view = x[:, 1:3]
    view *= 3
    return x


def by_copy(x: Tensor) -> Tensor:
    return x.copy_(x.clone() * WEIGHTS)


class Net(nn.Module):
    """Linear, a function whose output is computed again rather than kept, a change of that output, linear."""

    def __init__(self, produce: Callable[[Tensor], Tensor], change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(5, 6).double(), nn.Linear(6, 3).double()
        self.produce, self.change = produce, change

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.change(self.produce(self.first(x))))


@pytest.mark.parametrize("gradients", [True, False])
@RULES
@pytest.mark.parametrize("change", [by_item, by_view, by_copy])
@pytest.mark.parametrize("produce", PRODUCERS)
def test_changed_outputs(produce: str, change: Callable[[Tensor], Tensor], rules: Any, gradients: bool) -> None:
    wanted = relevance(Net(PRODUCERS[produce], lambda x: x * WEIGHTS), rules, gradients)
    found = relevance(Net(PRODUCERS[produce], change), rules, gradients)
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-9)


class ChangedSource(Net):
    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x) * 1
        scaled = hidden * 2
        hidden[:, 1:3] = -hidden[:, 1:3].clone()
        return self.second(scaled)


def test_what_a_value_was_computed_from_may_change_afterwards() -> None:
    wanted = relevance(Net(lambda x: x, lambda x: x * 1 * 2), transformer_lrp())
    torch.testing.assert_close(relevance(ChangedSource(F.gelu, F.gelu), transformer_lrp()), wanted)


def test_a_kept_output_that_is_changed_through_a_view_is_refused_with_its_module() -> None:
    with pytest.raises(UnsupportedOperationError, match=r"in module 'first' was changed in place afterwards"):
        relevance(Net(lambda x: x, by_view), transformer_lrp())


def test_data_of_traced_values_is_refused() -> None:
    with pytest.raises(UnsupportedOperationError, match="can be changed unseen"):
        relevance(Net(F.gelu, lambda x: (x.data.mul_(3), x)[1]), transformer_lrp())


@pytest.mark.parametrize("function", [torch.add, torch.mul])
def test_out_is_refused_for_traced_values(function: Any) -> None:
    with pytest.raises(UnsupportedOperationError, match="given as out="):
        relevance(Net(F.gelu, lambda x: function(x, 1.0, out=torch.empty(4, 6, dtype=D))), transformer_lrp())


def test_out_is_filled_where_nothing_is_traced() -> None:
    def change(x: Tensor) -> Tensor:
        factor = torch.empty(6, dtype=D)
        torch.add(WEIGHTS, 1.0, out=factor)
        return x * (factor - 1)

    wanted = relevance(Net(F.gelu, lambda x: x * WEIGHTS), transformer_lrp())
    torch.testing.assert_close(relevance(Net(F.gelu, change), transformer_lrp()), wanted)


@pytest.fixture
def vit() -> nn.Module:
    torch.manual_seed(0)
    options: dict[str, Any] = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "num_heads": 2, "num_classes": 4}
    return VisionTransformer(depth=2, **options).double().eval()


def images() -> Tensor:
    return torch.randn(2, 3, 32, 32, dtype=D, generator=torch.Generator().manual_seed(1))


class Shifting(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        x -= 0.5
        return self.model(x)


@pytest.mark.parametrize("method", [TransformerLRP, AttnLRP, GenericAttention, AttentionRollout])
def test_a_model_that_shifts_its_input_in_place_does_not_shift_the_callers(vit: nn.Module, method: Any) -> None:
    x = images()
    found = method(Shifting(vit)).attribute(x, 1)
    assert torch.equal(x, images())
    if method is not AttnLRP:  # whose maps are those of the pixels, not of the shifted ones
        torch.testing.assert_close(found, method(vit).attribute(x - 0.5, 1))


@RULES
def test_rules_that_look_across_tokens_see_all_tokens(vit: nn.Module, rules: Any) -> None:
    """The few tokens above the last attention layer are singled out only for rules that treat each by itself."""
    for composite in (rules, rules.using(linear=ZBox())):
        traced = trace(vit, images(), TraceOptions(composite, locate=True))
        seed = torch.ones_like(traced.logits)
        (found,) = traced.relevance(seed, keep=True)
        (wanted,) = traced.relevance(seed, report=ConservationReport(2))
        torch.testing.assert_close(found, wanted)


def test_maps_of_all_layers_are_not_held_for_every_class(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    options: dict[str, Any] = {"img_size": 64, "patch_size": 4, "embed_dim": 12, "num_heads": 1, "num_classes": 40}
    model = VisionTransformer(depth=4, **options).eval()
    alive: list[int] = []
    finished = Rows.finished

    def counted(self: Rows, count: int) -> list[Tensor]:
        alive.append(sum(type(x) is Tensor and x.numel() == 257 * 257 for x in gc.get_objects()))
        return finished(self, count)

    monkeypatch.setattr(Rows, "finished", counted)
    maps = TransformerLRP(model).attribute_all_targets(torch.randn(1, 3, 64, 64))
    assert maps.shape == (1, 40, 1, 64, 64)
    assert alive[0] < 40


def test_threads_leave_the_compilers_stance_as_it_was(vit: nn.Module) -> None:
    dynamo = pytest.importorskip("torch._dynamo.eval_frame")
    if not hasattr(dynamo, "_stance"):
        pytest.skip("this torch has no stances")
    before = dynamo._stance.stance
    meeting = threading.Barrier(2, timeout=30)

    class Waiting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = vit

        def forward(self, x: Tensor) -> Tensor:
            meeting.wait()
            return self.model(x)

    threads = [threading.Thread(target=lambda: TransformerLRP(Waiting()).attribute(images(), 0)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert dynamo._stance.stance == before
