"""``show`` and ``visualize``: what is where in their pictures, which signs they keep, and what is left behind."""

from __future__ import annotations

import io
import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

import quantus_vit
from quantus_vit.data.preprocessing import Preprocessing
from quantus_vit.pictures import SheetColumn, SheetRow, draw_sheet, make_legible, show, visualize
from quantus_vit.pictures.arrays import as_maps, as_pictures
from quantus_vit.pictures.compositing import burned_in
from quantus_vit.pictures.explanation import RESEARCH_ONLY, Explanation
from quantus_vit.pictures.lettering import elided, legible, width_of
from quantus_vit.pictures.overlay import draw_overlay, reduced

SIGNED = np.zeros((8, 8))
SIGNED[1, 1], SIGNED[6, 6] = 2.0, -1.0
IMAGE = np.full((64, 64), 0.5)


def pixels(figure: Figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].astype(int)


def colour_in(figure: Figure, axes, x: float, y: float) -> np.ndarray:
    """Colour of a place in the data of some axes."""
    picture = pixels(figure)
    across, up = axes.transData.transform((x, y))
    return picture[picture.shape[0] - 1 - round(up), round(across)]


def is_orange(colour: np.ndarray) -> bool:
    return bool(colour[0] > colour[2] + 60)


def is_purple(colour: np.ndarray) -> bool:
    return bool(colour[2] > colour[1] + 30)


def texts(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(Text))


def test_names_of_the_package_are_these() -> None:
    assert quantus_vit.show is show
    assert quantus_vit.visualize is visualize


@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (1, 8, 8), (8, 8)])
def test_a_signed_map_keeps_its_signs_over_the_image(shape) -> None:
    figure = visualize(torch.as_tensor(SIGNED).reshape(shape), IMAGE)
    axes = figure.axes[0]
    assert is_orange(colour_in(figure, axes, 12, 12))
    assert is_purple(colour_in(figure, axes, 52, 52))
    assert np.ptp(colour_in(figure, axes, 30, 30)) == 0  # the image itself
    assert "orange: for the class, purple: against" in texts(figure)


@pytest.mark.parametrize(
    ("sign", "first", "second"), [("positive", True, False), ("negative", False, True), ("absolute_value", True, True)]
)
def test_signs_are_chosen(sign, first, second) -> None:
    figure = visualize(SIGNED, IMAGE, sign=sign)
    for shown, (x, y) in ((first, (12, 12)), (second, (52, 52))):
        assert (np.ptp(colour_in(figure, figure.axes[0], x, y)) > 20) == shown, (sign, x)
    if sign == "negative":
        assert is_purple(colour_in(figure, figure.axes[0], 52, 52))
        assert figure.axes[1].get_ylim()[0] < 0


def test_methods_of_captum() -> None:
    alone = visualize(SIGNED, method="heat_map", title="nothing below")
    assert alone.axes[0].get_title() == "nothing below"
    assert is_purple(colour_in(alone, alone.axes[0], 6, 6))
    plain = visualize(SIGNED, IMAGE, method="original_image")
    assert len(plain.axes) == 1
    np.testing.assert_allclose(colour_in(plain, plain.axes[0], 12, 12), 127.5, atol=1)
    masked = visualize(SIGNED, IMAGE, method="masked_image", sign="absolute_value")
    levels = [colour_in(masked, masked.axes[0], place, place)[0] for place in (12, 52, 30)]
    np.testing.assert_allclose(levels, [127, 64, 0], atol=2)


def test_a_limit_sets_the_scale() -> None:
    figure = visualize(SIGNED, IMAGE, limit=4.0)
    assert figure.axes[1].get_ylim() == (-4.0, 4.0)


