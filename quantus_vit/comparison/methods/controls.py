"""Controls: maps that know nothing of what the model thinks, which a method must beat to say anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import ControlInputs, MethodSpec

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["SPECS"]


def _random(inputs: ControlInputs) -> npt.NDArray[np.float32]:
    import numpy as np

    generator = np.random.default_rng([*inputs.seed, inputs.calls] if inputs.calls else inputs.seed)
    return generator.random((1, *inputs.image.shape[1:]), dtype=np.float32)


SPECS = (
    MethodSpec(
        "Random", "independent uniform values, seeded by the image", role="control", sign="positive", control=_random
    ),
)
