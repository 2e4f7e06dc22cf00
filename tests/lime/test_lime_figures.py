"""Pictures: the right segments in the right colours, readable ones."""

from __future__ import annotations

import numpy as np
import pytest
from lime.lime_image import ImageExplanation
from matplotlib.figure import Figure

from quantus_vit.lime import dense_map, explanation_figure, outline_picture, overlay_picture, top_segments
from quantus_vit.lime.figures import AGAINST, FOR, SIGNED

WEIGHTS = [(5, 0.9), (2, -0.8), (7, 0.4), (0, -0.2), (3, 0.1), (1, 0.0)]


@pytest.fixture
def explanation() -> ImageExplanation:
    """Nine squares of 8 x 8 pixels, six of them with weights."""
    segments = np.arange(24)[:, None] // 8 * 3 + np.arange(24)[None] // 8
    image = np.linspace(-2, 2, 24 * 24).reshape(24, 24, 1).repeat(3, axis=-1)
    found = ImageExplanation(image, segments)
    found.local_exp, found.score = {1: WEIGHTS}, 0.5
    return found


def pixels(picture, colour):
    return np.all(np.isclose(picture, colour), axis=-1)


def test_top_segments(explanation):
    assert top_segments(explanation, 1, 2) == [5, 7]
    assert top_segments(explanation, 1, 8) == [5, 7, 3]
    assert top_segments(explanation, 1, 8, "negative") == [2, 0]
    assert top_segments(explanation, 1, 3, "both") == [5, 2, 7]


def test_top_segments_are_those_of_lime(explanation):
    for count in (1, 3, 8):
        _, mask = explanation.get_image_and_mask(1, positive_only=True, num_features=count)
        assert set(top_segments(explanation, 1, count)) == set(np.unique(explanation.segments[mask == 1]))


def test_outlines_lie_within_the_chosen_segments_and_surround_them(explanation):
    picture = outline_picture(explanation, 1, 3, "both", scale=4)
    assert picture.shape == (96, 96, 3)
    segments = explanation.segments.repeat(4, 0).repeat(4, 1)
    assert set(segments[pixels(picture, FOR)]) == {5, 7}
    assert set(segments[pixels(picture, AGAINST)]) == {2}
    rows, columns = np.nonzero(pixels(picture, AGAINST))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (0, 31, 64, 95)
    assert not pixels(picture, AGAINST)[10:22, 74:86].any()


def test_the_rest_is_dimmed(explanation):
    picture = outline_picture(explanation, 1, 1, dim=0.25, scale=1)
    gray = (explanation.image[..., 0] + 2) / 4
    assert picture[20, 4, 0] == pytest.approx(gray[20, 4] * 0.25, abs=0.01)
    assert picture[12, 20, 0] == pytest.approx(gray[12, 20], abs=0.01)


def test_overlay_is_orange_for_blue_against_and_clear_at_zero(explanation):
    picture = overlay_picture(explanation, 1)
    gray = overlay_picture(explanation, 1, opacity=0.0)
    assert (np.ptp(gray, axis=-1) == 0).all()
    strongest, against, zero = (explanation.segments == segment for segment in (5, 2, 1))
    assert (picture[strongest][:, 0] > picture[strongest][:, 2]).all()
    assert (picture[against][:, 2] > picture[against][:, 0]).all()
    np.testing.assert_allclose(picture[zero], gray[zero])


def test_one_limit_makes_overlays_comparable(explanation):
    weak = overlay_picture(explanation, 1, limit=9.0)
    strong = overlay_picture(explanation, 1)
    plain = overlay_picture(explanation, 1, opacity=0.0)
    assert np.abs(weak - plain).max() < 0.2 * np.abs(strong - plain).max()


def luminance(colour):
    linear = np.where(
        np.asarray(colour) <= 0.04045, np.asarray(colour) / 12.92, ((np.asarray(colour) + 0.055) / 1.055) ** 2.4
    )
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(first, second):
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colour", [FOR, AGAINST])
@pytest.mark.parametrize("gray", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_outlines_are_readable_on_every_gray(colour, gray):
    """WCAG asks 3:1 of graphics: the line or its black casing has it against any background."""
    assert max(contrast(colour, (gray,) * 3), contrast((0, 0, 0), (gray,) * 3)) >= 3
    assert contrast(colour, (0, 0, 0)) >= 7


# Vienot, Brettel and Mollon 1999: what dichromats see, in linear RGB
PROTAN = np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]])
DEUTAN = np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]])


@pytest.mark.parametrize("vision", [PROTAN, DEUTAN])
@pytest.mark.parametrize("pair", [(FOR, AGAINST), (SIGNED(0.0)[:3], SIGNED(1.0)[:3])])
def test_signs_differ_for_colour_blind_readers(vision, pair):
    seen = [vision @ np.asarray(colour) ** 2.2 for colour in pair]
    assert np.abs(seen[0] - seen[1]).max() > 0.35


def test_figure_is_drawn(explanation, tmp_path):
    figure = explanation_figure(explanation, 1, "title")
    assert isinstance(figure, Figure)
    assert len(figure.axes) == 6  # five panels and the scale
    figure.savefig(tmp_path / "figure.png", dpi=40)
    assert (tmp_path / "figure.png").stat().st_size > 1000


def test_nothing_speaks_for_the_class(explanation):
    explanation.local_exp[1] = [(2, -0.8), (0, 0.0)]
    assert top_segments(explanation, 1, 3) == []
    assert not pixels(outline_picture(explanation, 1, 3), FOR).any()


def test_errors(explanation):
    for function in (dense_map, outline_picture, overlay_picture, explanation_figure):
        with pytest.raises(ValueError, match=r"class 0 was not explained; there are \[1\]"):
            function(explanation, 0)
    with pytest.raises(ValueError, match="'all'"):
        top_segments(explanation, 1, 3, "all")
    with pytest.raises(ValueError, match="limit=-1"):
        overlay_picture(explanation, 1, limit=-1)
