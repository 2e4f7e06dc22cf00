"""Fits in float64 on a device give what lime's own regression gives: on the CPU, and on a GPU where there is one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from lime.lime_image import LimeImageExplainer

from quantus_vit import LimeCXR
from quantus_vit.lime import pipeline
from quantus_vit.lime.device_fitting import fit_on_device, fits_on_device
from quantus_vit.lime.fitting import cosine_distances, fit
from quantus_vit.lime.sampling import DESIGNS, clusters

DEVICES = ["cpu", pytest.param("cuda", marks=[
    pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
])]  # fmt: skip
SEGMENTS = 30


def answers_of(masks: np.ndarray, classes: int) -> np.ndarray:
    """Probabilities with interactions of segments, float32 as a model's."""
    random = np.random.RandomState(3)
    scores = masks @ random.randn(SEGMENTS, classes) + (masks @ random.randn(SEGMENTS, classes)) ** 2 / 5
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    return (exponentials / exponentials.sum(axis=1, keepdims=True)).astype(np.float32)


def compare(ours, theirs) -> None:
    assert [segment for segment, _ in ours.coefficients] == [segment for segment, _ in theirs.coefficients]
    np.testing.assert_allclose([c for _, c in ours.coefficients], [c for _, c in theirs.coefficients], atol=1e-10)
    np.testing.assert_allclose(ours.standard_errors, theirs.standard_errors, rtol=1e-8, atol=1e-12)
    for name in ("intercept", "r2", "local_prediction"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=1e-9, err_msg=name)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("design", ["plain", "orthogonal"])
@pytest.mark.parametrize(
    ("num_features", "selection"),
    [(100_000, "auto"), (12, "auto"), (7, "highest_weights"), (3, "highest_weights"), (5, "none")],
)
@pytest.mark.parametrize("samples", [20, 201])  # fewer than segments, and more
def test_models_are_those_of_lime(device, design, num_features, selection, samples):
    base = LimeImageExplainer(random_state=0).base
    masks = DESIGNS[design](samples, SEGMENTS, np.random.RandomState(1))
    answers, distances, groups = answers_of(masks, 4), cosine_distances(masks), clusters(design, samples)
    placed = torch.from_numpy(masks.astype(bool)).to(device)
    found = fit_on_device(placed, torch.from_numpy(answers).to(device), base.kernel_fn(distances), [2, 0, 3],
                          num_features, selection, groups)  # fmt: skip
    assert list(found) == [2, 0, 3]
    for label, model in found.items():
        compare(model, fit(base, masks, answers, distances, label, num_features, selection, groups))


def test_more_classes_than_are_fitted_at_once():
    base = LimeImageExplainer(random_state=0).base
    masks = DESIGNS["plain"](150, SEGMENTS, np.random.RandomState(1))
    answers, distances, groups = answers_of(masks, 70), cosine_distances(masks), clusters("plain", 150)
    found = fit_on_device(torch.from_numpy(masks), torch.from_numpy(answers), base.kernel_fn(distances), range(70),
                          100, "auto", groups)  # fmt: skip
    for label in (0, 31, 32, 69):
        compare(found[label], fit(base, masks, answers, distances, label, 100, "auto", groups))


@pytest.mark.parametrize("value", [0.0, 0.25])
def test_a_class_that_never_changes(value):
    base = LimeImageExplainer(random_state=0).base
    masks = DESIGNS["plain"](60, SEGMENTS, np.random.RandomState(1))
    answers, distances = np.full((60, 1), value, np.float32), cosine_distances(masks)
    arguments = (100, "none", clusters("plain", 60))
    found = fit_on_device(
        torch.from_numpy(masks), torch.from_numpy(answers), base.kernel_fn(distances), [0], *arguments
    )
    theirs = fit(base, masks, answers, distances, 0, *arguments)
    np.testing.assert_allclose([c for _, c in found[0].coefficients], 0, atol=1e-12)
    assert found[0].intercept == pytest.approx(value)
    if value == 0:  # else scikit-learn's and ours divide two roundings
        assert found[0].r2 == theirs.r2 == 1


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_answers_that_are_not_finite_are_refused_as_by_lime(device, value):
    base = LimeImageExplainer(random_state=0).base
    masks = DESIGNS["plain"](50, SEGMENTS, np.random.RandomState(1))
    answers, distances, groups = answers_of(masks, 3), cosine_distances(masks), clusters("plain", 50)
    answers[7, 1] = value
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        fit(base, masks, answers, distances, 1, 100, "auto", groups)
    placed, given = torch.from_numpy(masks.astype(bool)).to(device), torch.from_numpy(answers).to(device)
    weights = base.kernel_fn(distances)
    with pytest.raises(ValueError, match="answers for class 1 are not finite"):
        fit_on_device(placed, given, weights, [0, 1], 100, "auto", groups)
    assert list(fit_on_device(placed, given, weights, [0, 2], 100, "auto", groups)) == [0, 2]


def test_what_is_selected_one_by_one_is_left_to_lime():
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    assert fits_on_device(cuda, "auto", 7)
    assert not fits_on_device(cuda, "auto", 6)
    assert not fits_on_device(cuda, "lasso_path", 100)
    assert not fits_on_device(cpu, "auto", 7)
    masks = torch.ones(3, 2)
    with pytest.raises(ValueError, match="2 features by 'auto' are selected one by one"):
        fit_on_device(masks, masks, np.ones(3), [0], 2, "auto", np.arange(3))


@pytest.mark.parametrize("options", [{}, {"stable_features": 3}, {"sampling": "orthogonal"}], ids=str)
@pytest.mark.parametrize("count", [1, 3])
def test_explanations_are_the_same_wherever_they_are_fitted(vit, make_images, monkeypatch, options, count):
    lime = LimeCXR(vit, 250, r2_warning=0.0, **options)
    images = make_images(count)
    wanted = lime.explain(images, [0, 2])
    monkeypatch.setattr(pipeline, "fits_on_device", lambda *_: True)
    monkeypatch.setattr(pipeline, "fit", lambda *_: pytest.fail("fitted by lime"))
    for ours, theirs in zip(lime.explain(images, [0, 2]), wanted, strict=True):
        np.testing.assert_array_equal(ours.labels, theirs.labels)
        for label in (0, 2):
            assert [s for s, _ in ours.local_exp[label]] == [s for s, _ in theirs.local_exp[label]]
            np.testing.assert_allclose(*([c for _, c in e.local_exp[label]] for e in (ours, theirs)), atol=1e-10)
            np.testing.assert_allclose(ours.standard_errors[label], theirs.standard_errors[label], rtol=1e-8)
            assert ours.r2[label] == pytest.approx(theirs.r2[label], abs=1e-9)
