"""Images at once by memory, and fewer where it runs out; its end is pretended, the device is the meta device."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from quantus_vit import AttentionRollout, AttnLRP, LibraGrad, TokenOcclusion, TokenShapley, TransformerLRP
from quantus_vit.attribution import batches
from quantus_vit.attribution.batches import forwards_at_once, images_at_once, in_parts

from .families import BY_NAME, images, make
from .golden import relative_error

MEMORY = [torch.cuda.OutOfMemoryError("CUDA out of memory."), RuntimeError("can't allocate memory"), MemoryError()]


class Narrow(nn.Module):
    """A model that holds so many images at once."""

    def __init__(self, model: nn.Module, most: int, error: Exception) -> None:
        super().__init__()
        self.model, self.most, self.error = model, most, error
        self.sizes: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        if len(x) > self.most:
            raise self.error
        return self.model(x)


@pytest.fixture(scope="module")
def vit() -> nn.Module:
    return make(BY_NAME["vit"]).double()


def pictures(count: int) -> Tensor:
    x = images(BY_NAME["vit"]).double()
    return torch.cat([x * (1 + 0.1 * number) for number in range(count)])[:count]


@pytest.mark.parametrize("error", MEMORY, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("method", [AttentionRollout, AttnLRP, TransformerLRP, LibraGrad])
def test_maps_are_the_same_where_memory_runs_out(vit: nn.Module, method: Any, error: Exception) -> None:
    x, targets = pictures(7), [0, 1, 2, 0, 1, 2, 0]
    narrow = Narrow(vit, 2, error)
    found = method(narrow).attribute(x, targets, internal_batch_size=5)
    assert narrow.sizes[:3] == [5, 2, 2]
    assert max(narrow.sizes[3:]) == 2  # for good
    alone = [method(vit).attribute(x[i : i + 1], target) for i, target in enumerate(targets)]
    assert relative_error(found, torch.cat(alone)) < 1e-7


def test_all_targets_and_tokens_where_memory_runs_out(vit: nn.Module) -> None:
    x, narrow = pictures(4), Narrow(vit, 1, MEMORY[0])
    found = AttnLRP(narrow).attribute_all_targets(x, internal_batch_size=4)
    torch.testing.assert_close(found, AttnLRP(vit).attribute_all_targets(x, internal_batch_size=1))
    tokens = LibraGrad(Narrow(vit, 1, MEMORY[0])).tokens(x, 1)
    torch.testing.assert_close(tokens, torch.cat([LibraGrad(vit).tokens(one[None], 1) for one in x]))


@pytest.mark.parametrize(("method", "most"), [(TokenOcclusion, 16), (TokenShapley, 15)])
def test_removed_tokens_where_memory_runs_out(vit: nn.Module, method: Any, most: int) -> None:
    x, narrow = pictures(2), Narrow(vit, 3, MEMORY[0])
    found = method(narrow).attribute(x, 1, internal_batch_size=16)
    assert [size for size in narrow.sizes if size > 3] == [most, 8, 4]  # nothing is tried again for the second image
    torch.testing.assert_close(found, method(vit).attribute(x, 1))


def test_one_image_that_does_not_fit_and_other_errors_are_told(vit: nn.Module) -> None:
    for most, error in ((0, MEMORY[1]), (1, RuntimeError("shapes do not match"))):
        with pytest.raises(RuntimeError, match=str(error)):
            AttnLRP(Narrow(vit, most, error)).attribute(pictures(3), 0, internal_batch_size=3)


def test_parts_are_put_together_in_order() -> None:
    asked: list[tuple[int, int]] = []

    def explain(part: slice) -> Tensor:
        asked.append((part.start, part.stop))
        if part.stop - part.start > 2:
            raise MEMORY[2]
        return torch.arange(part.start, part.stop)

    found = in_parts(explain, torch.zeros(11, 1), 4, torch.tensor([0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0]))
    assert found.tolist() == list(range(11))
    assert asked[:3] == [(8, 11), (8, 10), (10, 11)]  # the image of the doubtful target first
    assert asked[3:] == [(0, 2), (2, 4), (4, 6), (6, 8)]


def test_the_batch_follows_the_free_memory(vit: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    model, free = make(BY_NAME["vit"]).to("meta"), 2**30
    monkeypatch.setattr(batches, "available_bytes", lambda device: free)
    seen: list[int] = []
    model.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    many = torch.empty(500, *pictures(1).shape[1:], device="meta")
    assert images_at_once(model, many, (), 7) == 7
    assert images_at_once(model, many[:20], (), None) == 32
    assert images_at_once(vit, pictures(2), (), None) == 3
    assert seen == []
    assert images_at_once(model, many, (), None) == 128
    assert forwards_at_once(model, many, (), None) == 256
    free = 20 * 2**20
    some = images_at_once(model, many, (), None)
    assert 1 < some < 128
    assert some < forwards_at_once(model, many, (), None) <= 20 * some + 20
    free = 0
    assert images_at_once(model, many, (), None) == 1
    assert set(seen) == {1}


def test_a_model_that_fails_is_left_to_the_method(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "available_bytes", lambda device: 2**30)
    broken = Narrow(nn.Identity(), 0, ValueError("no"))
    assert images_at_once(broken, torch.empty(40, 3, 8, 8, device="meta"), (), None) == 32


def test_no_forward_is_measured_in_training_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "available_bytes", lambda device: 2**30)
    model = nn.Sequential(nn.Conv2d(3, 4, 2), nn.BatchNorm2d(4)).to("meta").train()
    model[1].num_batches_tracked = torch.tensor(0)  # the one that has a value to look at
    many = torch.empty(40, 3, 8, 8, device="meta")
    assert images_at_once(model, many, (), None) == forwards_at_once(model, many, (), None) == 32
    assert int(model[1].num_batches_tracked) == 0
    assert images_at_once(model.eval(), many, (), None) == 128
