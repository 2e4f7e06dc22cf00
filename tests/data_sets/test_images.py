"""Reading image files: depths, colour, orientation, and what no file may do to a run."""

from __future__ import annotations

import os
import warnings

import numpy as np
import pytest
from PIL import Image

from quantus_vit.data import images
from quantus_vit.data.images import image_shape, read_grey

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)
GREY = (RAMP / 255).astype(np.float32)


@pytest.fixture(autouse=True)
def _no_untold_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_8_bit(tmp_path, suffix):
    Image.fromarray(RAMP).save(tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(read_grey(tmp_path / f"a.{suffix}"), RAMP.astype(np.float32) / np.float32(255))


def test_jpeg(tmp_path):
    Image.fromarray(np.full((16, 16), 100, np.uint8)).save(tmp_path / "a.jpg", quality=95)
    np.testing.assert_allclose(read_grey(tmp_path / "a.jpg"), 100 / 255, atol=1 / 255)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit(tmp_path, suffix):
    Image.fromarray(RAMP.astype(np.uint16) * 257).save(tmp_path / f"a.{suffix}")
    np.testing.assert_allclose(read_grey(tmp_path / f"a.{suffix}"), GREY, atol=1e-6)


@pytest.mark.parametrize(("bits", "stored"), [(8, 255), (12, 4095), (14, 16383)])
def test_fewer_bits_in_a_16_bit_file_are_told_by_the_largest_value(tmp_path, bits, stored):
    values = np.rint(GREY * stored).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    with pytest.warns(
        UserWarning, match=rf"16-bit png file holds no value above {stored} and is read as {bits}-bit.*pixel_range"
    ):
        grey = read_grey(tmp_path / "a.png")
    np.testing.assert_allclose(grey, values / stored, atol=1e-6)


def test_the_warning_is_shown_once_a_kind_of_file(tmp_path):
    for name in ("a.png", "b.png", "a.tif"):
        Image.fromarray(RAMP.astype(np.uint16) * 16).save(tmp_path / name)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for name in ("a.png", "b.png", "a.tif", "b.png"):
            read_grey(tmp_path / name)
    assert [str(warning.message).split()[2] for warning in caught] == ["png", "tif"]


def test_pixel_range_decides(tmp_path):
    Image.fromarray(RAMP.astype(np.uint16) * 16).save(tmp_path / "a.png")
    np.testing.assert_allclose(read_grey(tmp_path / "a.png", (0, 65535)), RAMP * 16.0 / 65535, atol=1e-6)
    inverted = read_grey(tmp_path / "a.png", (2048, 0))
    np.testing.assert_allclose(inverted, np.clip(1 - RAMP * 16.0 / 2048, 0, 1), atol=1e-6)


@pytest.mark.parametrize("value", [(0, 0), (0,), "ab", (0, float("nan")), 5, (0, 1, 2)])
def test_impossible_pixel_range(tmp_path, value):
    with pytest.raises(ValueError, match="pixel_range must be the stored values of black and white"):
        read_grey(tmp_path / "a.png", value)


def test_floating_point_in_unit_range_is_what_it_says(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_grey(tmp_path / "a.tif"), GREY)


@pytest.mark.parametrize("values", [GREY * 255, GREY - 0.5])
def test_other_floating_point_is_refused_with_the_option(tmp_path, values):
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"a\.tif' has floating-point values from .*; set pixel_range"):
        read_grey(tmp_path / "a.tif")
    low, high = float(values.min()), float(values.max())
    np.testing.assert_allclose(read_grey(tmp_path / "a.tif", (low, high)), GREY, atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("pixel_range", [None, (0, 1)])
def test_pixels_that_are_no_numbers(tmp_path, value, pixel_range):
    values = GREY.copy()
    values[3, 4:6] = value
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"a\.tif' has 2 pixels that are no finite numbers"):
        read_grey(tmp_path / "a.tif", pixel_range)


def test_integers_beyond_16_bits(tmp_path):
    Image.fromarray(RAMP.astype(np.int32) * 1000).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"values from 0 to 255000, and does not say .*pixel_range"):
        read_grey(tmp_path / "a.tif")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "CMYK"])
def test_other_modes_become_luminance(tmp_path, mode):
    image = Image.fromarray(RAMP).convert(mode)
    suffix = "tif" if mode == "CMYK" else "png"
    image.save(tmp_path / f"a.{suffix}")
    np.testing.assert_allclose(read_grey(tmp_path / f"a.{suffix}"), GREY, atol=2 / 255)


def test_colour_is_weighted_as_the_eye_does(tmp_path):
    Image.new("RGB", (2, 2), (0, 255, 0)).save(tmp_path / "a.png")
    np.testing.assert_allclose(read_grey(tmp_path / "a.png"), 0.587, atol=1 / 255)


UPRIGHT = np.zeros((6, 4), np.uint8)
UPRIGHT[0, 0], UPRIGHT[0, 3], UPRIGHT[5, 0] = 255, 120, 60


@pytest.mark.parametrize(
    ("orientation", "stored"),
    [
        (1, UPRIGHT), (2, UPRIGHT[:, ::-1]), (3, UPRIGHT[::-1, ::-1]), (4, UPRIGHT[::-1]),
        (5, UPRIGHT.T), (6, np.rot90(UPRIGHT)), (7, UPRIGHT[::-1, ::-1].T), (8, np.rot90(UPRIGHT, -1)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_exif_orientation_is_applied(tmp_path, orientation, stored, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / f"a.{suffix}", exif=exif)
    np.testing.assert_array_equal(read_grey(tmp_path / f"a.{suffix}"), (UPRIGHT / np.float32(255)))
    assert image_shape(tmp_path / f"a.{suffix}") == (6, 4)


def test_too_many_pixels_are_an_error_of_that_file(tmp_path, monkeypatch):
    Image.fromarray(RAMP).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match=r"bomb\.png' claims more pixels"):
        read_grey(tmp_path / "bomb.png")
    with pytest.raises(ValueError, match=r"bomb\.png' claims more pixels"):
        image_shape(tmp_path / "bomb.png")


@pytest.mark.parametrize("read", [read_grey, image_shape])
def test_missing_and_damaged_files_are_named(tmp_path, read):
    with pytest.raises(FileNotFoundError, match=r"no image file '.*none\.png'"):
        read(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(ValueError, match=r"cannot read '.*text\.png' as an image"):
        read(tmp_path / "text.png")


def test_failures_of_the_machine_stay_what_they_are(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    Image.fromarray(RAMP).save(path)

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(images.Image, "open", refuse)
    with pytest.raises(PermissionError, match=r"a\.png"):
        read_grey(path)


@pytest.mark.skipif(os.name == "nt", reason="file names are bytes on Unix alone")
def test_file_names_that_are_not_utf_8(tmp_path):
    path = os.path.join(os.fsencode(tmp_path), b"caf\xe9.png")
    try:
        with open(path, "wb") as file:
            Image.fromarray(RAMP).save(file, "PNG")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    np.testing.assert_allclose(read_grey(os.fsdecode(path)), GREY, atol=1e-6)
    with pytest.raises(FileNotFoundError) as caught:
        read_grey(os.fsdecode(path) + "x")
    str(caught.value).encode()
