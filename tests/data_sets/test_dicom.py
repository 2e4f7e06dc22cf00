"""DICOM files: look-ups beside pydicom's own, both greys, and files that no picture comes from."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest

from quantus_vit.data.images import image_shape, read_grey

pydicom = pytest.importorskip("pydicom")

DEEP = (np.arange(256, dtype=np.uint16) * 16).reshape(16, 16)
SIGNED = np.arange(-128, 128, dtype=np.int16).reshape(16, 16) * 8


def reference(path):
    """What pydicom makes of the file, scaled to [0, 1] by the range of its output."""
    try:
        from pydicom.pixels import apply_modality_lut, apply_voi_lut
    except ImportError:
        from pydicom.pixel_data_handlers.util import apply_modality_lut, apply_voi_lut
    file = pydicom.dcmread(path)
    low, high = (0, 2**file.BitsStored - 1) if not file.PixelRepresentation else (
        -(2 ** (file.BitsStored - 1)), 2 ** (file.BitsStored - 1) - 1
    )  # fmt: skip
    slope, intercept = float(file.get("RescaleSlope", 1)), float(file.get("RescaleIntercept", 0))
    low, high = low * slope + intercept, high * slope + intercept
    values = apply_voi_lut(apply_modality_lut(file.pixel_array, file), file)
    return (values - low) / (high - low)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID", None])
@pytest.mark.parametrize("values", [DEEP, SIGNED], ids=["unsigned", "signed"])
def test_windows_as_pydicom(tmp_path, write_dicom, function, values):
    path = write_dicom(
        tmp_path / "a.dcm", values, WindowCenter=["900", "1"], WindowWidth=["1500", "1"], VOILUTFunction=function,
        RescaleSlope="2", RescaleIntercept="-100",
    )  # fmt: skip
    np.testing.assert_allclose(read_grey(path), reference(path), atol=1e-5)


def test_monochrome1_is_turned_round(tmp_path, write_dicom):
    window = {"WindowCenter": "2000", "WindowWidth": "4000", "BitsStored": 12, "HighBit": 11}
    plain = read_grey(write_dicom(tmp_path / "a.dcm", DEEP, **window))
    turned = read_grey(write_dicom(tmp_path / "b.dcm", DEEP, "MONOCHROME1", **window))
    np.testing.assert_allclose(turned, 1 - plain, atol=1e-6)
    assert plain[0, 0] == 0
    assert plain[-1, -1] == 1


def test_8_bit_without_window_is_as_a_png(tmp_path, write_dicom):
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)[:, ::-1].copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(
            read_grey(write_dicom(tmp_path / "a.dcm", values)), values.astype(np.float32) / np.float32(255)
        )


def test_deep_without_window_spans_its_own_values_and_says_so(tmp_path, write_dicom):
    path = write_dicom(tmp_path / "a.dcm", DEEP + 100)
    with pytest.warns(UserWarning, match="no window.*pixel_range"):
        grey = read_grey(path)
    np.testing.assert_allclose(grey, DEEP / DEEP.max(), atol=1e-6)
    np.testing.assert_allclose(read_grey(path, (100, 8260)), DEEP / 8160, atol=1e-6)


def test_pixel_range_counts_after_the_modality_look_up(tmp_path, write_dicom):
    path = write_dicom(
        tmp_path / "a.dcm", DEEP, RescaleSlope="0.5", RescaleIntercept="10", WindowCenter="1", WindowWidth="2"
    )
    np.testing.assert_allclose(read_grey(path, (10, 2050)), DEEP / 4080, atol=1e-6)


def test_voi_table(tmp_path, write_dicom):
    item = pydicom.Dataset()
    item.LUTDescriptor = [4, 100, 8]
    item.LUTData = [0, 51, 204, 255]
    item["LUTDescriptor"].VR = item["LUTData"].VR = "US"
    values = np.array([[0, 100], [101, 102], [103, 500]], dtype=np.uint16)
    path = write_dicom(tmp_path / "a.dcm", values, VOILUTSequence=[item], WindowCenter="1", WindowWidth="2")
    np.testing.assert_allclose(read_grey(path), [[0, 0], [0.2, 0.8], [1, 1]], atol=1e-6)


def test_modality_table(tmp_path, write_dicom):
    item = pydicom.Dataset()
    item.LUTDescriptor = [3, 0, 16]
    item.LUTData = [1000, 3000, 2000]
    item["LUTDescriptor"].VR = item["LUTData"].VR = "US"
    values = np.array([[0, 1], [2, 2]], dtype=np.uint16)
    path = write_dicom(tmp_path / "a.dcm", values, ModalityLUTSequence=[item])
    np.testing.assert_allclose(read_grey(path, (1000, 3000)), [[0, 1], [0.5, 0.5]], atol=1e-6)


def test_colour_is_luminance(tmp_path, write_dicom):
    values = np.zeros((4, 4, 3), np.uint8)
    values[..., 1] = 255
    np.testing.assert_allclose(read_grey(write_dicom(tmp_path / "a.dcm", values, "RGB")), 0.587, atol=1 / 255)


def test_a_file_is_known_by_its_content_too(tmp_path, write_dicom):
    path = write_dicom(tmp_path / "a.dcm", np.arange(12, dtype=np.uint8).reshape(3, 4))
    path = path.rename(tmp_path / "no_suffix")
    assert read_grey(path).shape == (3, 4)
    assert image_shape(path) == (3, 4)


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({"PixelData": None}, "has no pixel data"),
        ({"NumberOfFrames": 3}, "holds 3 pictures"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "is 'PALETTE COLOR'; X-rays are read as MONOCHROME1"),
        ({"PhotometricInterpretation": None}, "may be damaged"),
        ({"PixelData": b"\0\1"}, "cannot decode the pixels of"),
        ({"WindowCenter": "5", "WindowWidth": "0"}, "window has the centre 5 and the width 0"),
        ({"WindowCenter": "5", "WindowWidth": "9", "VOILUTFunction": "CUBIC"}, "unknown function 'CUBIC'"),
        ({"Rows": None}, "cannot decode the pixels of"),
    ],
)
def test_files_without_a_picture_are_named(tmp_path, write_dicom, elements, message):
    path = write_dicom(tmp_path / "film.dcm", DEEP, **elements)
    with pytest.raises(ValueError, match=rf".*{message}") as caught:
        read_grey(path)
    assert "film.dcm" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_constant_without_window(tmp_path, write_dicom):
    with pytest.raises(ValueError, match=r"all its pixels are 7.*pixel_range"):
        read_grey(write_dicom(tmp_path / "a.dcm", np.full((4, 4), 7, np.uint16)))


def test_unknown_transfer_syntax(tmp_path, write_dicom):
    path = write_dicom(tmp_path / "film.dcm", DEEP)
    content, known = path.read_bytes(), b"1.2.840.10008.1.2.1\0"
    assert content.count(known) == 1
    path.write_bytes(content.replace(known, b"1.2.3.4.5.6.7.8.9.0\0"))
    with pytest.raises(ValueError, match=r"cannot decode the pixels of '.*film\.dcm' \(1\.2\.3"):
        read_grey(path)


def test_compressed_pixels_name_the_remedy(tmp_path, write_dicom):
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEGLSLossless

    path = write_dicom(
        tmp_path / "film.dcm", DEEP, PixelData=encapsulate([b"\xff\xd8 no picture"]), syntax=JPEGLSLossless
    )
    with pytest.raises(ValueError, match=r"film\.dcm' \(JPEG-LS.*pip install pylibjpeg"):
        read_grey(path)


def test_without_pydicom_the_extra_is_named(tmp_path, write_dicom, monkeypatch):
    path = write_dicom(tmp_path / "film.dcm", DEEP)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    for read in (read_grey, image_shape):
        with pytest.raises(ImportError, match=r"film\.dcm'.*pip install 'quantus-vit\[dicom\]'"):
            read(path)


def test_what_is_no_dicom(tmp_path):
    (tmp_path / "film.dcm").write_bytes(b"nothing" * 50)
    for read in (read_grey, image_shape):
        with pytest.raises(ValueError, match=r"cannot read '.*film\.dcm' as DICOM"):
            read(tmp_path / "film.dcm")
        with pytest.raises(FileNotFoundError, match=r"no image file '.*none\.dcm'"):
            read(tmp_path / "none.dcm")
