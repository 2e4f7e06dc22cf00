"""What LibraGrad, LeGrad, TokenTM and BeyondIntuition share: any model, batch, precision; nothing left behind."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from quantus_vit import BeyondIntuition, LeGrad, LibraGrad, TokenTM

from .families import BY_NAME, FAMILIES, images, make
from .test_families import process_state, relative_error, state

METHODS: dict[str, Any] = {
    "LibraGrad": LibraGrad,
    "LibraGrad-attcat": lambda model, **options: LibraGrad(model, "attcat", "probability", **options),
    "LeGrad": LeGrad,
    "LeGrad-mean": lambda model, **options: LeGrad(model, "mean", start_layer=0, **options),
    "TokenTM": TokenTM,
    "BeyondIntuition": lambda model, **options: BeyondIntuition(model, steps=2, **options),
    "BeyondIntuition-head": lambda model, **options: BeyondIntuition(model, "head", steps=2, **options),
}
SIGNED = ("LibraGrad", "LibraGrad-attcat")
SOME = ["vit", "vit_gap", "siglip", "torchvision_vit", "hf_vit_sdpa", "hf_dinov2_eager", "eva02", "deit_distilled"]
ROLLS_OUT = [family.name for family in FAMILIES if not family.refuses]
NO_PROJECTION = ("beit3", "eva02_clip")  # a normalisation stands between attention and projection
ALL_NEGATIVE = ("siglip2",)  # every gradient at one image's pooling attention is negative: BeyondIntuition's map is 0
SEVERAL_A_BLOCK = ("vit_ParallelThingsBlock",)


def serves(name: str, method: str) -> bool:
    if name in SEVERAL_A_BLOCK:
        return method == "LibraGrad"
    return not (name in NO_PROJECTION and method == "BeyondIntuition")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ROLLS_OUT)
def test_every_family(name: str, method: str) -> None:
    if not serves(name, method):
        pytest.skip("refused, with the reason")
    family = BY_NAME[name]
    model, x = make(family), images(family)
    before, process = state(model), process_state()
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    maps = METHODS[method](model).attribute(x, [1, 2])
    assert state(model) == before
    assert process_state() == process
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
    assert not x.requires_grad
    assert maps.shape == (2, 1, *family.size)
    assert maps.isfinite().all()
    assert not maps.requires_grad
    varies = maps.flatten(1).std(1) > 1e-4 * maps.abs().amax((1, 2, 3))
    assert varies.any() if name in ALL_NEGATIVE and "Intuition" in method else varies.all()
    assert (maps < 0).any() == (method in SIGNED)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", SOME)
def test_batches_targets_and_frozen_parameters(name: str, method: str) -> None:
    family = BY_NAME[name]
    model, x = make(family).double(), images(family, 3).double()
    explainer = METHODS[method](model)
    together = explainer.attribute(x, [1, 4, 2])
    assert together.dtype == torch.float64
    for image, target, found in zip(x, (1, 4, 2), together, strict=True):
        assert relative_error(explainer.attribute(image[None], target)[0], found) < 1e-9
    assert relative_error(explainer.attribute(x, [1, 4, 2], internal_batch_size=2), together) < 1e-9
    frozen_model = make(family).double().requires_grad_(False)
    with torch.inference_mode():
        frozen = METHODS[method](frozen_model).attribute(x, torch.tensor([1, 4, 2]))
    assert relative_error(frozen, together) < 1e-9
    every = explainer.attribute_all_targets(x)
    assert every.shape == (3, 5, *together.shape[1:])
    assert relative_error(every[range(3), [1, 4, 2]], together) < 1e-9


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["vit", "siglip", "hf_vit_eager", "torchvision_vit"])
def test_precisions(name: str, method: str) -> None:
    family = BY_NAME[name]
    maps = {}
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        maps[dtype] = METHODS[method](make(family).to(dtype)).attribute(images(family).to(dtype), [1, 2])
        assert maps[dtype].dtype == dtype
    wanted = maps[torch.float64]
    assert relative_error(maps[torch.float32].double(), wanted) < 1e-3
    half = maps[torch.bfloat16].double()
    assert half.isfinite().all()
    cosine = torch.cosine_similarity(half.flatten(1), wanted.flatten(1))
    assert (cosine > 0.8).all()


@pytest.mark.parametrize("method", METHODS)
def test_the_token_grid(method: str) -> None:
    family = BY_NAME["vit"]
    model, x = make(family, oblong=True).double(), images(family, oblong=True).double()
    grid = METHODS[method](model, interpolate=None).attribute(x, 1)
    assert grid.shape == (2, 1, 4, 6)
    image = METHODS[method](model, interpolate="nearest").attribute(x, 1)
    torch.testing.assert_close(image, grid.repeat_interleave(8, 2).repeat_interleave(8, 3))


@pytest.mark.parametrize("method", [m for m in METHODS if m != "LibraGrad"])
@pytest.mark.parametrize("name", ["swin", "xcit"])
def test_refusals_say_why(name: str, method: str) -> None:
    family = BY_NAME[name]
    with pytest.raises(ValueError, match=r"attention layer \d+ in '.+'.*use AttnLRP"):
        METHODS[method](make(family)).attribute(images(family), 1)


class Scaled(nn.Module):
    """A model with a further argument."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, factor: Tensor) -> Tensor:
        return self.model(x * factor.view(-1, 1, 1, 1))


@pytest.mark.parametrize("method", METHODS)
def test_further_arguments_of_the_model(method: str) -> None:
    family = BY_NAME["vit"]
    model, x = make(family).double(), images(family).double()
    factor = torch.tensor([0.5, 2.0], dtype=torch.float64)
    found = METHODS[method](Scaled(model)).attribute(x, 1, factor, internal_batch_size=1)
    wanted = METHODS[method](model).attribute(x * factor.view(-1, 1, 1, 1), 1)
    assert relative_error(found, wanted) < 1e-9


@pytest.mark.parametrize("name", ["LibraGrad", "LeGrad", "TokenTM", "BeyondIntuition"])
def test_by_name_in_quantus(name: str) -> None:
    quantus = pytest.importorskip("quantus")
    family = BY_NAME["vit"]
    model, x = make(family), images(family)
    options = {"steps": 2} if name == "BeyondIntuition" else {}
    maps = quantus.explain(model, x.numpy(), [1, 2], method=name, xai_lib_kwargs=options)
    wanted = globals()[name](model, **options).attribute(x, [1, 2])
    assert maps.shape == (2, 1, 32, 32)
    assert relative_error(torch.from_numpy(maps), wanted) < 1e-5
