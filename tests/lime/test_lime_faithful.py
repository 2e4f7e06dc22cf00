"""`LimeCXR` against the installed lime package."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from lime.lime_image import ImageExplanation, LimeImageExplainer
from lime.wrappers.scikit_image import SegmentationAlgorithm

from quantus_vit.lime import LimeCXR

SAMPLES = 120


def lime_reference(image, classifier, segmentation, seed, **options):
    """Lime's own explanation, and the probabilities its classifier saw."""
    seen = []

    def recording(batch):
        seen.append(classifier(batch))
        return seen[-1]

    explainer = LimeImageExplainer(options.pop("kernel_width", 0.25), random_state=seed)
    explanation = explainer.explain_instance(
        image.permute(1, 2, 0).numpy(),
        recording,
        num_samples=SAMPLES,
        segmentation_fn=segmentation,
        batch_size=10,
        **options,
    )
    return explanation, np.concatenate(seen), explainer


def assert_same(ours, theirs, atol=2e-6):
    assert sorted(ours.local_exp) == sorted(theirs.local_exp)
    for label in theirs.local_exp:
        expected, found = dict(theirs.local_exp[label]), dict(ours.local_exp[label])
        assert expected.keys() == found.keys()
        np.testing.assert_allclose(
            [found[segment] for segment in expected], list(expected.values()), rtol=1e-4, atol=atol
        )
        np.testing.assert_allclose(ours.intercept[label], theirs.intercept[label], rtol=1e-5)


@pytest.mark.parametrize("seed", [0, 1, 12345])
@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("preset", ["cxr", "grid"])
def test_same_neighbourhood_and_coefficients(vit, images, classifier, preset, index, seed):
    ours = LimeCXR(vit, SAMPLES, preset, seed, r2_warning=0).explain_instance(images[index])
    theirs, probabilities, explainer = lime_reference(images[index], classifier, lambda _: ours.segments, seed)
    np.testing.assert_allclose(ours.labels, probabilities, atol=2e-6)
    distances = 1 - np.sqrt(ours.masks.mean(axis=1))  # cosine of a 0/1 vector with the ones vector
    np.testing.assert_allclose(ours.weights, explainer.base.kernel_fn(distances), rtol=1e-6)
    assert_same(ours, theirs)
    assert max(abs(weight) for _, weight in theirs.local_exp[0]) > 1e-3  # something is there to compare
    assert type(ours) is ImageExplanation
    assert ours.top_labels == theirs.top_labels
    np.testing.assert_array_equal(ours.image, theirs.image)


@pytest.mark.parametrize("seed", [0, 5])
def test_lime_default_preset_is_lime_without_a_segmentation(vit, images, classifier, seed):
    image = (images[0] - images[0].min()) / (images[0].max() - images[0].min())  # lime's users give [0, 1]
    ours = LimeCXR(vit, SAMPLES, "lime-default", seed, r2_warning=0).explain_instance(image)
    theirs, _, _ = lime_reference(image, classifier, None, seed)
    np.testing.assert_array_equal(ours.segments, theirs.segments)
    assert_same(ours, theirs)


@pytest.mark.parametrize("constant", [0.0, -1.5, (0.5, 0.0, 1.0)])
def test_hide_color(vit, images, classifier, constant):
    ours = LimeCXR(vit, SAMPLES, "grid", 3, replacement=constant, r2_warning=0).explain_instance(images[0])
    theirs, _, _ = lime_reference(images[0], classifier, lambda _: ours.segments, 3, hide_color=constant)
    assert_same(ours, theirs)


@pytest.mark.parametrize("width", [0.1, 1.0])
def test_kernel_width(vit, images, classifier, width):
    ours = LimeCXR(vit, SAMPLES, "grid", 3, kernel_width=width, r2_warning=0).explain_instance(images[0])
    theirs, _, _ = lime_reference(images[0], classifier, lambda _: ours.segments, 3, kernel_width=width)
    assert_same(ours, theirs)


@pytest.mark.parametrize("count", [3, 8])
def test_few_features_as_lime_selects_them(vit, images, classifier, count):
    """Up to 6 lime selects forward, then by the highest weights."""
    segments = np.arange(64)[:, None] // 16 * 4 + np.arange(64)[None] // 16
    ours = LimeCXR(vit, SAMPLES, segments, 2, r2_warning=0).explain_instance(images[1], num_features=count)
    theirs, _, _ = lime_reference(images[1], classifier, lambda _: segments, 2, num_features=count)
    assert_same(ours, theirs)
    assert len(ours.local_exp[0]) == count


def test_pictures_of_three_and_eight_features_are_limes(vit, images, classifier):
    ours = LimeCXR(vit, SAMPLES, "grid", 0, r2_warning=0).explain_instance(images[0])
    theirs, _, _ = lime_reference(images[0], classifier, lambda _: ours.segments, 0)
    for count in (3, 8):
        for options in ({"positive_only": True}, {"positive_only": False}, {"hide_rest": True}):
            for found, expected in zip(
                ours.get_image_and_mask(1, num_features=count, **options),
                theirs.get_image_and_mask(1, num_features=count, **options),
                strict=True,
            ):
                np.testing.assert_array_equal(found, expected)


def test_lime_segmentation_algorithm_as_callable(vit, images, classifier):
    algorithm = SegmentationAlgorithm("felzenszwalb", scale=50, sigma=1, min_size=30)
    ours = LimeCXR(vit, SAMPLES, algorithm, 4, r2_warning=0).explain_instance(images[0])
    theirs, _, _ = lime_reference(images[0], classifier, algorithm, 4)
    np.testing.assert_array_equal(ours.segments, theirs.segments)
    assert ours.segments.max() > 3
    assert_same(ours, theirs)


def test_one_channel_model_as_gray_picture_in_lime(make_vit, make_images):
    model, image = make_vit(in_chans=1), make_images(1, channels=1)[0]

    def classifier(batch):
        with torch.no_grad():
            return model(torch.from_numpy(batch[..., :1]).permute(0, 3, 1, 2)).softmax(-1).numpy()

    ours = LimeCXR(model, SAMPLES, "grid", 1, r2_warning=0).explain_instance(image)
    theirs, _, _ = lime_reference(image.expand(3, -1, -1), classifier, lambda _: ours.segments, 1)
    assert_same(ours, theirs)


def test_single_class_neighbourhood_is_shared(vit, images):
    """The coefficients of one class do not depend on which others are explained."""
    explainer = LimeCXR(vit, SAMPLES, "grid", r2_warning=0)
    every, one = explainer.explain_instance(images[0]), explainer.explain_instance(images[0], labels=[2])
    assert list(one.local_exp) == [2]
    assert one.local_exp[2] == every.local_exp[2]
