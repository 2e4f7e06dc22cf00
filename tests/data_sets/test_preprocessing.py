"""Preprocessing: to the bit what Pillow, timm and torchvision make, one geometry for image, mask and points."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from timm.data import create_transform

from quantus_vit.data.conventions import normalize_image
from quantus_vit.data.phantom import Phantom
from quantus_vit.data.preprocessing import Preprocessing


def _levels(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Grey values of 8 bits with structure and noise."""
    rows, columns = np.indices(shape) / 17
    noise = np.random.default_rng(seed).normal(0, 25, shape)
    return np.clip(127 + 90 * np.sin(rows) * np.cos(columns) + noise, 0, 255).astype(np.uint8)


def _grey(levels: np.ndarray) -> np.ndarray:
    return levels.astype(np.float32) / np.float32(255)


@pytest.mark.parametrize("size", [32, 64, 48, 200])
def test_default_is_todays_path_to_the_bit(tmp_path: Path, size: int) -> None:
    Image.fromarray(_levels((64, 64))).save(tmp_path / "x.png")
    grey = _grey(np.asarray(Image.open(tmp_path / "x.png")))
    resized = np.array(Image.open(tmp_path / "x.png").resize((size, size), Image.Resampling.BILINEAR))
    expected = normalize_image(torch.from_numpy(resized).float() / 255.0)
    assert torch.equal(Preprocessing(size=(size, size)).image(grey), expected)


def test_phantoms_at_their_size_are_unchanged_to_the_bit() -> None:
    image = Phantom(count=1, image_size=64)[0]["image"]
    preprocessing = Preprocessing(size=(64, 64))
    levels = (preprocessing.grey(image) * 255).round().numpy().astype(np.uint8)
    assert torch.equal(preprocessing.image(_grey(levels)), image)


@pytest.mark.parametrize("shape", [(50, 80), (81, 47), (300, 250)])
@pytest.mark.parametrize(("resize", "mode"), [("crop", "center"), ("squash", "squash")])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("fraction", [0.875, 0.9, 1.0])
def test_equals_timms_transform(
    shape: tuple[int, int], resize: str, mode: str, interpolation: str, fraction: float
) -> None:
    levels = _levels(shape)
    transform = create_transform(
        (3, 32, 32), is_training=False, crop_pct=fraction, crop_mode=mode, interpolation=interpolation
    )
    expected = transform(Image.fromarray(np.repeat(levels[..., None], 3, axis=2)))
    ours = Preprocessing(size=(32, 32), resize=resize, crop_fraction=fraction, interpolation=interpolation)
    assert torch.allclose(ours.image(_grey(levels)), expected, atol=1e-6)


@pytest.mark.parametrize("shape", [(50, 80), (81, 47)])
def test_padding_equals_timms_border(shape: tuple[int, int]) -> None:
    levels = _levels(shape)
    transform = create_transform((3, 32, 32), is_training=False, crop_pct=1.0, crop_mode="border")
    expected = transform(Image.fromarray(np.repeat(levels[..., None], 3, axis=2)))
    ours = Preprocessing(size=(32, 32), resize="pad", interpolation="bilinear", fill=None).image(_grey(levels))
    assert torch.allclose(ours, expected, atol=0.02)  # timm rounds the border's grey to 8 bits


def test_sixteen_bits_are_not_cut_to_eight() -> None:
    grey = np.linspace(0, 1, 64 * 64, dtype=np.float32).reshape(64, 64)
    image = Preprocessing(size=(64, 64), mean=(0.0,), std=(1.0,), channels=1).image(grey)
    assert image.shape == (1, 64, 64)
    assert len(image.unique()) == 64 * 64


PREPROCESSINGS = [
    Preprocessing(size=(96, 96)),
    Preprocessing(size=(80, 120), resize="pad"),
    Preprocessing(size=(96, 96), resize="pad", crop_fraction=0.9),
    Preprocessing(size=(96, 64), resize="crop"),
    Preprocessing(size=(96, 96), resize="crop", crop_fraction=0.875, interpolation="bicubic"),
    Preprocessing(size=(96, 96), crop_fraction=0.8),
    Preprocessing(size=(224, 224), resize="pad", interpolation="nearest"),
]


def _centre_and_extent(weights: np.ndarray) -> np.ndarray:
    """Centroid and standard deviation, (x, y, sx, sy), pixel centres at i + 0.5."""
    rows, columns = np.indices(weights.shape) + 0.5
    total = weights.sum()
    x, y = (weights * columns).sum() / total, (weights * rows).sum() / total
    deviations = (weights * (columns - x) ** 2).sum() / total, (weights * (rows - y) ** 2).sum() / total
    return np.array([x, y, *np.sqrt(deviations)])


