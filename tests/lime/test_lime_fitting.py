"""Local models: lime's regression, and standard errors against refits and repetitions."""

from __future__ import annotations

import numpy as np
import pytest
from lime.lime_image import LimeImageExplainer
from sklearn.linear_model import Ridge

from quantus_vit.lime.fitting import cosine_distances, fit, sandwich_errors
from quantus_vit.lime.sampling import DESIGNS, clusters


def curved(masks):
    """A smooth function of 12 segments with interactions and curvature, as two probabilities."""
    random = np.random.RandomState(3)
    main, pairs = random.randn(12), random.randn(12, 12) / 4
    score = masks @ main + np.einsum("ij,jk,ik->i", masks, pairs, masks)
    first = 1 / (1 + np.exp(-score))
    return np.stack([first, 1 - first], axis=1)


def local_model(design, samples, seed, label=0):
    base = LimeImageExplainer(random_state=0).base
    masks = DESIGNS[design](samples, 12, np.random.RandomState(seed))
    groups = clusters(design, samples)
    return fit(base, masks, curved(masks), cosine_distances(masks), label, 100, "auto", groups)


def coefficients(model):
    return np.array([weight for _, weight in sorted(model.coefficients)])


def test_distances_are_one_minus_the_cosine():
    masks = DESIGNS["plain"](50, 9, np.random.RandomState(0))
    masks[7] = 0
    expected = [1 - (row @ masks[0]) / max(np.linalg.norm(row) * 3, 1e-30) for row in masks]
    np.testing.assert_allclose(cosine_distances(masks), expected, atol=1e-12)


def test_standard_errors_equal_the_delete_one_jackknife():
    """HC3 errors are those of refitting without one row at a time: sklearn's ridge is the reference."""
    random = np.random.RandomState(0)
    features, weights = random.randint(0, 2, (60, 5)), random.uniform(0.2, 1, 60)
    values = features @ random.randn(5) + features[:, 0] * features[:, 1] + random.randn(60)

    def refit(kept):
        return Ridge(alpha=1).fit(features[kept], values[kept], sample_weight=weights[kept])

    whole = refit(np.arange(60))
    moves = [refit(np.arange(60) != row).coef_ - whole.coef_ for row in range(60)]
    found = sandwich_errors(features, values - whole.predict(features), weights, np.arange(60))
    np.testing.assert_allclose(found, np.sqrt(np.square(moves).sum(axis=0)), rtol=1e-9)


@pytest.mark.parametrize("design", ["plain", "antithetic", "stratified"])
def test_standard_errors_are_the_spread_over_seeds(design):
    models = [local_model(design, 200, seed) for seed in range(120)]
    spread = np.std([coefficients(model) for model in models], axis=0, ddof=1)
    errors = np.sqrt(np.mean([model.standard_errors**2 for model in models], axis=0))
    assert np.median(errors / spread) == pytest.approx(1, abs=0.12)
    assert (errors / spread).max() < 1.4
    assert (errors / spread).min() > 0.7


def test_orthogonal_errors_are_cautious():
    models = [local_model("orthogonal", 97, seed) for seed in range(120)]
    spread = np.std([coefficients(model) for model in models], axis=0, ddof=1)
    errors = np.sqrt(np.mean([model.standard_errors**2 for model in models], axis=0))
    assert (errors > 0.9 * spread).all()


@pytest.mark.parametrize("design", ["antithetic", "stratified", "orthogonal"])
def test_designs_estimate_the_same_with_less_variance(design):
    plain = np.array([coefficients(local_model("plain", 193, seed)) for seed in range(100)])
    other = np.array([coefficients(local_model(design, 193, seed)) for seed in range(100)])
    error = np.hypot(plain.std(axis=0), other.std(axis=0)) / 10
    assert (np.abs(plain.mean(axis=0) - other.mean(axis=0)) < 4.5 * error).all()
    assert other.var(axis=0).sum() < 0.6 * plain.var(axis=0).sum()


def test_second_class_of_two_mirrors_the_first():
    first, second = local_model("plain", 150, 0), local_model("plain", 150, 0, label=1)
    np.testing.assert_allclose(coefficients(first), -coefficients(second), atol=1e-9)
    np.testing.assert_allclose(first.standard_errors, second.standard_errors, rtol=1e-6)
    assert first.r2 == pytest.approx(second.r2)


def test_selected_features_alone_have_errors():
    base = LimeImageExplainer(random_state=0).base
    masks = DESIGNS["plain"](100, 12, np.random.RandomState(0))
    model = fit(base, masks, curved(masks), cosine_distances(masks), 0, 3, "auto", clusters("plain", 100))
    used = [segment for segment, _ in model.coefficients]
    assert len(used) == 3
    np.testing.assert_array_equal(np.isfinite(model.standard_errors), np.isin(np.arange(12), used))
