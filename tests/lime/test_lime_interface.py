"""`LimeCXR` as a Captum attribution: targets, batches, sizes, errors, and what it leaves behind."""

from __future__ import annotations

import threading
import warnings

import numpy as np
import pytest
import torch
from captum.attr import Attribution
from torch import nn

from quantus_vit.lime import LimeCXR, LocalFitWarning, dense_map, pipeline

pytestmark = pytest.mark.filterwarnings("ignore::quantus_vit.lime.LocalFitWarning")


def explainer(model, samples=60, segments="grid", **options):
    return LimeCXR(model, samples, segments, **options)


def test_shape_and_type(vit, images):
    maps = LimeCXR(vit, num_samples=60).attribute(images.requires_grad_())
    assert isinstance(LimeCXR(vit), Attribution)
    assert maps.shape == (2, 1, 64, 64)
    assert maps.dtype == torch.float32
    assert not maps.requires_grad
    assert not maps.is_inference()
    assert images.grad is None


def test_every_pixel_of_a_segment_has_its_coefficient(vit, images):
    lime = explainer(vit, segments="cxr")
    explanation = lime.explain_instance(images[0])
    found = lime.attribute(images[:1], 1)[0, 0].numpy()
    for segment, weight in explanation.local_exp[1]:
        assert (found[explanation.segments == segment] == np.float32(weight)).all()


@pytest.mark.parametrize("target", [1, [1, 1], (1, 1), torch.tensor([1, 1]), torch.tensor(1)])
def test_targets_in_captums_forms(vit, images, target):
    torch.testing.assert_close(explainer(vit).attribute(images, target), explainer(vit).attribute(images, [1, 1]))


def test_target_of_each_image(vit, images):
    both = explainer(vit).attribute(images, [2, 0])
    torch.testing.assert_close(both[:1], explainer(vit).attribute(images[:1], 2), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(both[1:], explainer(vit).attribute(images[1:], 0), rtol=1e-4, atol=1e-6)


def test_no_target_is_the_predicted_class(vit, images):
    predicted = vit(images).argmax(-1)
    torch.testing.assert_close(explainer(vit).attribute(images), explainer(vit).attribute(images, predicted))


def test_all_targets_from_one_neighbourhood(vit, images):
    calls = []
    handle = vit.register_forward_hook(lambda module, inputs, output: calls.append(len(output)))
    try:
        maps = explainer(vit, batch_size=20).attribute_all_targets(images)
    finally:
        handle.remove()
    assert sum(calls) == 2 * (60 + 1)  # and one an image, for the grid of patches
    assert maps.shape == (2, 3, 1, 64, 64)
    for label in range(3):
        torch.testing.assert_close(maps[:, label], explainer(vit).attribute(images, label), rtol=1e-4, atol=1e-6)
    chosen = explainer(vit).attribute_all_targets(images, [2, 0])
    torch.testing.assert_close(chosen, maps[:, [2, 0]], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 7, 60, None])
def test_result_does_not_depend_on_batch_size(vit, images, batch_size):
    expected = explainer(vit, batch_size=16).attribute(images, 0)
    found = explainer(vit, batch_size=batch_size).attribute(images, 0)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("sampling", ["plain", "antithetic", "stratified", "orthogonal"])
def test_same_seed_same_result_other_seed_other_result(vit, images, sampling):
    first, second = (explainer(vit, seed=4, sampling=sampling).attribute(images, 0) for _ in range(2))
    other = explainer(vit, seed=5, sampling=sampling).attribute(images, 0)
    assert torch.equal(first, second)
    assert not torch.allclose(first, other)


def test_global_random_state_is_neither_read_nor_changed(vit, images):
    np.random.seed(0)
    torch.manual_seed(0)
    before = explainer(vit).attribute(images, 0)
    assert np.random.get_state()[2] == np.random.RandomState(0).get_state()[2]
    assert torch.equal(torch.get_rng_state(), torch.Generator().manual_seed(0).get_state())
    np.random.seed(1)
    assert torch.equal(explainer(vit).attribute(images, 0), before)


def test_model_is_left_as_it_was(vit, images):
    def state():
        return (
            {name: (value.clone(), value.grad) for name, value in vit.named_parameters()},
            [(len(m._forward_hooks), len(m._backward_hooks), m.training, sorted(m.__dict__)) for m in vit.modules()],
        )

    parameters, modules = state()
    explainer(vit, batch_size=None).attribute(images)
    after_parameters, after_modules = state()
    assert modules == after_modules
    for name, (value, gradient) in parameters.items():
        assert torch.equal(value, after_parameters[name][0])
        assert gradient is after_parameters[name][1] is None


@pytest.mark.parametrize(("size", "channels"), [((64, 96), 3), ((40, 40), 1), ((16, 16), 3)])
@pytest.mark.parametrize("segments", ["cxr", "grid", "lime-default"])
def test_other_sizes_and_one_channel(make_vit, make_images, size, channels, segments):
    model = make_vit(in_chans=channels, img_size=size)
    maps = LimeCXR(model, 50, segments).attribute(make_images(1, size, channels))
    assert maps.shape == (1, 1, *size)
    assert torch.isfinite(maps).all()


