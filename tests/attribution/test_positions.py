"""Relevance of position embeddings: PositionalLRP against its authors' numbers, AttnLRP with positions conserves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from quantus_vit import AttnLRP, PositionalLRP
from quantus_vit.relevance import Composite, attn_lrp
from quantus_vit.relevance.positional import SumShares
from quantus_vit.relevance.rules import Epsilon, GradientTimesInput, Pass, Uniform

from .families import BY_NAME, images, make
from .golden import DATA, Golden, load_golden, relative_error

MAIN = "r/palrp_full_lrp_GammaLinear_POS_ENC_gammaConv"
SERVED = ["vit", "vit_gap", "deit_distilled", "dinov2_reg", "torchvision_vit", "hf_vit_eager", "hf_clip_sdpa", "siglip"]


@pytest.fixture(scope="module")
def golden() -> Golden:
    return load_golden(DATA / "vit_d48_l3_f64.npz")


@pytest.fixture(scope="module")
def wanted() -> dict[str, Tensor]:
    """What the authors' code gives, (N, classes, ...)."""
    stored = np.load(DATA / "vit_d48_l3_f64_palrp.npz")
    return {key: torch.from_numpy(stored[key]) for key in stored}


def test_equals_the_authors_code(golden: Golden, wanted: dict[str, Tensor]) -> None:
    for target in range(golden.classes):
        method = PositionalLRP(golden.model)
        pixels, positions = method.attribute_parts(golden.inputs, target)
        assert relative_error(pixels, wanted[MAIN + "__pixels_signed"][:, target]) < 1e-9
        assert relative_error(positions, wanted[MAIN + "__pos_tokens_signed"][:, target, 1:]) < 1e-9
        assert relative_error(method.attribute(golden.inputs, target), wanted[MAIN][:, target]) < 1e-9
        without = PositionalLRP(golden.model, positions=False).attribute(golden.inputs, target)
        assert relative_error(without, wanted["r/palrp_full_lrp_GammaLinear_gammaConv"][:, target]) < 1e-9


def test_all_targets_and_single_images(golden: Golden, wanted: dict[str, Tensor]) -> None:
    every = PositionalLRP(golden.model).attribute_all_targets(golden.inputs)
    assert relative_error(every[:, :, 0], wanted[MAIN]) < 1e-9
    alone = PositionalLRP(golden.model).attribute(golden.inputs[1:2], 2)
    assert relative_error(alone, wanted[MAIN][1:2, 2]) < 1e-9


@pytest.mark.parametrize("method", [PositionalLRP, lambda model: AttnLRP(model, positions=True)])
@pytest.mark.parametrize("name", SERVED)
def test_families(name: str, method: Any) -> None:
    """The sum of tokens and positions is found in every model, whatever its modules are called."""
    model, x = make(BY_NAME[name]).double(), images(BY_NAME[name], 2).double()
    maps = method(model).attribute(x, [1, 2])
    assert maps.shape[2:] == (32, 32)
    assert maps.isfinite().all()
    assert (maps.flatten(1).std(1) > 0).all()
    torch.testing.assert_close(method(model).attribute(x[1:], 2), maps[1:], rtol=1e-6, atol=1e-12)


def without_what_absorbs(model: nn.Module) -> nn.Module:
    """Biases and the class token's own vectors at 0; the patches' positions stay."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            leaf = name.split(".")[-1]
            if "bias" in leaf or leaf in ("cls_token", "class_token", "dist_token", "reg_token", "latent", "probe"):
                parameter.zero_()
            if "position" in name or leaf in ("pos_embed", "pos_embedding"):
                tokens = parameter.view(-1, parameter.shape[-1])
                tokens[: len(tokens) - 16] = 0
    return model


@pytest.mark.parametrize("name", ["vit", "vit_gap", "deit_distilled", "torchvision_vit", "hf_vit_eager", "vit_reg"])
def test_positions_conserve(name: str) -> None:
    """All of the logit arrives at pixels and positions."""
    model, x = without_what_absorbs(make(BY_NAME[name])).double(), images(BY_NAME[name], 3).double()
    with torch.no_grad():
        output = model(x)
        logits = getattr(output, "logits", output)[:, 1]
    found = AttnLRP(model, 0, 0, positions=True).attribute(x, 1).flatten(1).sum(1)
    torch.testing.assert_close(found, logits, rtol=1e-3, atol=1e-4)
    without = AttnLRP(model, 0, 0).attribute(x, 1).flatten(1).sum(1)
    assert (without - logits).abs().max() > 0.03


def test_relevances_and_multipliers_agree() -> None:
    """Composites of either kind of message give the positions the same relevance."""
    model, x = make(BY_NAME["vit"]).double(), images(BY_NAME["vit"], 2).double()
    rules = {**attn_lrp(0, 0).rules, "linear": Epsilon(), "convolution": Epsilon()}
    multiplying = attn_lrp(0, 0).using(linear=Epsilon(), convolution=Epsilon())
    others = {"projection": Epsilon(), "add": SumShares(0.0, 0.0), "scale": Pass(), "pooling": GradientTimesInput()}
    relevances = Composite("relevance", {**rules, **others, "matmul": Uniform()})
    maps = [AttnLRP(model, composite=one, positions=True).attribute(x, 1) for one in (multiplying, relevances)]
    torch.testing.assert_close(maps[0], maps[1], rtol=1e-6, atol=1e-9)


def test_what_positions_add_is_even_over_each_patch() -> None:
    model, x = make(BY_NAME["vit"]).double(), images(BY_NAME["vit"], 2).double()
    added = AttnLRP(model, positions=True).attribute(x, 1) - AttnLRP(model).attribute(x, 1)
    patches = added.unfold(2, 8, 8).unfold(3, 8, 8)
    torch.testing.assert_close(patches, patches[:, :1, :, :, :1, :1].expand_as(patches), rtol=1e-6, atol=1e-9)
    assert patches[0, 0, :, :, 0, 0].std() > 0


@pytest.mark.parametrize("name", ["vit_relpos", "vit_rope"])
@pytest.mark.parametrize("method", [PositionalLRP, lambda model: AttnLRP(model, positions=True)])
def test_other_positions_are_refused(name: str, method: Any) -> None:
    with pytest.raises(ValueError, match="adds no position embedding to its patch tokens"):
        method(make(BY_NAME[name])).attribute(images(BY_NAME[name]), 1)


def test_by_name_in_quantus() -> None:
    quantus = pytest.importorskip("quantus")
    model, x = make(BY_NAME["vit"]), images(BY_NAME["vit"], 2)
    found = quantus.explain(model, x.numpy(), np.array([1, 2]), method="PositionalLRP")
    np.testing.assert_allclose(found, PositionalLRP(model).attribute(x, [1, 2]).numpy(), rtol=1e-4, atol=1e-7)
