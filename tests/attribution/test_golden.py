"""Exactness against the official implementations' own numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from quantus_vit import AttnLRP, TransformerLRP
from quantus_vit.attribution.transformer_lrp import VARIANTS

from .golden import DATA, Golden, load_golden, relative_error

VIT = DATA / "vit_d48_l3_f64.npz"
TORCHVISION = DATA / "attnlrp_tv_d48_l3_f64.npz"


@pytest.fixture(scope="module")
def vit() -> Golden:
    return load_golden(VIT)


@pytest.fixture(scope="module")
def torchvision_vit() -> Golden:
    return load_golden(TORCHVISION)


@pytest.mark.parametrize("variant", VARIANTS)
def test_transformer_lrp_equals_the_official_code(vit: Golden, variant: str) -> None:
    method = TransformerLRP(vit.model, variant=variant, interpolate=None)
    for target in range(vit.classes):
        found = method.attribute(vit.inputs, target).flatten(1)
        assert relative_error(found, vit.references[variant][:, target]) < 1e-6


@pytest.mark.parametrize("variant", [v for v in VARIANTS if v != "full"])
def test_single_precision_stays_close(variant: str) -> None:
    vit = load_golden(VIT, torch.float32)
    found = TransformerLRP(vit.model, variant=variant, interpolate=None).attribute(vit.inputs, 0).flatten(1)
    assert found.dtype == torch.float32
    assert relative_error(found, vit.references[variant][:, 0]) < 1e-3


def test_larger_single_precision_model(shared_dir: Path) -> None:
    vit = load_golden(shared_dir / "golden" / "vit_d96_l6_f32.npz", torch.float32)
    for variant in ("transformer_attribution", "rollout", "last_layer", "last_layer_attn", "second_layer"):
        method = TransformerLRP(vit.model, variant=variant, interpolate=None)
        for target in range(vit.classes):
            found = method.attribute(vit.inputs, target).flatten(1)
            assert relative_error(found, vit.references[variant][:, target]) < 1e-3


@pytest.mark.parametrize(("conv_gamma", "linear_gamma"), [(0.25, 0.05), (0.1, 0.0), (100, 1)])
def test_attn_lrp_equals_lxt(torchvision_vit: Golden, conv_gamma: float, linear_gamma: float) -> None:
    golden = torchvision_vit
    reference = golden.references[f"gamma_conv{conv_gamma}_lin{linear_gamma}"]
    method = AttnLRP(golden.model, conv_gamma, linear_gamma)
    for target in range(golden.classes):
        assert relative_error(method.attribute(golden.inputs, target), reference[:, target]) < 1e-6


def test_all_targets_from_one_forward(vit: Golden) -> None:
    method = TransformerLRP(vit.model, interpolate=None)
    together = method.attribute_all_targets(vit.inputs)
    for target in range(vit.classes):
        torch.testing.assert_close(together[:, target], method.attribute(vit.inputs, target))


def test_targets_per_image(vit: Golden) -> None:
    method = TransformerLRP(vit.model, interpolate=None)
    found = method.attribute(vit.inputs, torch.tensor([2, 0, 1])).flatten(1)
    wanted = torch.stack([vit.references["transformer_attribution"][i, k] for i, k in enumerate((2, 0, 1))])
    assert relative_error(found, wanted) < 1e-6