@pytest.mark.parametrize("preprocessing", PREPROCESSINGS, ids=lambda value: f"{value.resize}-{value.crop_fraction}")
@pytest.mark.parametrize("shape", [(150, 150), (120, 200), (211, 133), (40, 50)])
def test_shapes_land_at_the_same_place_to_half_a_pixel(preprocessing: Preprocessing, shape: tuple[int, int]) -> None:
    """A polygon mapped as points, as a mask and as a picture is the same polygon."""
    rows, columns = shape
    corners = [(0.4, 0.35), (0.62, 0.4), (0.55, 0.62), (0.38, 0.6)]
    polygon = [(x * columns, y * rows) for x, y in corners]
    fine = 8  # drawn finer than a pixel and averaged, so that the picture knows fractions of a pixel
    canvas = Image.new("L", (columns * fine, rows * fine))
    ImageDraw.Draw(canvas).polygon([(x * fine - 0.5, y * fine - 0.5) for x, y in polygon], fill=255)
    grey = np.asarray(canvas, dtype=np.float32).reshape(rows, fine, columns, fine).mean(axis=(1, 3)) / 255
    flat = Preprocessing(**{**preprocessing.__dict__, "mean": (0.0,), "std": (1.0,), "channels": 1})

    mapped = preprocessing.points(polygon, shape)
    height, width = preprocessing.size
    expected_canvas = Image.new("L", (width * fine, height * fine))
    ImageDraw.Draw(expected_canvas).polygon([(x * fine - 0.5, y * fine - 0.5) for x, y in mapped], fill=255)
    expected = _centre_and_extent(
        np.asarray(expected_canvas, dtype=np.float64).reshape(height, fine, width, fine).mean(axis=(1, 3))
    )
    image = _centre_and_extent(flat.image(grey)[0].double().numpy())
    mask = _centre_and_extent(preprocessing.mask(grey >= 0.5)[0].double().numpy())
    assert np.abs(image[:2] - expected[:2]).max() < 0.5
    assert np.abs(mask[:2] - expected[:2]).max() < 0.5
    # The extent too, within half a pixel of the corner farthest from the centre: some 1.7 deviations.
    assert np.abs(mask[2:] - expected[2:]).max() < 0.5
    assert np.abs(image[2:] - expected[2:]).max() < 0.5


@pytest.mark.parametrize(("resize", "ratio"), [("pad", 1.0), ("crop", 1.0), ("squash", 2.0)])
def test_aspect_ratio_is_kept_or_not(resize: str, ratio: float) -> None:
    preprocessing = Preprocessing(size=(60, 60), resize=resize)
    (left, top), (right, bottom) = preprocessing.points([(90, 40), (110, 60)], (100, 200))
    assert (bottom - top) / (right - left) == pytest.approx(ratio)


@pytest.mark.parametrize(("fill", "expected"), [(0.0, 0.0), (0.5, 0.5), (None, 0.25)])
def test_border_holds_the_fill(fill: float | None, expected: float) -> None:
    preprocessing = Preprocessing(size=(20, 20), resize="pad", mean=(0.25,), std=(0.5,), channels=1, fill=fill)
    image = preprocessing.image(np.full((20, 10), 0.3, dtype=np.float32))[0] * 0.5 + 0.25
    assert image[:, :5].unique().tolist() == pytest.approx([expected])
    assert image[:, 5:15].unique().tolist() == pytest.approx([0.3])
    assert not preprocessing.mask(np.ones((20, 10), dtype=bool))[0, :, :5].any()


def test_survives_json() -> None:
    preprocessing = Preprocessing(size=(96, 64), resize="crop", crop_fraction=0.9, fill=None)
    assert Preprocessing.from_dict(json.loads(json.dumps(preprocessing.to_dict()))) == preprocessing


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": (0, 5)}, "size"),
        ({"size": (10**7, 10**7)}, "8192"),
        ({"size": (True, 5)}, "size"),
        ({"size": 224}, "size"),
        ({"resize": "stretch"}, "'squash', 'pad', 'crop'"),
        ({"interpolation": 3}, "interpolation"),
        ({"channels": 2}, "channels"),
        ({"mean": (0.5,)}, "3 channels"),
        ({"mean": ("a", "b", "c")}, "mean"),
        ({"std": (0.1, 0.0, 0.1)}, "positive"),
        ({"std": (0.1, float("nan"), 0.1)}, "std"),
        ({"crop_fraction": 0}, "crop_fraction"),
        ({"fill": 2}, "fill"),
        ({"colour": 1}, "colour"),
    ],
)
def test_refuses(values: dict[str, object], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        Preprocessing.from_dict(values)


@pytest.mark.parametrize(
    "grey", [np.zeros((2, 2, 3)), np.full((2, 2), np.nan), np.full((2, 2), 255.0), np.zeros((0, 3))]
)
def test_refuses_images_that_are_no_grey_values(grey: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"\(h, w\)|\[0, 1\]|one pixel"):
        Preprocessing().image(grey)


@given(
    shape=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    size=st.tuples(st.integers(1, 64), st.integers(1, 64)),
    resize=st.sampled_from(["squash", "pad", "crop"]),
    fraction=st.floats(0.5, 1.0),
)
@settings(max_examples=60, deadline=None)
def test_any_shape_gives_the_size(shape: tuple[int, int], size: tuple[int, int], resize: str, fraction: float) -> None:
    preprocessing = Preprocessing(size=size, resize=resize, crop_fraction=fraction)
    assert preprocessing.image(np.full(shape, 0.5, dtype=np.float32)).shape == (3, *size)
    mask = preprocessing.mask(np.ones(shape, dtype=bool))
    assert mask.shape == (1, *size)
    if resize != "pad":
        assert mask.all()
