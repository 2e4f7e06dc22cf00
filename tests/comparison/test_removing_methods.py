"""Occlusion and KernelShap as ``compare`` calls them: on a linear model each part's drop is known exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from quantus_vit.comparison.explaining import ExplainedImage, method_calls
from quantus_vit.comparison.protocol import ExplainOptions

from .toys import SIZE, LinearModel, classifier_of, contribution

pytest.importorskip("captum")
pytest.importorskip("lime")


@pytest.fixture
def image() -> ExplainedImage:
    values = torch.randn(3, SIZE, SIZE, generator=torch.Generator().manual_seed(5))
    return ExplainedImage(values, 1, seed=(0, 7))


def maps_of(model: LinearModel, name: str, image: ExplainedImage, **options) -> np.ndarray:
    classifier = classifier_of(model)
    (call,) = method_calls([name], ExplainOptions(**options), classifier)
    return call.explain(classifier, image, "cpu")


@pytest.mark.parametrize("baseline", [0.0, 1.5])
def test_occlusion_is_the_drop_of_each_window(image: ExplainedImage, baseline: float) -> None:
    model = LinearModel().eval()
    options = {"baseline": baseline, "lime_replacement": "baseline"}
    found = maps_of(model, "Occlusion[window=4]", image, **options)
    replaced = torch.full((1, 3, SIZE, SIZE), baseline)
    drops = contribution(model, image.image[None], [1]) - contribution(model, replaced, [1])
    by_window = drops.reshape(2, 4, 2, 4).sum((1, 3))
    np.testing.assert_allclose(found[0], np.kron(by_window, np.ones((4, 4))), rtol=1e-3, atol=1e-4)


def test_windows_may_overlap_and_must_fit(image: ExplainedImage) -> None:
    model = LinearModel().eval()
    assert len(np.unique(maps_of(model, "Occlusion[window=4,stride=2]", image))) > 4
    with pytest.raises(ValueError, match="window must be from 1 to 8 pixels, the image's side, not 9"):
        maps_of(model, "Occlusion[window=9]", image)


@pytest.mark.parametrize("name", ["Occlusion[window=4]", "KernelShap[num_segments=6]"])
def test_a_model_may_have_no_parameters(image: ExplainedImage, name: str) -> None:
    """As one that calls another runtime: its map is that of the same model with a parameter."""

    class Bare(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.stack([images[:, 0].sum((1, 2)), images[:, :, :4].sum((1, 2, 3))], dim=1)

    other = Bare()
    other.register_parameter("unused", torch.nn.Parameter(torch.zeros(1)))
    np.testing.assert_array_equal(maps_of(Bare().eval(), name, image), maps_of(other.eval(), name, image))


def test_shapley_values_of_superpixels_add_up_and_are_seeded(image: ExplainedImage) -> None:
    """On a linear model the values are the superpixels' own contributions, for any sample of coalitions."""
    from quantus_vit.lime import cxr_segments

    model = LinearModel().eval()
    options = {"lime_samples": 200, "lime_replacement": 0.0}
    found = maps_of(model, "KernelShap[num_segments=6]", image, **options)
    segments = cxr_segments(image.image.numpy(), num_segments=6)
    exact = contribution(model, image.image[None], [1])[0, 0]
    for number in np.unique(segments):
        inside = segments == number
        np.testing.assert_allclose(found[0][inside], exact[inside].sum(), rtol=1e-2, atol=1e-2)
    np.testing.assert_array_equal(found, maps_of(model, "KernelShap[num_segments=6]", image, **options))
