"""LIME, whose removal of superpixels is to be the metric's own unless something else is asked for."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ..protocol import ExplainOptions
from .base import MethodSpec

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["SPECS", "replacement_of"]


def _options(given: ExplainOptions) -> dict[str, Any]:
    options: dict[str, Any] = {"num_samples": given.lime_samples, "seed": given.lime_seed}
    return options | {"replacement": replacement_of(given), "link": given.link}


def replacement_of(given: ExplainOptions) -> Any:
    """What stands in for an absent superpixel: with "baseline" what the metrics put in place of removed values."""
    if given.lime_replacement != "baseline":
        return given.lime_replacement
    baseline = given.baseline
    return partial(_filled, statistic=_STATISTICS[baseline]) if isinstance(baseline, str) else baseline


_STATISTICS = {"black": "min", "white": "max", "mean": "mean"}


def _filled(image: npt.NDArray[Any], segments: npt.NDArray[Any], statistic: str) -> npt.NDArray[Any]:
    """An image of one value, as Quantus' named baselines have it: a statistic of all values of the image."""
    import numpy as np

    return np.full_like(image, getattr(image, statistic)())


SPECS = (
    MethodSpec(
        "LimeCXR",
        "weights of superpixels in a linear model of the perturbed image (Ribeiro et al., KDD 2016)",
        packages=("lime", "skimage", "sklearn"),
        options=_options,
        removes=True,
        lower_precision=True,
    ),
)