def test_axes_of_the_callers_own() -> None:
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert visualize(SIGNED, IMAGE, axes=right, show_colorbar=False) is figure
    assert len(right.images) == 2
    assert len(left.images) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "alpha_scaling"}, "method must be one of 'heat_map', 'blended_heat_map'"),
        ({"sign": "both"}, "sign must be one of 'all', 'positive'"),
        ({"limit": 0.0}, "limit must be a positive number, got 0.0"),
        ({"method": "masked_image"}, "choose sign='positive'"),
        ({"image": None}, "method 'blended_heat_map' needs an image"),
        ({"image": np.zeros((64, 64, 3))}, r"got \(1, 64, 64, 3\); channels come first"),
        ({"image": np.full((4, 4), np.nan)}, "no finite numbers"),
        ({"relevance": np.zeros((2, 1, 8, 8))}, r"maps of one image have the shape \(1, C, h, w\), got \(2, 1, 8, 8\)"),
        ({"relevance": np.zeros((1, 1, 4, 8, 8))}, "are of volumes; show a slice"),
        ({"relevance": ["a"]}, "tensors or arrays of numbers"),
        ({"relevance": np.full((4, 4), np.inf)}, "maps have values that are infinite"),
        ({"image": np.zeros((2, 3, 8, 8))}, "one map over one image, got 2 images; show draws several"),
    ],
)
def test_visualize_says_what_is_wrong(arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        visualize(**{"relevance": SIGNED, "image": IMAGE, **arguments})


def test_images_come_back_from_a_models_normalisation() -> None:
    grey = np.linspace(0.2, 0.7, 64, dtype=np.float32).reshape(8, 8)
    preprocessing = Preprocessing(size=(8, 8))
    image = preprocessing.image(grey)
    (exact,) = as_pictures(image, preprocessing)
    np.testing.assert_allclose(exact, grey, atol=1e-6)
    (stretched,) = as_pictures(image[None])
    np.testing.assert_allclose(stretched, (grey - 0.2) / 0.5, atol=1e-3)
    colour = np.stack([grey, grey**2, 1 - grey])
    (picture,) = as_pictures(colour)
    np.testing.assert_array_equal(picture, np.moveaxis(colour, 0, -1))


def test_channels_of_maps_are_summed() -> None:
    maps = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    for image, one in zip(maps, as_maps(maps, 2), strict=True):
        np.testing.assert_allclose(one, image.sum(0).numpy())
    assert as_maps(maps.bfloat16(), 2)[0].dtype == np.float32


def test_show_has_an_image_and_a_map_for_each_method() -> None:
    maps = {"First": torch.rand(2, 1, 8, 8), "Second": torch.randn(2, 3, 64, 64)}
    figure = show(torch.rand(2, 3, 64, 64), maps, labels=["one", "two"], title="Title")
    assert [len(axes.images) for axes in figure.axes[:6]] == [1, 2, 2, 1, 2, 2]
    said = texts(figure)
    for word in ("Title", "one", "two", "First", "Second", "full scale", "purple: against"):
        assert word in said
    shared = show(torch.rand(2, 3, 64, 64), maps, scale="shared")
    assert "full scale" not in texts(shared)
    limits = [axes.images[1].get_clim() for axes in shared.axes[:6] if len(axes.images) == 2]
    assert limits[0] == limits[2]
    assert limits[1] == limits[3]
    assert limits[1][0] == -limits[1][1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"maps": {}}, "at least one method"),
        ({"labels": ["a"]}, "labels are 1, images 2"),
        ({"scale": "log"}, "scale must be 'own' or 'shared', got 'log'"),
        ({"maps": torch.zeros(3, 1, 4, 4)}, "maps of 2 images"),
        ({"labels": "ab"}, "labels are a list of names, one for each image, got 'ab'"),
        ({"images": torch.rand(0, 3, 8, 8), "maps": torch.rand(0, 1, 8, 8)}, "there are no images"),
    ],
)
def test_show_says_what_is_wrong(arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        show(**{"images": torch.rand(2, 3, 8, 8), "maps": torch.rand(2, 1, 8, 8), **arguments})


@pytest.mark.parametrize(("images", "methods", "height"), [(1, 1, 64), (7, 3, 80), (2, 7, 30)])
def test_no_text_of_a_sheet_is_cut_off_or_over_another(images, methods, height) -> None:
    long = "a name that has no room above a cell, by far, and ends in the number "
    rows = [
        SheetRow(np.zeros((height, 64)), f"{long}{n}", f"predicted {long}", [np.eye(8)] * methods, [long] * methods)
        for n in range(images)
    ]
    figure = draw_sheet(rows, [SheetColumn(f"{long}{n}", n % 2 == 1) for n in range(methods)], title=long * 9)
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    boxes = [text.get_window_extent(renderer) for text in figure.texts]
    width, down = figure.bbox.size
    assert len(boxes) >= 2 * images * (1 + methods)
    for number, box in enumerate(boxes):
        assert box.x0 >= 0, number
        assert box.x1 <= width, number
        assert box.y0 >= 0, number
        assert box.y1 <= down, number
        for other in boxes[:number]:
            apart = box.x0 >= other.x1 or other.x0 >= box.x1 or box.y0 >= other.y1 - 1 or other.y0 >= box.y1 - 1
            assert apart, (number, box, other)


def test_a_map_that_failed_leaves_its_place_empty() -> None:
    figure = draw_sheet([SheetRow(IMAGE, "x", "", [None])], [SheetColumn("M", False)])
    assert "no map" in texts(figure)
    assert len(figure.axes[1].images) == 1


def test_elided_text_fits_and_keeps_both_ends() -> None:
    text = "some-x-ray-of-a-long-name-0001.png"
    shorter = elided(text, 8, 80)
    assert width_of(shorter, 8) <= 80
    assert shorter[:3] == text[:3]
    assert shorter[-4:] == ".png"
    assert elided("short", 8, 80) == "short"
    assert elided(text, 8, 1) == "…"


def test_pictures_show_and_save_themselves(tmp_path) -> None:
    figure = show(torch.rand(1, 1, 16, 16), torch.rand(1, 1, 4, 4), title="A $title$ with signs")
    with Image.open(io.BytesIO(figure._repr_png_())) as shown:
        assert shown.format == "PNG"
        assert shown.width == round(figure.bbox.width)
    figure.save(tmp_path / "a.png", dpi=50)
    figure.save(tmp_path / "a.pdf")
    with Image.open(tmp_path / "a.png") as saved:
        assert saved.width == pytest.approx(figure.bbox.width / 2, abs=1)
    content = (tmp_path / "a.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert b"/FontFile2" in content  # TrueType, embedded
    assert b"/Type3" not in content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pdf", "a.png"]
    with pytest.raises(ValueError, match="xyz"):
        figure.save(tmp_path / "a.xyz")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pdf", "a.png"]


def test_nothing_of_pyplot_is_imported_or_left() -> None:
    code = (
        "import sys, numpy as np, quantus_vit\n"
        "assert 'matplotlib' not in sys.modules\n"
        "quantus_vit.show(np.zeros((4, 4)), np.eye(4)), quantus_vit.visualize(np.eye(4), np.zeros((4, 4)))\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


def explanation_of(relevance: np.ndarray) -> Explanation:
    grey = np.full(relevance.shape, 0.5, np.float32)
    words = ("AttnLRP", "Normal", 0.7, "Normal (prob. 0.70)", "", "x.png")
    return Explanation("x", grey, relevance.astype(np.float32), True, *words)


def test_the_overlay_says_what_it_shows() -> None:
    figure = draw_overlay(explanation_of(SIGNED))
    assert figure.get_suptitle() == "x: predicted Normal (prob. 0.70)"
    said = texts(figure)
    for words in ("AttnLRP for Normal (prob. 0.70)", "purple: against", "Research use only - AI explanation, not for"):
        assert words in said
    assert "dashed line" not in said
    assert len([axes for axes in figure.axes if axes.get_label() == "<colorbar>"]) == 1


def test_what_the_model_does_not_see_is_outside_a_dashed_line() -> None:
    cropped = SIGNED.copy()
    cropped[:, :2] = np.nan
    figure = draw_overlay(explanation_of(cropped))
    assert "outside the dashed line" in texts(figure)
    assert len(figure.axes[1].collections) == 1
    assert len(figure.axes[0].collections) == 0


def test_large_images_are_averaged_down() -> None:
    values = np.arange(32, dtype=np.float32).reshape(4, 8)
    np.testing.assert_allclose(reduced(values, 4), values.reshape(2, 2, 4, 2).mean(axis=(1, 3)), rtol=1e-6)
    assert reduced(values, 8) is values


def test_words_of_a_burned_in_band_are_wrapped_within_it() -> None:
    long = "SomeMethod[" + "option=1234567890," * 12 + "]"
    explanation = replace(explanation_of(SIGNED), method=long)
    pixels, zoom = burned_in(explanation)
    assert zoom == 64
    band = pixels[8 * zoom :]
    lines = (band[..., :3] > 200).all(axis=-1)
    assert lines.any(axis=0)[-3:].sum() == 0
    assert lines.any(axis=0)[:3].sum() == 0


def test_the_warning_of_a_narrow_sheet_is_whole() -> None:
    figure = draw_sheet(
        [SheetRow(IMAGE, "x", "", [SIGNED])], [SheetColumn("M", True)], title=f"{RESEARCH_ONLY} (page 1)"
    )
    (title,) = (text for text in figure.texts if text.get_text() == f"{RESEARCH_ONLY} (page 1)")
    renderer = FigureCanvasAgg(figure).get_renderer()
    assert title.get_window_extent(renderer).x1 <= figure.bbox.width


def test_letters_that_no_font_has_are_told_by_their_code_and_warn_of_nothing(tmp_path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = show(
            torch.rand(1, 1, 8, 8), {"方法": torch.rand(1, 1, 4, 4)}, labels=["肺炎 \U00013000"], title="胸部"
        )
        figure.save(tmp_path / "sheet.png")
        figure.save(tmp_path / "sheet.pdf")
        plot = Figure()
        axes = plot.subplots()
        axes.set_yticks([0, 1], ["정상", "plain \U00013000"])
        make_legible(plot)
        plot.savefig(tmp_path / "plot.png")
    assert [label.get_text() for label in axes.get_yticklabels()][1] == "plain [U+13000]"
    assert "[U+13000]" in texts(figure)
    # Latin, Greek and Cyrillic letters are in the default font.
    assert legible("Läsion α Ж") == "Läsion α Ж"
