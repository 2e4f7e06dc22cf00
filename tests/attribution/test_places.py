"""No method puts a tensor of the host beside one of the device, on a device that is pretended (see ``host_waits``)."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import quantus_vit
from quantus_vit.lime.device_fitting import fit_on_device
from quantus_vit.lime.neighbourhood import Neighbourhood

from .families import BY_NAME, images, make
from .host_waits import mixed_places

pytestmark = pytest.mark.skipif(
    tuple(map(int, torch.__version__.split(".")[:2])) < (2, 5), reason="torch 2.4 cannot take over the fake's tensors"
)
METHODS: dict[str, dict[str, Any]] = {
    "TransformerLRP": {}, "AttnLRP": {}, "AttentionRollout": {}, "GenericAttention": {}, "LeGrad": {}, "LibraGrad": {},
    "TokenTM": {}, "PositionalLRP": {}, "BeyondIntuition": {}, "TokenOcclusion": {}, "TokenShapley": {"num_samples": 2},
}  # fmt: skip
TARGETS: list[Any] = [1, [1, 2], torch.tensor([1, 2]), None]


@pytest.fixture(scope="module")
def vit() -> nn.Module:
    return make(BY_NAME["vit"])


@pytest.fixture(scope="module")
def batch() -> Tensor:
    return images(BY_NAME["vit"])


@pytest.mark.parametrize("target", TARGETS, ids=["int", "list", "tensor", "predicted"])
@pytest.mark.parametrize("method", METHODS)
def test_attributions_stay_in_one_place(vit: nn.Module, batch: Tensor, method: str, target: Any) -> None:
    explainer = getattr(quantus_vit, method)(vit, **METHODS[method])
    with mixed_places() as mixed:
        wanted = explainer.attribute(batch, target, internal_batch_size=1)
    assert mixed == []
    assert wanted.isfinite().all()


@pytest.mark.parametrize(
    ("method", "family"),
    [
        *((method, family) for method in ("AttnLRP", "LibraGrad") for family in ("swin", "siglip", "deit_distilled")),
        *(
            (method, family)
            for method in ("TransformerLRP", "TokenOcclusion")
            for family in ("siglip", "deit_distilled")
        ),
    ],
)
def test_other_families_stay_in_one_place(method: str, family: str) -> None:
    model, x = make(BY_NAME[family]), images(BY_NAME[family])
    with mixed_places() as mixed:
        getattr(quantus_vit, method)(model).attribute(x, 1)
    assert mixed == []


def test_lime_asks_and_fits_in_one_place(vit: nn.Module, batch: Tensor) -> None:
    rows, segments = torch.rand(40, 16) > 0.5, torch.arange(16).repeat_interleave(batch[0, 0].numel() // 16)
    segments = segments.view(batch.shape[2:])
    with mixed_places() as mixed:
        answers = Neighbourhood(vit, batch[0], batch[0] * 0, segments, 16).answers(rows)
        fit_on_device(rows, answers, torch.ones(40).numpy(), [0, 2], 10, "auto", torch.arange(40).numpy())
    assert mixed == []


def test_a_mixture_is_seen() -> None:
    x = torch.ones(3)
    with mixed_places() as mixed:
        table = torch.tensor([1.0, 2.0, 3.0])
        _ = x * table.to(x), x * table.to(x.device), x[table.long() - 1], x * torch.tensor(2.0)
        assert mixed == []
        _ = x + torch.zeros(3, device=x.device)
        assert mixed == []
        _ = x + torch.zeros(3)
        _ = x * table
    assert mixed == ["add", "mul"]
