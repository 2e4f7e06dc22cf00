"""Which way each metric points: an oracle against an anti-oracle, on a model whose truth is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from quantus_vit.comparison.metrics import METRICS, build_scorers
from quantus_vit.comparison.scoring import ScoredImage, score_maps

from .toys import SIZE, LinearModel, protocol, runnable_metrics, scored, times_gradient

# Options where the toy is too small for the defaults.
MAPS_ALONE = {
    "FaithfulnessEstimate": "", "PixelFlipping": "", "FaithfulnessCorrelation": "[subset_size=20]",
    "RemovalCurve": "[removal=0.0,patch_size=2,steps=4]", "SaCo": "", "RegionPerturbation": "", "IROF": "", "ROAD": "",
    "RelevanceMassAccuracy": "", "RelevanceRankAccuracy": "", "PointingGame": "",
    "TolerantPointingGame": "[tolerance=1]", "MaskIoU": "", "AUROC": "", "AUPRC": "", "TopKIntersection": "[k=6]",
    "Sparseness": "", "Complexity": "", "EffectiveComplexity": "", "CompletenessError": "",
}  # fmt: skip


@pytest.fixture
def image() -> ScoredImage:
    return scored(label=0)


@pytest.fixture
def model(image: ScoredImage) -> LinearModel:
    """It looks at the lesion alone, for the first class; the other classes look at nothing."""
    model = LinearModel().eval()
    lesion = image.masks["infection"].expand(3, SIZE, SIZE).flatten()
    with torch.no_grad():
        model.layer.weight.zero_()
        model.layer.weight[0] = torch.where(lesion, image.image.flatten().sign(), 0.0)
    return model


def score(name: str, relevance: np.ndarray, image: ScoredImage, model: LinearModel, explain: Any = None) -> float:
    settings = protocol(metrics=(name,), baselines=(0.0,))
    (scorer,) = build_scorers(settings, ("infection",))
    (scores,) = score_maps(scorer, [relevance], image, model, settings, "cpu", explain)
    return float(np.mean(scores))


def points_to(name: str, good: float, bad: float) -> bool:
    return good > bad if METRICS[name].higher_is_better else good < bad


@pytest.mark.parametrize("name", MAPS_ALONE)
def test_the_map_of_the_truth_beats_the_map_of_everything_else(
    name: str, model: LinearModel, image: ScoredImage
) -> None:
    """The lesion, a fifth of the image, is sparse, everything else is not; of a linear model its map is complete."""
    if name not in runnable_metrics():
        pytest.skip("the installed Quantus cannot run it")
    oracle = times_gradient(model, image.image[None], [0])[0]
    truth = oracle + 1e-6 * np.random.default_rng(0).random(oracle.shape)
    good, bad = (score(name + MAPS_ALONE[name], one, image, model) for one in (truth, oracle.max() - oracle))
    assert points_to(name, good, bad)


def of_the_image(model: Any, inputs: Any, targets: Any, **_: Any) -> np.ndarray:
    """A map that knows no model: the image."""
    return np.asarray(inputs).mean(1, keepdims=True)


def of_the_model(model: Any, inputs: Any, targets: Any, **_: Any) -> np.ndarray:
    """A map that knows no image: the gradient of a linear model."""
    images = torch.as_tensor(np.asarray(inputs))
    return np.asarray(times_gradient(model, torch.ones_like(images), targets))


def of_chance() -> Callable[..., np.ndarray]:
    """Another map each time."""
    rng = np.random.default_rng(0)
    return lambda inputs, **_: rng.random((len(inputs), 1, SIZE, SIZE))


EXPLAINERS = {
    "MaxSensitivity": (of_the_model, of_chance()),
    "LocalLipschitzEstimate": (of_the_model, of_chance()),
    "NoiseRetest": (of_the_model, of_chance()),
    "PrecisionError": (times_gradient, of_chance()),
    "ShiftError": (of_the_model, times_gradient),
    "MPRT": (times_gradient, of_the_image),
    "SmoothMPRT": (times_gradient, of_the_image),
    "EfficientMPRT": (times_gradient, of_the_image),
    "RandomModelSimilarity": (times_gradient, of_the_image),
    "RandomLogit": (times_gradient, of_the_image),
}


@pytest.mark.parametrize("name", EXPLAINERS)
def test_the_method_that_does_what_is_asked_beats_the_one_that_does_not(
    name: str, model: LinearModel, image: ScoredImage
) -> None:
    if name not in runnable_metrics():
        pytest.skip("the installed Quantus cannot run it")
    with torch.no_grad():
        model.layer.weight += 1e-3 * torch.randn(model.layer.weight.shape, generator=torch.Generator().manual_seed(0))
    scores = []
    for explain in EXPLAINERS[name]:
        (relevance,) = explain(model=model, inputs=image.image[None].numpy(), targets=[0])
        scores.append(score(name, relevance, image, model, explain))
    assert points_to(name, *scores)


@pytest.mark.parametrize("name", sorted(set(METRICS.names()) - set(runnable_metrics())))
def test_what_the_installed_quantus_breaks_is_refused_with_the_reason(name: str) -> None:
    (scorer,) = build_scorers(protocol(metrics=(name,)))
    with pytest.raises(ValueError, match=r"which is installed, (has no|removes each|cannot lay|takes the values)"):
        scorer.build()


def test_every_metric_of_the_table_has_been_tried() -> None:
    assert {*MAPS_ALONE, *EXPLAINERS} == set(METRICS.names())
