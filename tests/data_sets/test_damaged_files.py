"""Damaged files of every kind: a ValueError that names the file, or a picture; never another error."""

from __future__ import annotations

import io
import json
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from quantus_vit.data import open_data
from quantus_vit.data.images import image_shape, read_grey
from quantus_vit.data.preprocessing import Preprocessing

LIMITS = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@st.composite
def damages(draw):
    """A function that damages bytes: replaced, cut out, doubled, cut off."""
    steps = draw(
        st.lists(
            st.tuples(st.sampled_from("rrrcdt"), st.floats(0, 1), st.binary(min_size=1, max_size=6)),
            min_size=1,
            max_size=5,
        )
    )

    def damage(content):
        for step, share, replacement in steps:
            at = int(share * len(content))
            size = len(replacement)
            content = {
                "r": content[:at] + replacement + content[at + size :],
                "c": content[:at] + content[at + size :],
                "d": content[: at + 9] + content[at:],
                "t": content[:at],
            }[step]
        return content

    return damage


def encoded(suffix):
    values = np.random.default_rng(0).integers(0, 256, (24, 20), dtype=np.uint8)
    buffer = io.BytesIO()
    image = Image.fromarray(values.astype(np.uint16) * 257 if suffix == "png" else values)
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {"exif": exif} if suffix in ("png", "jpg") else {}
    image.save(buffer, {"jpg": "JPEG", "tif": "TIFF", "bmp": "BMP", "png": "PNG"}[suffix], **options)
    return buffer.getvalue()


def expect_named(error, *names):
    """One line with one of the names."""
    if "\n" in str(error) or not any(name in str(error) for name in names):
        pytest.fail(f"no line that names {names}: {error!r}")


def check_image(path):
    """Read it, or be told its name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for read in (read_grey, image_shape):
            try:
                read(path)
            except ValueError as error:
                expect_named(error, path.name)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp"])
@given(damage=damages())
@LIMITS
def test_images(tmp_path, suffix, damage):
    path = tmp_path / f"film.{suffix}"
    path.write_bytes(damage(encoded(suffix)))
    check_image(path)


@given(damage=damages())
@LIMITS
def test_dicom(tmp_path, write_dicom, damage):
    path = tmp_path / "film.dcm"
    values = np.arange(30, dtype=np.uint16).reshape(5, 6)
    write_dicom(path, values, WindowCenter="9", WindowWidth="20", RescaleSlope="1", RescaleIntercept="0")
    path.write_bytes(damage(path.read_bytes()))
    check_image(path)


def check_data(spec, root, **options):
    """Open a data set and read all of it, or be told what of it is damaged."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = open_data(spec, **options)
    except (ValueError, FileNotFoundError) as error:
        expect_named(error, str(root))
        return
    for index, record in enumerate(data.records):
        try:
            data.sample(index, Preprocessing(size=(8, 8)))
        except (ValueError, FileNotFoundError) as error:
            expect_named(error, repr(record.path)[1:-1], *(file.name for file in root.iterdir()))


FILM = np.full((12, 12), 51, np.uint8)
TABLES = {
    "csv": (
        "list.csv",
        'path,Mass,split,patient,box:Mass,mask:Mass\na.png,1,test,p1,"1 2 3 4;0 0 1 1",\nb.png,0,test,p2,,a.png\n',
    ),
    "rsna": ("stage_2_train_labels.csv", "patientId,x,y,width,height,Target\na,1.0,2.0,30.0,40.0,1\nb,,,,,0\n"),
    "siim": ("train-rle.csv", "ImageId, EncodedPixels\na, 100 4 1020 4\na, 900 3\nb, -1\n"),
    "vindr": (
        "test.csv",
        "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max\na,Mass,1,R1,1,2,5,6\nb,No finding,14,R1,,,,\n",
    ),
    "nih": (
        "BBox_List_2017.csv",
        "Image Index,Finding Label,Bbox [x,y,w,h],,,\na.png,Infiltrate,1.5,2.5,30.5,40.5,,,\n",
    ),
}


@pytest.mark.parametrize("kind", list(TABLES))
@given(damage=damages())
@LIMITS
def test_tables(tmp_path, write_image, kind, damage):
    name, text = TABLES[kind]
    for film in "ab":
        if not (tmp_path / f"{film}.png").exists():
            write_image(tmp_path / f"{film}.png", FILM)
    if kind == "nih":
        (tmp_path / "Data_Entry_2017.csv").write_text("Image Index,Finding Labels,Patient ID\na.png,Infiltration,1\n")
    (tmp_path / name).write_bytes(damage(text.encode()))
    check_data(f"csv:{tmp_path / name}" if kind == "csv" else f"{kind}:{tmp_path}", tmp_path)


VIEW = "patient1_study1_view1_frontal"
MASKS = {"Edema": {"size": [6, 8], "counts": "=3P1"}, "Mass": {"size": [6, 8], "counts": [48]}}
JSON = {
    "gt_segmentations_val.json": {VIEW: MASKS},
    "gt_annotations_val.json": {VIEW: {"img_size": [6, 8], "Edema": [[[2, 1], [3.5, 1], [3, 4]]]}},
}


@pytest.mark.parametrize("name", list(JSON))
@given(damage=damages())
@LIMITS
def test_json(tmp_path, name, damage):
    (tmp_path / name).write_bytes(damage(json.dumps(JSON[name]).encode()))
    check_data(f"chexlocalize:{tmp_path}", tmp_path, split="Val")


KEYS = st.sampled_from(["size", "counts", "img_size", "Edema"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 99) | st.floats(-9, 99) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner),
    max_leaves=6,
)


@pytest.mark.parametrize("name", list(JSON))
@given(content=VALUES | st.dictionaries(st.just(VIEW) | st.text(max_size=3), VALUES))
@LIMITS
def test_json_of_another_shape(tmp_path, name, content):
    (tmp_path / name).write_text(json.dumps(content))
    check_data(f"chexlocalize:{tmp_path}", tmp_path, split="Val")


def test_json_nested_without_end(tmp_path):
    (tmp_path / "gt_segmentations_val.json").write_text("[" * 200_000)
    with pytest.raises(ValueError, match=r"gt_segmentations_val\.json' as JSON, it may be damaged"):
        open_data(f"chexlocalize:{tmp_path}", split="Val")
