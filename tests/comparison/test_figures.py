"""Figures from made-up arrays: their panels, texts and pixels."""

from __future__ import annotations

import io
import math
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from quantus_vit.comparison.figure_data import lime_regions
from quantus_vit.comparison.figures import LimeRegions, MapRow, draw_boxplots, draw_map_rows, draw_samples
from quantus_vit.comparison.figures.maps import LESION_COLOUR
from quantus_vit.comparison.scores import Score
from quantus_vit.pictures import scale_of

NAMES = ("COVID-19", "Non-COVID", "Normal")
GREY = np.linspace(0, 1, 32 * 32).reshape(32, 32)


def pixels(figure: Figure) -> np.ndarray:
    file = io.BytesIO()
    figure.savefig(file, dpi=60)
    return np.asarray(Image.open(file).convert("RGB")).astype(int)


def panels_with_images(figure: Figure) -> list:
    return [axes for axes in figure.axes if axes.images]


def texts(figure: Figure) -> str:
    found = [figure.get_suptitle()]
    for axes in figure.axes:
        found += [axes.get_title(), axes.get_ylabel(), *(label.get_text() for label in axes.get_xticklabels())]
    found += [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    return "\n".join(found)


def map_row(label: int, lime: int = 2, infection: bool = True) -> MapRow:
    mask = np.zeros((32, 32), dtype=bool)
    mask[8:20, 8:20] = True
    signs = np.where(mask, 1, 0)
    signs[0:4, 0:4] = -1
    maps = [np.full((32, 32), 0.1 * (index + 1)) * (GREY > 0.5) for index in range(3)]
    regions = [LimeRegions(count, signs) for count in (3, 8)][:lime]
    masks = {"lung": mask, "Pneumothorax": mask & infection}
    return MapRow(GREY, NAMES[label], NAMES[label], "Normal", [0.1, 0.2, 0.7], maps, masks, regions)


def test_samples_have_a_named_row_for_each_class() -> None:
    figure = draw_samples({"COVID-19": [GREY] * 3, "Normal": [GREY]}, "phantoms")
    assert len(panels_with_images(figure)) == 4
    assert "COVID-19" in texts(figure)
    assert "phantoms" in figure.get_suptitle()


def test_every_map_has_its_own_scale_and_every_row_a_bar() -> None:
    figure = draw_map_rows([map_row(0), map_row(1)], "TransformerLRP", NAMES)
    panels = panels_with_images(figure)
    assert len(panels) == 2 * (1 + 3 + 2)
    scales = [axes.images[1].norm for axes in panels[1:4]]
    assert [scale.vmax for scale in scales] == pytest.approx([0.1, 0.2, 0.3])
    assert {scale.vmin for scale in scales} == {0.0}
    bars = [axes for axes in figure.axes if axes.get_label() == "<colorbar>"]
    assert len(bars) == 2
    for word in ("TransformerLRP: Normal", "prob. 0.70", "8 superpixels", "lungs", "lesion", "against"):
        assert word in texts(figure)


def test_maps_without_lime_and_masks_have_no_word_of_them() -> None:
    row = map_row(0, lime=0)
    bare = MapRow(row.grey, "a", "a", "a", row.probabilities, row.maps)
    figure = draw_map_rows([bare], "AttnLRP", NAMES)
    assert len(panels_with_images(figure)) == 4
    assert "LIME" not in texts(figure)
    assert not figure.legends


def test_outlines_are_seen() -> None:
    colour = np.array([int(LESION_COLOUR[i : i + 2], 16) for i in (1, 3, 5)])

    def near_colour(infection: bool) -> int:
        picture = pixels(draw_map_rows([map_row(0, lime=0, infection=infection)], "M", NAMES))
        # The legend has the colour only where a lesion is.
        return int((np.abs(picture - colour).sum(axis=-1) < 60).sum())

    assert near_colour(True) > near_colour(False) + 100


def test_a_lung_with_a_capital_is_a_lung_as_in_the_printed_figure_and_the_page() -> None:
    row = map_row(0, lime=0)
    figure = draw_map_rows([replace(row, masks={"Lung": row.masks["lung"]})], "M", NAMES)
    assert "lungs (mask)" in texts(figure)
    assert "lesion" not in texts(figure)


def test_scale_is_symmetric_for_signed_maps_and_starts_at_zero_for_others() -> None:
    _, positive = scale_of(np.array([[0.0, 3.0]]))
    _, signed = scale_of(np.array([[-5.0, 3.0]]))
    _, asked = scale_of(np.array([[0.0, 3.0]]), signed=True)
    _, empty = scale_of(np.zeros((2, 2)))
    assert (positive.vmin, positive.vmax) == (0, 3)
    assert (signed.vmin, signed.vmax) == (-5, 5)
    assert (asked.vmin, asked.vmax) == (-3, 3)
    assert (empty.vmin, empty.vmax) == (0, 1)


def test_a_few_extreme_pixels_do_not_set_the_scale_unless_nothing_else_is_there() -> None:
    relevance = np.linspace(0, 1, 1000)
    relevance[:3] = 50.0
    assert scale_of(relevance)[1].vmax == pytest.approx(1.0, abs=0.01)
    sparse = np.zeros(1000)
    sparse[5] = 7.0
    assert scale_of(sparse)[1].vmax == 7.0


def test_no_relevance_leaves_the_xray_as_it_is_and_much_hides_it() -> None:
    for relevance in (np.array([[0.0, 1.0]]), np.array([[0.0, -1.0]])):
        colours, scale = scale_of(relevance)
        none, much = colours(scale(relevance))[0, :, 3]
        assert none == pytest.approx(0.0, abs=0.02)
        assert much > 0.8


def scores() -> list[Score]:
    return [
        Score(f"{label}{index}", NAMES[label], NAMES[label], NAMES[label], method, metric, value)
        for metric in ("FaithfulnessEstimate", "PixelFlipping")
        for method in ("TransformerLRP", "LimeCXR", "Random")
        for label in range(3)
        for index, value in enumerate((0.1, 0.5, 0.3, math.nan if label else 0.2))
    ]


def test_boxplots_have_a_panel_for_each_method_and_metric_and_count_nan() -> None:
    directions = {"FaithfulnessEstimate": True, "PixelFlipping": False}
    figure = draw_boxplots(scores(), NAMES, directions)
    assert len(figure.axes) == 6
    first = figure.axes[0]
    assert [label.get_text() for label in first.get_xticklabels()] == [
        "COVID-19\nn = 4", "Non-COVID\nn = 3 (+1 nan)", "Normal\nn = 3 (+1 nan)",
    ]  # fmt: skip
    medians = [
        line.get_ydata()[0] for line in first.lines if line.get_color() == "black" and len(line.get_ydata()) == 2
    ]
    assert medians == pytest.approx([0.25, 0.3, 0.3])
    points = np.concatenate([collection.get_offsets()[:, 1] for collection in first.collections])
    assert sorted(points) == pytest.approx(sorted([0.1, 0.5, 0.3, 0.2] + [0.1, 0.5, 0.3] * 2))
    assert "higher is better" in figure.axes[0].get_ylabel()
    assert "lower is better" in figure.axes[3].get_ylabel()


def test_boxplots_survive_a_method_without_scores() -> None:
    rows = [*scores(), Score("a", "Normal", "Normal", "Normal", "Broken", "PixelFlipping", math.nan)]
    figure = draw_boxplots(rows, NAMES, {"FaithfulnessEstimate": True, "PixelFlipping": False})
    assert pixels(figure).std() > 0


def test_boxplots_of_many_methods_have_a_line_each() -> None:
    methods = [f"Method{number}" for number in range(9)]
    rows = [
        Score(str(i), label, label, label, method, metric, 0.1 * i + number)
        for number, method in enumerate(methods) for metric in ("A", "B") for label in NAMES for i in range(3)
    ]  # fmt: skip
    figure = draw_boxplots(rows, NAMES, {"A": True, "B": False})
    assert figure.get_figwidth() < 14  # so wide a picture is read on a page; nine panels side by side are not
    assert len(figure.axes) == 2
    first, second = figure.axes
    assert [label.get_text() for label in first.get_yticklabels()] == methods
    assert (first.get_title("left"), second.get_title("left")) == ("A (higher is better)", "B (lower is better)")
    medians = [
        line.get_xdata()[0] for line in first.lines if line.get_color() == "black" and len(line.get_xdata()) == 2
    ]
    assert medians == pytest.approx([0.1 + number for number in range(9) for _ in NAMES])
    assert "Non-COVID" in texts(figure)


def test_limes_superpixels_are_those_that_lime_shows() -> None:
    """The strongest weights of the map against lime's own ``get_image_and_mask`` of the same explanation."""
    lime_image = pytest.importorskip("lime.lime_image")
    segments = np.arange(16).reshape(4, 4).repeat(8, axis=0).repeat(8, axis=1)
    weights = np.random.default_rng(0).normal(size=16)
    explanation = lime_image.ImageExplanation(np.zeros((32, 32, 3)), segments)
    explanation.local_exp[1] = sorted(enumerate(weights), key=lambda entry: -abs(entry[1]))
    for count in (1, 3, 8, 16):
        _, expected = explanation.get_image_and_mask(1, positive_only=False, num_features=count)
        np.testing.assert_array_equal(lime_regions(weights[segments], count), expected)
    assert not lime_regions(np.zeros((4, 4)), 3).any()
