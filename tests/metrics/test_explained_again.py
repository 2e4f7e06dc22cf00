"""Metrics that explain again, on models and methods whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from quantus_vit.metrics import (
    CompletenessError,
    NoiseRetest,
    PrecisionError,
    RandomModelSimilarity,
    ShiftError,
)
from quantus_vit.metrics.explained_again import noise_of

from .toys import WeighedPatches

WEIGHTS = np.random.default_rng(3).normal(size=16)
X = np.random.default_rng(4).normal(size=(2, 3, 16, 16)).astype(np.float32)


class Small(nn.Module):
    """A layer with parameters to draw anew, in single precision."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(3 * 256, 8), nn.Linear(8, 2)

    def forward(self, x):
        return self.head(torch.tanh(self.body(x.flatten(1))))


def gradient(model, inputs, targets, times_input=False, **_):
    x = torch.as_tensor(np.asarray(inputs)).requires_grad_()
    with torch.enable_grad():
        outputs = model(x)[torch.arange(len(x)), torch.as_tensor(targets)].sum()
        (found,) = torch.autograd.grad(outputs, x)
    found = found * x if times_input else found
    return found.detach().sum(1, keepdim=True).numpy()


def times_input(model, inputs, targets, **options):
    return gradient(model, inputs, targets, times_input=True)


def call(metric, explain, model, maps=None, **options):
    y = np.array([0, 1])
    maps = explain(model, X, y) if maps is None else maps
    return metric(
        model=model, x_batch=X, y_batch=y, a_batch=maps, explain_func=explain, explain_func_kwargs={}, **options
    )


def test_noise_of_an_image_is_found_beside_its_structure():
    rng = np.random.default_rng(0)
    smooth = np.add.outer(np.linspace(0, 5, 200), np.linspace(0, 3, 200))
    image = np.stack([smooth + sigma * rng.normal(size=smooth.shape) for sigma in (0.02, 0.5)])
    np.testing.assert_allclose(noise_of(image), (0.02, 0.5), rtol=0.05)


def test_a_map_that_ignores_the_image_comes_out_again_and_noise_does_not():
    model = WeighedPatches(WEIGHTS).eval()
    assert call(NoiseRetest(), gradient, model) == pytest.approx([1, 1])
    rng = np.random.default_rng(0)
    scores = call(NoiseRetest(), lambda **k: rng.normal(size=(1, 1, 16, 16)), model, rng.normal(size=(2, 1, 16, 16)))
    assert np.abs(scores).max() < 0.15


def test_retest_by_a_loop():
    model = WeighedPatches(WEIGHTS).eval()
    (found, _) = call(NoiseRetest(samples=2, strength=3.0, seed=5), times_input, model)
    rng = np.random.default_rng(5)
    before = times_input(model, X[:1], [0])[0]
    wanted = []
    for _ in range(2):
        noise = 3 * noise_of(X[0])[:, None, None] * rng.standard_normal((16, 16))
        after = times_input(model, (X[0] + noise.astype(np.float32))[None], [0])[0]
        wanted.append(spearmanr(before.ravel(), after.ravel()).statistic)
    assert found == pytest.approx(np.mean(wanted))


def test_gradients_do_not_change_with_a_shift_and_products_with_the_input_do():
    model = WeighedPatches(WEIGHTS).eval()
    np.testing.assert_allclose(call(ShiftError(shift=2.0), gradient, model), 0, atol=1e-6)
    found = call(ShiftError(shift=2.0), times_input, model)
    for score, x, target in zip(found, X, (0, 1), strict=True):
        before, after = times_input(model, x[None], [target])[0], gradient(model, x[None], [target])[0] * 2
        assert score == pytest.approx(np.abs(after).max() / np.abs(before).max(), rel=1e-4)


def test_precision_error_is_that_of_single_precision():
    torch.manual_seed(0)
    model = Small().eval()
    found = np.array(call(PrecisionError(), gradient, model))
    assert found.min() > 0
    assert found.max() < 1e-5
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert call(PrecisionError(), gradient, model, np.zeros((2, 1, 16, 16)) + 1e-3 * np.eye(16)) > [0.5, 0.5]


def test_random_models_share_what_a_map_owes_to_the_image_alone():
    torch.manual_seed(0)
    model = Small().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    edges = call(
        RandomModelSimilarity(pairs=6), lambda inputs, **k: np.abs(inputs).sum(1, keepdims=True), model, X[:, :1]
    )
    assert edges == pytest.approx([1, 1])
    free = call(RandomModelSimilarity(pairs=10), gradient, model)
    assert np.abs(free).max() < 0.3
    assert free == call(RandomModelSimilarity(pairs=10), gradient, model)
    assert free != call(RandomModelSimilarity(pairs=10, seed=1), gradient, model)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name])


def test_a_complete_map_has_no_error_and_a_doubled_one_an_error_of_one():
    model = WeighedPatches(WEIGHTS).eval()
    maps = times_input(model, X, [0, 1])
    np.testing.assert_allclose(call(CompletenessError(), times_input, model, maps), 0, atol=1e-5)
    np.testing.assert_allclose(call(CompletenessError(), times_input, model, 2 * maps), 1, atol=1e-4)
    other = call(CompletenessError(baseline=1.0), times_input, model, maps)
    patches = X.mean(1).reshape(2, 4, 4, 4, 4).mean((2, 4)).reshape(2, 16)
    falls = [WEIGHTS @ (patches[0] - 1), -WEIGHTS @ (patches[1] - 1)]
    wanted = [abs(m.sum() - fall) / abs(fall) for m, fall in zip(maps, falls, strict=True)]
    np.testing.assert_allclose(other, wanted, rtol=1e-4)


def test_settings_out_of_range_are_refused():
    for metric, message in (
        (lambda: NoiseRetest(strength=0), "strength must be a positive number, not 0"),
        (lambda: NoiseRetest(samples=0), "samples must be a whole number of 1 or more, not 0"),
        (lambda: ShiftError(shift=0), "shift must be a finite number other than 0, not 0"),
        (lambda: RandomModelSimilarity(pairs=0), "pairs must be a whole number of 1 or more, not 0"),
        (lambda: CompletenessError(baseline=np.nan), "baseline must be a finite number in normalised units, not nan"),
    ):
        with pytest.raises(ValueError, match=message):
            metric()
    with pytest.raises(ValueError, match="NoiseRetest makes maps anew; give explain_func"):
        NoiseRetest()(model=WeighedPatches(WEIGHTS).eval(), x_batch=X, y_batch=np.array([0, 1]), a_batch=X[:, :1])
