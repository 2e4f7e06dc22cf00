"""What is noted of tensors lives as long as they do, and goes by their identity."""

from __future__ import annotations

import torch

from quantus_vit.relevance.tensors import TensorMap


def test_a_map_of_tensors_goes_by_identity_and_forgets_the_dead() -> None:
    noted: TensorMap[str] = TensorMap()
    x, same = torch.ones(2), torch.ones(2)
    noted[x] = "first"
    assert x in noted
    assert same not in noted
    noted[x] = "second"
    noted[same] = "other"
    assert [value for _, value in noted.items()] == ["second", "other"]
    del x
    assert [value for _, value in noted.items()] == ["other"]
    for _ in range(50):  # new tensors that get a dead one's identity
        assert torch.zeros(2) not in noted
    assert noted.get(torch.zeros(2)) is None
    assert noted.get(torch.zeros(2), "nothing") == "nothing"


def test_a_map_of_tensors_keeps_what_only_a_view_holds() -> None:
    noted: TensorMap[int] = TensorMap()
    base = torch.ones(2)
    view = base.view(-1)
    noted[base] = 1
    del base
    assert noted[view._base] == 1  # type: ignore[index]
