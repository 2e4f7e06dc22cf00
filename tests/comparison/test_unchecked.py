"""Metrics spared Quantus' own checks have the scores, the refusals and the warnings of Quantus' own."""

from __future__ import annotations

import warnings
from importlib.metadata import version
from typing import Any

import numpy as np
import pytest

from quantus_vit.comparison.metrics import METRICS
from quantus_vit.comparison.metrics.base import metric_of_quantus

from .toys import SIZE, LinearModel, protocol, scored

pytestmark = pytest.mark.skipif(not version("quantus").startswith("0.6."), reason="other releases are called as is")

NAMES = ("FaithfulnessEstimate", "PixelFlipping")


def both(name: str, **changes: Any) -> tuple[Any, Any]:
    """The metric of the table, and Quantus' own with the same settings."""
    settings = {**METRICS[name].settings(protocol()), "perturb_baseline": 0.0, **changes}
    return METRICS[name].build(**settings), metric_of_quantus(name)(**settings)


def arguments(model: LinearModel, count: int = 5) -> dict[str, Any]:
    images = [scored(index).image.numpy() for index in range(count)]
    maps = np.random.default_rng(0).normal(size=(count, 1, SIZE, SIZE)) * 10.0 ** np.arange(count)[:, None, None, None]
    where = {"x_batch": np.stack(images), "y_batch": np.arange(count) % 3, "a_batch": maps, "batch_size": 2}
    return {**where, "model": model, "channel_first": True, "softmax": False, "device": "cpu"}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("baseline", [0.0, 1.5, "black", "white", "mean"])
@pytest.mark.parametrize("changes", [{}, {"normalise": False}, {"abs": True}], ids=str)
def test_scores_are_those_of_quantus_to_the_bit(model: LinearModel, name: str, baseline: Any, changes: Any) -> None:
    ours, theirs = both(name, perturb_baseline=baseline, **changes)
    np.testing.assert_array_equal(ours(**arguments(model)), theirs(**arguments(model)))


@pytest.mark.parametrize("name", NAMES)
def test_the_model_sees_the_same_images(model: LinearModel, name: str) -> None:
    seen: list[list[np.ndarray]] = [[], []]
    for metric, images in zip(both(name), seen, strict=True):
        handle = model.register_forward_pre_hook(lambda _, inputs, images=images: images.append(inputs[0].numpy() + 0))
        metric(**arguments(model))
        handle.remove()
    assert len(seen[0]) == len(seen[1]) > 0
    for one, other in zip(*seen, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", NAMES)
def test_an_image_in_which_nothing_changes_is_told_as_before(model: LinearModel, name: str) -> None:
    """One image has the baseline's value everywhere, the others have not."""
    given = arguments(model)
    given["x_batch"][1] = 0.0
    counts = []
    for metric in both(name):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            metric(**given)
        counts.append(sum("didn't cause change" in str(warning.message) for warning in caught))
    assert counts[0] == counts[1] == 3 * SIZE * SIZE / 8


def test_the_metric_refuses_what_quantus_refuses(model: LinearModel) -> None:
    ours, theirs = both("FaithfulnessEstimate", features_in_step=7)
    for metric in (ours, theirs):
        with pytest.raises(AssertionError):
            metric(**arguments(model))
    with pytest.raises(TypeError):
        both("FaithfulnessEstimate", perturb_func_kwargs=3)