@pytest.mark.parametrize("convert", [lambda x: x, lambda x: x[None], lambda x: x.numpy(), lambda x: x.double().numpy()])
def test_explain_instance_takes_tensor_or_array(vit, images, convert):
    explanation = explainer(vit).explain_instance(convert(images[0]))
    expected = explainer(vit).explain_instance(images[0])
    np.testing.assert_array_equal(dense_map(explanation, 0), dense_map(expected, 0))


def test_double_and_half_precision_models(make_vit, images):
    expected = explainer(make_vit()).attribute(images, 0)
    double = explainer(make_vit().double()).attribute(images.double(), 0)
    torch.testing.assert_close(double, expected, rtol=1e-3, atol=1e-5)
    half = explainer(make_vit().bfloat16()).attribute(images.bfloat16(), 0)
    assert half.dtype == torch.float32
    assert np.corrcoef(half.ravel(), expected.ravel())[0, 1] > 0.99


def test_explicit_maps_for_all_and_for_each_image(vit, images):
    first = np.arange(64)[:, None] // 16 * 4 + np.arange(64)[None] // 16
    second = first.T // 2 * 10 + 5  # neither starting at 0 nor without gaps
    both = LimeCXR(vit, 60, np.stack([first, second])).attribute(images, 0)
    torch.testing.assert_close(both[:1], LimeCXR(vit, 60, first).attribute(images[:1], 0), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(
        both[1:], LimeCXR(vit, 60, torch.from_numpy(second)).attribute(images[1:], 0), rtol=1e-4, atol=1e-6
    )
    assert len(np.unique(both[1])) == len(np.unique(second))


@pytest.mark.parametrize(
    "form", [lambda m: m, lambda m: np.stack([m, m]), lambda m: torch.tensor(m).expand(2, 1, 64, 64)]
)
def test_no_segment_straddles_the_lung_border(vit, images, form):
    lungs = (np.hypot(*(np.mgrid[:64, :64] - 31.5)) < 20.3).astype(bool)
    lime = LimeCXR(vit, 60, "cxr", lung_mask=form(lungs))
    for explanation in lime.explain(images):
        for segment in np.unique(explanation.segments):
            assert len(np.unique(lungs[explanation.segments == segment])) == 1
    assert torch.equal(lime.attribute(images, 0), LimeCXR(vit, 60).attribute(images, 0, lung_mask=form(lungs)))


def test_stops_when_the_ranking_is_stable_with_the_result_of_a_shorter_run(vit, images):
    early = LimeCXR(vit, 3000, "grid", num_segments=9, stable_features=3).explain_instance(images[0])
    taken = len(early.labels)
    assert 300 <= taken < 3000
    plain = LimeCXR(vit, taken, "grid", num_segments=9).explain_instance(images[0])
    np.testing.assert_array_equal(early.masks, plain.masks)
    np.testing.assert_allclose(dense_map(early, 0), dense_map(plain, 0), rtol=1e-4, atol=1e-6)

    def top(samples):
        explanation = LimeCXR(vit, samples, "grid", num_segments=9).explain_instance(images[0])
        return {label: [segment for segment, _ in weights[:3]] for label, weights in explanation.local_exp.items()}

    assert top(taken) == top(taken - 100) == top(taken - 200)
    if taken > 300:
        assert top(taken - 300) != top(taken - 100)


class Threshold(nn.Module):
    """Answers by the parity of the present quadrants: no linear model fits it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bright = (x.mean(dim=1).unfold(1, 8, 8).unfold(2, 8, 8).mean(dim=(-1, -2)) > 0.5).sum(dim=(1, 2)) % 2
        return torch.stack([bright, 1 - bright], dim=1).float() * 8


def test_warns_where_the_fit_is_poor_and_only_there(vit, images):
    quadrants = np.arange(16)[:, None] // 8 * 2 + np.arange(16)[None] // 8
    parity = LimeCXR(Threshold(), 200, quadrants, replacement=0.0)
    with pytest.warns(LocalFitWarning, match=r"image 0 poorly .*class 0: 0\.\d\d") as record:
        explanation = parity.explain_instance(torch.ones(3, 16, 16))
    assert explanation.r2[0] < 0.2
    assert len(record) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LimeCXR(Threshold(), 200, quadrants, replacement=0.0, r2_warning=0).attribute(torch.ones(1, 3, 16, 16))
        good = LimeCXR(vit, 200, "grid", num_segments=4).explain_instance(images[0])
    assert min(good.r2.values()) > 0.2


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"num_samples": 1}, ValueError, "num_samples=1"),
        ({"batch_size": 0}, ValueError, "batch_size=0"),
        ({"seed": -1}, ValueError, "seed=-1"),
        ({"segments": "slic"}, ValueError, "'slic' is no preset; choose one of 'cxr'"),
        ({"segments": 100}, ValueError, "num_segments=100"),
        ({"segments": 0.5}, TypeError, "float"),
        ({"segments": np.zeros((64, 64))}, TypeError, "float64"),
        ({"segments": "lime-default", "num_segments": 30}, ValueError, "num_segments=30 has no effect"),
        ({"num_segments": 1}, ValueError, "at least 2"),
        ({"kernel_width": 0}, ValueError, "kernel_width=0"),
        ({"sampling": "sobol"}, ValueError, "'sobol' is unknown; choose one of 'plain'"),
        ({"feature_selection": "best"}, ValueError, "'best' is unknown"),
        ({"replacement": "noise"}, ValueError, "'noise' is unknown"),
        ({"replacement": float("nan")}, ValueError, "finite"),
        ({"replacement": object()}, TypeError, "neither"),
        ({"stable_features": 0}, ValueError, "stable_features=0"),
        ({"stable_features": 1.5}, ValueError, "stable_features=1.5 must be a whole number"),
        ({"num_samples": "many"}, ValueError, "num_samples='many' must be a whole number"),
        ({"num_segments": float("inf")}, ValueError, "num_segments=inf must be a whole number"),
        ({"seed": 1.5}, ValueError, "seed=1.5 must be a whole number"),
        ({"batch_size": 2.0}, ValueError, "batch_size=2.0 must be a whole number"),
        ({"kernel_width": "wide"}, ValueError, "kernel_width='wide' must be a number"),
    ],
)
def test_bad_options(vit, options, error, match):
    with pytest.raises(error, match=match):
        LimeCXR(vit, **options)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"segments": np.zeros((32, 32), dtype=int)}, r"\(32, 32\); the image needs \(64, 64\)"),
        ({"segments": np.zeros((3, 64, 64), dtype=int)}, "3 segment maps for 2 images"),
        ({"segments": lambda image: np.zeros(image.shape, dtype=int)}, r"needs \(64, 64\)"),
        ({"lung_mask": np.zeros((3, 64, 64), dtype=bool)}, "lung_mask has shape"),
        ({"replacement": (0.0, 1.0)}, "2 numbers; the image has 3"),
        ({"replacement": lambda image, segments: image[0]}, "returned shape"),
    ],
)
def test_what_does_not_fit_the_images(vit, images, options, match):
    with pytest.raises(ValueError, match=match):
        LimeCXR(vit, 20, **options).attribute(images)


@pytest.mark.parametrize("target", [3, -4, [0, 7], [0, 1, 2]])
def test_wrong_targets(vit, images, target):
    with pytest.raises((ValueError, TypeError, IndexError)):
        explainer(vit).attribute(images, target)


def test_wrong_inputs(vit, images):
    for bad in (images[0], images.numpy()):
        with pytest.raises((ValueError, TypeError)):
            explainer(vit).attribute(bad)
    with pytest.raises(ValueError, match="use \\(C, H, W\\)"):
        explainer(vit).explain_instance(images)
    with pytest.raises(ValueError, match="no class"):
        explainer(vit).explain_instance(images[0], labels=[])
    with pytest.raises(ValueError, match=r"7"):
        explainer(vit).explain_instance(images[0], labels=[7])


def test_grid_needs_patches():
    model = nn.Sequential(nn.Flatten(), nn.Linear(72, 2))
    with pytest.raises(ValueError, match=r"Sequential has no attention.*Give an explicit segment map"):
        LimeCXR(model, 20, "grid", batch_size=1).explain_instance(torch.zeros(3, 8, 3))


@pytest.mark.parametrize(
    "options", [{}, {"segments": "lime-default"}, {"stable_features": 3}, {"sampling": "orthogonal"}], ids=str
)
def test_a_batch_is_prepared_and_fitted_beside_the_model_with_the_explanations_of_single_images(
    vit, make_images, monkeypatch, options
):
    images, threads = make_images(3), set()
    prepare, fit, answers = pipeline._prepare, pipeline._fit, pipeline.Neighbourhood.answers

    def watched(function):
        def call(*arguments):
            threads.add((function.__name__, threading.current_thread() is threading.main_thread()))
            return function(*arguments)

        return call

    for owner, function in ((pipeline, prepare), (pipeline, fit), (pipeline.Neighbourhood, answers)):
        monkeypatch.setattr(owner, function.__name__, watched(function))
    lime = LimeCXR(vit, 250, r2_warning=0.0, **options)
    together = lime.explain(images)
    assert threads == {("_prepare", False), ("_fit", "stable_features" in options), ("answers", True)}
    for image, explanation in zip(images, together, strict=True):
        alone = lime.explain_instance(image)
        np.testing.assert_array_equal(explanation.masks, alone.masks)
        np.testing.assert_array_equal(explanation.segments, alone.segments)
        for label in range(3):
            assert explanation.local_exp[label] == alone.local_exp[label]


def test_segments_by_the_model_or_the_user_are_made_in_the_callers_thread(vit, images):
    threads = []

    def halves(image):
        threads.append(threading.current_thread())
        return np.indices(image.shape[:2])[0] // 32

    LimeCXR(vit, 30, halves, r2_warning=0.0).explain(images)
    assert threads == [threading.main_thread()] * 2
