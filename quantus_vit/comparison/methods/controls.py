"""Controls: maps that know nothing of what the model thinks, which a method must beat to say anything.

``Blurred[method=NAME]`` and ``OtherClass[method=NAME]`` are controls of one method: its own map without detail, and its
map of another class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import ControlInputs, MethodSpec

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["SPECS"]


def _generator(inputs: ControlInputs) -> np.random.Generator:
    import numpy as np

    return np.random.default_rng([*inputs.seed, inputs.calls] if inputs.calls else inputs.seed)


def _random(inputs: ControlInputs) -> npt.NDArray[np.float32]:
    from ..controls import random_pixels

    return random_pixels(_shape(inputs), _generator(inputs))[None]


def _random_patches(inputs: ControlInputs, patch_size: int = 16) -> npt.NDArray[np.float32]:
    from ..controls import random_patches

    return random_patches(_shape(inputs), _generator(inputs), patch_size)[None]


def _centre_prior(inputs: ControlInputs, width: float = 0.25) -> npt.NDArray[np.float32]:
    from ..controls import centre_prior

    return centre_prior(_shape(inputs), width)[None]


def _mask_prior(inputs: ControlInputs, mask: str = "lung") -> npt.NDArray[np.float32]:
    from ..controls import mask_prior

    if mask not in inputs.masks:
        there = f"; there are: {', '.join(inputs.masks)}" if inputs.masks else ""
        raise ValueError(f"the image has no mask {mask!r} to make a prior of{there}")
    return mask_prior(inputs.masks[mask][0])[None]


def _sobel_edges(inputs: ControlInputs) -> npt.NDArray[np.float32]:
    from ..controls import sobel_edges

    return sobel_edges(inputs.image)[None]


def _intensity(inputs: ControlInputs) -> npt.NDArray[np.float32]:
    from ..controls import intensity

    return intensity(inputs.image)[None]


def _blurred(inputs: ControlInputs, method: str, patch_size: int = 16) -> npt.NDArray[np.float32]:
    from ..controls import blurred_by_patch

    return blurred_by_patch(inputs.map_of(method, inputs.target)[0], patch_size)[None]


def _other_class(inputs: ControlInputs, method: str) -> npt.NDArray[np.float32]:
    """The map of the output that comes first among the others."""
    import torch

    with torch.no_grad():
        logits = inputs.module(inputs.placed(inputs.image))[0].clone()
    if len(logits) < 2:
        raise ValueError("a model with one output has no other class to explain")
    logits[inputs.target] = -torch.inf
    return inputs.map_of(method, int(logits.argmax()))


def _shape(inputs: ControlInputs) -> tuple[int, int]:
    return inputs.image.shape[1], inputs.image.shape[2]


SPECS = (
    MethodSpec(
        "Random", "independent uniform values, seeded by the image", role="control", sign="positive", make=_random
    ),
    MethodSpec(
        "RandomPatches",
        "uniform values on patches, as smooth as a Vision Transformer's map",
        role="control",
        sign="positive",
        make=_random_patches,
    ),
    MethodSpec("CentrePrior", "a hill in the middle", role="control", sign="positive", make=_centre_prior),
    MethodSpec(
        "MaskPrior",
        "the lung mask with soft borders, or another with [mask=NAME]",
        role="control",
        sign="positive",
        make=_mask_prior,
        needs=frozenset({"mask"}),
    ),
    MethodSpec("SobelEdges", "edges of the image", role="control", sign="positive", make=_sobel_edges),
    MethodSpec("Intensity", "the image itself: bright is relevant", role="control", sign="positive", make=_intensity),
    MethodSpec(
        "Blurred",
        "[method=NAME]'s map without detail within patches",
        role="control",
        make=_blurred,
        of_another=True,
    ),
    MethodSpec(
        "OtherClass",
        "[method=NAME]'s map of the likeliest other class",
        role="control",
        make=_other_class,
        needs=frozenset({"other class"}),
        of_another=True,
    ),
)
