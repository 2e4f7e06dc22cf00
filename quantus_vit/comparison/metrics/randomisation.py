"""Randomisation: whether a map depends on the model's weights and on the class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

from ..protocol import Protocol
from .base import MetricSpec, common_settings, metric_of_quantus, of_package, only_abs
from .exclusions import not_of_the_model
from .one_by_one import OneByOne, only_value

__all__ = ["SPECS", "mean_over_layers"]

NULL_PAIRS = 50
"""Pairs of random models behind RandomModelSimilarity."""
_NOISE_SAMPLES = 5
_NOISE_MAGNITUDE = 0.1  # of the range of the image's values, the default of Quantus' SmoothMPRT


def _as_they_are(protocol: Protocol) -> dict[str, Any]:
    """Rank correlations need no normalised maps, and signs count."""
    return {**common_settings(protocol), "normalise": False, "normalise_func_kwargs": {}}


def _of_entropy(protocol: Protocol) -> dict[str, Any]:
    """The metric's own normalisation, by the second moment, makes histograms of maps comparable."""
    return {**common_settings(protocol), "normalise": True, "normalise_func_kwargs": {}}


def _mprt(**settings: Any) -> Any:
    """MPRT, which releases before 0.5 call ModelParameterRandomisation."""
    import quantus

    name = "MPRT" if hasattr(quantus, "MPRT") else "ModelParameterRandomisation"
    return OneByOne(metric_of_quantus(name), settings)


def _smooth_mprt(**settings: Any) -> Any:
    """MPRT of smoothed maps: Quantus' own SmoothMPRT calls ``quantus.explain`` in place of ``explain_func``."""
    test = _mprt(**settings)

    def call(x_batch: Any, y_batch: Any, a_batch: Any, model: Any, explain_func: Any, **options: Any) -> list[Any]:
        smooth = _smoothed(explain_func)
        maps = smooth(model=model, inputs=x_batch, targets=y_batch, **(options.get("explain_func_kwargs") or {}))
        found: list[Any] = test(
            model=model, x_batch=x_batch, y_batch=y_batch, a_batch=maps, explain_func=smooth, **options
        )
        return found

    return call


def _smoothed(explain: Callable[..., Any]) -> Callable[..., Any]:
    """A method whose maps are means over noisy images and the image itself, with Quantus' own noise."""

    def smooth(inputs: Any, **options: Any) -> Any:
        import numpy as np

        rng = np.random.default_rng(0)
        spread = inputs.max(axis=(1, 2, 3), keepdims=True) - inputs.min(axis=(1, 2, 3), keepdims=True)
        maps = explain(inputs=inputs, **options) / _NOISE_SAMPLES
        for _ in range(_NOISE_SAMPLES - 1):
            noise = _NOISE_MAGNITUDE * spread * rng.standard_normal(inputs.shape)
            maps = maps + explain(inputs=inputs + noise.astype(inputs.dtype), **options) / _NOISE_SAMPLES
        return maps

    return smooth


def _efficient_mprt(**settings: Any) -> Any:
    return OneByOne(metric_of_quantus("EfficientMPRT"), settings, softmax=True)


def _random_logit(**settings: Any) -> Any:
    import quantus

    similarity = quantus.similarity_func.correlation_spearman
    return OneByOne(metric_of_quantus("RandomLogit"), {"similarity_func": similarity, **settings}, classes=True)


def mean_over_layers(found: Mapping[str, Sequence[float]]) -> float:
    """Mean correlation over the stages of a cascade, without the comparison of the model with itself."""
    return fmean(float(value) for name, (value,) in found.items() if name not in ("original", "orig"))


SPECS = (
    MetricSpec(
        name="MPRT",
        summary="mean rank correlation with the maps of models whose layers are randomised from the top down (Adebayo "
        "et al., 2018); lower is better, down to RandomModelSimilarity; costs as many maps as layers",
        category="randomisation",
        higher_is_better=False,
        build=_mprt,
        settings=_as_they_are,
        needs=frozenset({"explanations"}),
        summarise=mean_over_layers,
        excludes=not_of_the_model,
    ),
    MetricSpec(
        name="RandomModelSimilarity",
        summary=f"mean rank correlation of the maps of {NULL_PAIRS} pairs of random models, the null of MPRT; lower is "
        "better; costs 11 maps",
        category="randomisation",
        higher_is_better=False,
        build=of_package("RandomModelSimilarity"),
        settings=only_abs,
        needs=frozenset({"explanations"}),
        excludes=not_of_the_model,
    ),
    MetricSpec(
        name="SmoothMPRT",
        summary=f"MPRT of maps averaged over {_NOISE_SAMPLES} noisy images (Hedstroem et al., 2023); lower is better",
        category="randomisation",
        higher_is_better=False,
        build=_smooth_mprt,
        settings=_as_they_are,
        needs=frozenset({"explanations"}),
        summarise=mean_over_layers,
        excludes=not_of_the_model,
    ),
    MetricSpec(
        name="EfficientMPRT",
        summary="relative rise of the map's entropy when the whole model is randomised (Hedstroem et al., 2023); "
        "from Quantus 0.5 on",
        category="randomisation",
        higher_is_better=True,
        build=_efficient_mprt,
        settings=_of_entropy,
        needs=frozenset({"explanations"}),
        summarise=only_value,
        excludes=not_of_the_model,
    ),
    MetricSpec(
        name="RandomLogit",
        summary="rank correlation with the map of a random other class (Sixt et al., 2020); lower is better",
        category="randomisation",
        higher_is_better=False,
        build=_random_logit,
        settings=_as_they_are,
        needs=frozenset({"explanations"}),
        summarise=only_value,
        excludes=not_of_the_model,
    ),
)
