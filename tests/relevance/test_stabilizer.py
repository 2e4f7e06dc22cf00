"""TransformerLRP with a stabilizer: maps that rounding and noise do not move; without it, the authors' own."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from quantus_vit import TransformerLRP
from quantus_vit.relevance import ConservationReport, TraceOptions, trace, transformer_lrp
from quantus_vit.relevance.numerics import damped_ratio
from quantus_vit.relevance.rules import GradientTimesInput, NormalizedAdd, Uniform


@pytest.fixture(scope="module")
def model() -> nn.Module:
    """Deep enough for the exact method to shake: 12 layers, as initialised."""
    from timm.models.vision_transformer import VisionTransformer

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return VisionTransformer(64, 8, embed_dim=96, depth=12, num_heads=4, num_classes=3).eval()


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(6, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def maps(model: nn.Module, x: Tensor, stabilizer: float) -> Tensor:
    method = TransformerLRP(copy.deepcopy(model).to(x.dtype), interpolate=None, stabilizer=stabilizer)
    return method.attribute(x, 0).double().flatten(1)


def error(found: Tensor, wanted: Tensor) -> Tensor:
    """Of each image, relative to its map's largest value."""
    return (found - wanted).abs().amax(1) / wanted.abs().amax(1)


def test_single_precision_equals_double(model: nn.Module, images: Tensor) -> None:
    found, wanted = (maps(model, images.to(dtype), 0.01) for dtype in (torch.float32, torch.float64))
    stabilised = error(found, wanted).max()
    assert stabilised < 1e-4
    exact = error(*(maps(model, images.to(dtype), 0.0) for dtype in (torch.float32, torch.float64)))
    assert exact.max() > 20 * stabilised, "where the exact method does not shake, this test proves nothing"


def test_noise_moves_little(model: nn.Module, images: Tensor) -> None:
    x = images.double()
    noisy = x + 1e-4 * torch.randn(x.shape, generator=torch.Generator().manual_seed(2)).double()
    assert error(maps(model, noisy, 0.01), maps(model, x, 0.01)).median() < 1e-3
    assert error(maps(model, noisy, 0.0), maps(model, x, 0.0)).median() > 1e-2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(model: nn.Module, images: Tensor, dtype: torch.dtype) -> None:
    wanted = maps(model, images.double(), 0.01)
    assert error(maps(model, images.to(dtype), 0.01), wanted).max() < 5e-2


def test_a_vanishing_stabilizer_is_the_exact_method(model: nn.Module, images: Tensor) -> None:
    """The stabilised quotients tend to the exact ones as 1 - O(stabilizer^2)."""
    x = images[:2].double()
    exact = maps(model, x, 0.0)
    errors = [error(maps(model, x, stabilizer), exact).max() for stabilizer in (1e-5, 1e-7)]
    assert errors[1] < 1e-4
    assert errors[1] < errors[0] / 10


def test_the_batch_does_not_matter(model: nn.Module, images: Tensor) -> None:
    x = images.double()
    torch.testing.assert_close(maps(model, x, 0.01)[2:3], maps(model, x[2:3], 0.01), rtol=1e-6, atol=1e-12)


def test_sums_keep_their_relevance(model: nn.Module, images: Tensor) -> None:
    """What damping takes from the parts of a sum, the rescaling of Chefer's rule gives back, sample by sample."""
    x = images.double()
    traced = trace(copy.deepcopy(model).double(), x, TraceOptions(transformer_lrp(0.05), locate=True))
    report = ConservationReport(len(x))
    traced.relevance(torch.eye(3).double()[[0, 1, 2, 0, 1, 2]], report=report)
    sums = [entry for entry in report.entries if entry.kind == "add" and entry.module_name.startswith("blocks")]
    assert len(sums) == 24
    for entry in sums:
        torch.testing.assert_close(entry.leaving, entry.entering, rtol=1e-4, atol=1e-9)


def test_the_quotient() -> None:
    """Bounded by 1 / (2 damping rms), 0 where all is 0, R / z (1 + damping^2) where every z is as large as the rms."""
    z = torch.tensor([[2.0, -2.0, 2.0, 2.0], [1e-30, 3.0, -4.0, 0.0], [0.0, 0.0, 0.0, 0.0]]).double()
    ones = torch.ones_like(z)
    found = damped_ratio(ones, z, 0.1)
    torch.testing.assert_close(found[0], 1 / z[0] / 1.01)
    assert found[1].abs().max() <= 1 / (2 * 0.1 * 2.5) + 1e-12  # rms of the row is 2.5
    assert abs(found[1, 0]) < 1e-28
    assert not found[2].any()
    half = damped_ratio(ones.half(), 1e4 * z.half(), 0.1)  # squares would leave float16's range
    assert half.isfinite().all()
    torch.testing.assert_close(half[0].double(), 1e-4 / z[0] / 1.01, rtol=1e-2, atol=0)


def test_the_default_has_the_rules_of_the_authors() -> None:
    exact, damped = transformer_lrp().rules, transformer_lrp(0.02).rules
    assert exact["add"] == NormalizedAdd()
    assert exact["matmul"] == exact["attention"] == Uniform(1e-9)
    assert {kind for kind in exact if exact[kind] != damped[kind]} == {"add", "matmul", "attention", "pooling"}
    assert damped["pooling"] == GradientTimesInput(0.02)


@pytest.mark.parametrize("stabilizer", [-0.1, float("nan"), float("inf")])
def test_wrong_stabilizers(stabilizer: float) -> None:
    with pytest.raises(ValueError, match="stabilizer must be 0 or a positive number"):
        TransformerLRP(nn.Identity(), stabilizer=stabilizer)
