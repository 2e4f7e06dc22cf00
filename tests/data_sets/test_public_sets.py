"""Public data sets, from small files in each one's exact format, traps included."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage

from quantus_vit.data import open_data
from quantus_vit.data.preprocessing import Preprocessing

FILM = np.full((64, 64), 51, np.uint8)


def big_mask(x, y, w, h, side=1024):
    mask = np.zeros((side, side), dtype=bool)
    mask[y : y + h, x : x + w] = True
    return mask


def siim_runs(mask):
    """As the challenge encodes: distance from the end of the last run, length, down the columns."""
    flat = np.concatenate([[0], mask.T.ravel().astype(np.int8), [0]])
    starts, ends = np.flatnonzero(np.diff(flat) == 1), np.flatnonzero(np.diff(flat) == -1)
    pairs, last = [], 0
    for start, end in zip(starts, ends, strict=True):
        pairs += [start - last, end - start]
        last = end
    return " ".join(map(str, pairs))


# --- CheXlocalize ---------------------------------------------------------------------------------------------------


@pytest.fixture
def chexlocalize(tmp_path, write_image):
    ids = ["patient64541_study1_view1_frontal", "patient64542_study1_view1_frontal"]
    for name in ids:
        write_image(tmp_path / "CheXpert" / "val" / (name.replace("_", "/", 2) + ".jpg"), np.zeros((6, 8), np.uint8))
    empty = {"size": [6, 8], "counts": "P10"[:2]}  # 48 pixels, none inside
    (tmp_path / "gt_segmentations_val.json").write_text(
        json.dumps(
            {
                # Rows 1 to 3 of column 2: 13 outside, 3 inside, 32 outside.
                ids[0]: {"Airspace Opacity": {"size": [6, 8], "counts": "=3P1"}, "Edema": empty},
                ids[1]: {"Airspace Opacity": empty, "Edema": empty},
            }
        )
    )
    (tmp_path / "gt_annotations_val.json").write_text(
        json.dumps({ids[0]: {"img_size": [6, 8], "Airspace Opacity": [[[2, 1], [3, 1], [3, 4], [2, 4]]]}})
    )
    return tmp_path


def chexpert_labels(root: Path, name: str) -> None:
    header = "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Lung Opacity,Edema,Support Devices"
    rows = [
        "CheXpert-v1.0/valid/patient64541/study1/view1_frontal.jpg,Male,73,Frontal,AP,0.0,1.0,0.0,1.0",
        "CheXpert-v1.0/valid/patient64542/study1/view1_frontal.jpg,Male,70,Frontal,PA,1.0,0.0,0.0,0.0",
    ]
    (root / name).write_text("\n".join([header, *rows]) + "\n")


def test_chexlocalize_without_labels(chexlocalize):
    data = open_data(f"chexlocalize:{chexlocalize}", split="Val")
    assert (data.name, data.task, data.class_names) == ("CheXlocalize", "multilabel", ("Edema", "Lung Opacity"))
    assert [record.labels for record in data.records] == [("Lung Opacity",), ()]
    assert [record.patient for record in data.records] == ["patient64541", "patient64542"]
    assert data.records[0].identity == "CheXpert/val/patient64541/study1/view1_frontal.jpg"
    expected = np.zeros((6, 8), dtype=bool)
    expected[1:4, 2] = True
    np.testing.assert_array_equal(data.records[0].annotations["Lung Opacity"].read(), expected)
    assert [list(record.annotations) for record in data.records] == [["Lung Opacity"], []]
    polygons = open_data(f"chexlocalize:{chexlocalize}", split="Val", annotations="polygons")
    np.testing.assert_array_equal(polygons.records[0].annotations["Lung Opacity"].read(), expected)


@pytest.mark.parametrize("name", ["valid.csv", "CheXpert/val_labels.csv"])
def test_chexlocalize_with_chexperts_labels(chexlocalize, name):
    chexpert_labels(chexlocalize, name)
    data = open_data(f"chexlocalize:{chexlocalize}", split="Val")
    assert data.class_names == ("Lung Opacity", "Edema", "Support Devices")
    assert [record.labels for record in data.records] == [("Lung Opacity", "Support Devices"), ()]
    assert data.sample(0, Preprocessing(size=(6, 8))).mask_kinds == {"Lung Opacity": "pixel"}


def test_chexlocalize_in_the_folders_of_its_download(chexlocalize):
    (chexlocalize / "CheXlocalize").mkdir()
    (chexlocalize / "gt_segmentations_val.json").rename(chexlocalize / "CheXlocalize" / "gt_segmentations_val.json")
    assert len(open_data(f"chexlocalize:{chexlocalize}", split="Val", annotations="segmentations")) == 2


def test_chexlocalize_has_two_splits(chexlocalize):
    with pytest.raises(ValueError, match="has no 'Train'"):
        open_data(f"chexlocalize:{chexlocalize}", split="Train")
    with pytest.raises(FileNotFoundError, match=r"has no gt_segmentations_test\.json and no gt_annotations_test\.json"):
        open_data(f"chexlocalize:{chexlocalize}", split="Test")
    with pytest.raises(ValueError, match=r"annotations must be one of 'segmentations', 'polygons', got 'boxes'"):
        open_data(f"chexlocalize:{chexlocalize}", split="Val", annotations="boxes")


def test_real_files_of_chexlocalize(shared_dir):
    root = shared_dir / "chexlocalize"
    runs, outlines = (
        open_data(f"chexlocalize:{root}", split="Val", annotations=kind) for kind in ("segmentations", "polygons")
    )
    assert len(runs.class_names) == 13
    assert runs.records[0].labels == ("Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity")
    assert runs.records[1].labels == ("Support Devices",)
    assert [sorted(record.annotations) for record in runs.records] == [sorted(record.labels) for record in runs.records]
    for one, other in zip(runs.records, outlines.records, strict=True):
        assert one.identity == other.identity
        for finding in other.annotations:
            first, second = one.annotations[finding].read(), other.annotations[finding].read()
            assert first.shape == second.shape == runs.grey(runs.records.index(one)).shape
            # The official masks are the official outlines as Pillow draws them, which counts pixels on the outline in.
            drawn = Image.new("1", first.shape[::-1])
            for outline in other.annotations[finding].read.outlines:
                ImageDraw.Draw(drawn).polygon(outline, outline=1, fill=1)
            assert (np.asarray(drawn) != first).sum() <= 1e-4 * first.sum()
            assert not (second & ~ndimage.binary_dilation(first, np.ones((3, 3)))).any()
            # But for the tips of slivers, which hold no centre of a pixel.
            beyond = first & ~ndimage.binary_dilation(second, np.ones((3, 3)))
            assert beyond.sum() <= 1e-4 * first.sum()
    sample = runs.sample(0, Preprocessing(size=(64, 64), resize="pad"))
    assert sample.masks["Cardiomegaly"].any()


# --- NIH ChestX-ray14 -----------------------------------------------------------------------------------------------


@pytest.fixture
def nih(tmp_path, write_image):
    rows = {
        "00000001_000.png": ("Cardiomegaly|Emphysema", 1),
        "00000001_001.png": ("No Finding", 1),
        "00000002_000.png": ("Infiltration", 2),
        "00000003_000.png": ("Infiltration|Mass", 3),
    }
    for number, name in enumerate(rows):
        write_image(tmp_path / f"images_00{1 + number % 2}" / "images" / name, FILM)
    header = (
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
        "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
    )
    lines = [f"{name},{labels},0,{patient},58,M,PA,2682,2749,0.143,0.143" for name, (labels, patient) in rows.items()]
    (tmp_path / "Data_Entry_2017_v2020.csv").write_text("\n".join([header, *lines]) + "\n")
    (tmp_path / "BBox_List_2017.csv").write_text(
        "Image Index,Finding Label,Bbox [x,y,w,h],,,\n"
        "00000002_000.png,Infiltrate,225.08474576,547.01694915,86.7796610169,79.1864406779,,,\n"
        "00000003_000.png,Infiltrate,0,0,64,64,,,\n"
        "00000003_000.png,Infiltrate,512,512,128,256,,,\n"
        "00000003_000.png,Mass,100,200,32,32,,,\n"
    )
    return tmp_path


def test_nih(nih):
    data = open_data(f"nih:{nih}")
    assert (data.task, data.class_names) == ("multilabel", ("Cardiomegaly", "Emphysema", "Infiltration", "Mass"))
    assert [record.labels for record in data.records] == [
        ("Cardiomegaly", "Emphysema"), (), ("Infiltration",), ("Infiltration", "Mass")
    ]  # fmt: skip
    assert [record.patient for record in data.records] == ["1", "1", "2", "3"]
    assert data.records[0].identity == "images_001/images/00000001_000.png"
    rows, columns = np.nonzero(data.records[2].annotations["Infiltration"].read())
    # From 225.08 to 311.86 and from 547.02 to 626.20.
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (225, 311, 547, 625)
    sample = data.sample(3, Preprocessing(size=(64, 64)))
    assert sample.mask_kinds == {"Infiltration": "box", "Mass": "box"}
    expected = np.zeros((64, 64), dtype=bool)
    expected[:4, :4] = expected[32:48, 32:40] = True
    np.testing.assert_array_equal(sample.masks["Infiltration"][0], expected)


def test_nih_images_with_boxes(nih):
    data = open_data(f"nih:{nih}", subset="boxes")
    assert [record.patient for record in data.records] == ["2", "3"]
    with pytest.raises(ValueError, match="subset must be 'all' or 'boxes', got 'masks'"):
        open_data(f"nih:{nih}", subset="masks")


def test_nih_official_lists(nih, write_image):
    names = [f"{patient:08d}_{view:03d}.png" for patient in range(10, 50) for view in range(2)]
    with open(nih / "Data_Entry_2017_v2020.csv", "a") as file:
        for name in names:
            write_image(nih / "images_002" / "images" / name, FILM)
            file.write(f"{name},Mass,0,{int(name[:8])},58,M,PA,2682,2749,0.143,0.143\n")
    (nih / "train_val_list.txt").write_text("\n".join(names))
    (nih / "test_list.txt").write_text("00000003_000.png\n")
    assert [record.patient for record in open_data(f"nih:{nih}").records] == ["3"]
    train, val = (open_data(f"nih:{nih}", split=split) for split in ("Train", "Val"))
    assert len(train) + len(val) == 80
    assert 0 < len(val) < len(train)
    assert not {record.patient for record in train.records} & {record.patient for record in val.records}
    (nih / "train_val_list.txt").write_text("\n".join(names[:-1]))
    (nih / "test_list.txt").write_text(names[-1])
    with pytest.raises(ValueError, match="the patient '49' is in"):
        open_data(f"nih:{nih}")


def test_nih_images_that_are_not_unpacked_are_told(nih):
    (nih / "images_001" / "images" / "00000001_000.png").unlink()
    with pytest.warns(UserWarning, match="1 of 4 images of .* are not there"):
        assert len(open_data(f"nih:{nih}")) == 3
    with pytest.raises(FileNotFoundError, match=r"has no Data_Entry_2017_v2020\.csv"):
        open_data(f"nih:{nih / 'images_001'}")


# --- RSNA -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def rsna(tmp_path, write_dicom):
    for name in ("0004cfab", "00436515", "00704310"):
        write_dicom(tmp_path / "stage_2_train_images" / f"{name}.dcm", FILM)
    (tmp_path / "stage_2_train_labels.csv").write_text(
        "patientId,x,y,width,height,Target\n"
        "0004cfab,,,,,0\n"
        "00436515,264.0,152.0,213.0,379.0,1\n"
        "00436515,562.0,152.0,256.0,453.0,1\n"
        "00704310,323.0,577.0,160.0,104.0,1\n"
    )
    return tmp_path


def test_rsna_unites_the_rows_of_an_image(rsna):
    data = open_data(f"rsna:{rsna}")
    assert (data.task, data.class_names, data.labels) == ("binary", ("Pneumonia",), [0, 1, 1])
    assert data.records[0].annotations == {}
    expected = big_mask(264, 152, 213, 379) | big_mask(562, 152, 256, 453)
    np.testing.assert_array_equal(data.records[1].annotations["Pneumonia"].read(), expected)
    assert data.sample(1, Preprocessing(size=(64, 64))).mask_kinds == {"Pneumonia": "box"}
    np.testing.assert_allclose(data.grey(1), 0.2)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("0004cfab,1,2,3,4,1", "the image '0004cfab' has the targets 0 and 1"),
        ("00704310,1,2,3,4,2", "Target must be 0 or 1, got '2'"),
        ("00704310,1,2,-3,4,1", "must have a width and a height, got -3 x 4"),
        ("00704310,1,,3,4,1", "y must be a number, got ''"),
        ("0004cfab,1,2,3,4,0", "has a box, but the Target 0"),
    ],
)
def test_rsna_damaged_rows(rsna, row, message):
    with open(rsna / "stage_2_train_labels.csv", "a") as file:
        file.write(row + "\n")
    with pytest.raises(ValueError, match=f"line 6 of .*stage_2_train_labels.csv': .*{message}"):
        open_data(f"rsna:{rsna}")


def test_rsna_missing_image(rsna):
    (rsna / "stage_2_train_images" / "00436515.dcm").unlink()
    with pytest.raises(FileNotFoundError, match=r"no image '00436515\.dcm' below"):
        open_data(f"rsna:{rsna}")


# --- SIIM-ACR -------------------------------------------------------------------------------------------------------


@pytest.fixture
def siim(tmp_path, write_dicom):
    for name in ("1.2.276.5", "1.2.276.6", "1.2.276.7"):
        write_dicom(tmp_path / "dicom-images-train" / f"{name}.s" / f"{name}.t" / f"{name}.dcm", FILM)
    first, second = big_mask(100, 300, 40, 7), big_mask(500, 20, 3, 90)
    (tmp_path / "train-rle.csv").write_text(
        "ImageId, EncodedPixels\n"
        "1.2.276.5, -1\n"
        f"1.2.276.6, {siim_runs(first)}\n"
        f"1.2.276.6, {siim_runs(second)}\n"
        f"1.2.276.7, {siim_runs(second)}\n"
    )
    return tmp_path, first, second


def test_siim(siim):
    root, first, second = siim
    data = open_data(f"siim:{root}")
    assert (data.task, data.class_names, data.labels) == ("binary", ("Pneumothorax",), [0, 1, 1])
    assert data.records[0].annotations == {}
    np.testing.assert_array_equal(data.records[1].annotations["Pneumothorax"].read(), first | second)
    np.testing.assert_array_equal(data.records[2].annotations["Pneumothorax"].read(), second)
    assert data.records[1].identity == "dicom-images-train/1.2.276.6.s/1.2.276.6.t/1.2.276.6.dcm"
    assert data.sample(1, Preprocessing(size=(64, 64))).mask_kinds == {"Pneumothorax": "pixel"}


def test_siim_refuses_a_mask_beside_minus_one_and_tells_missing_images(siim):
    root, *_ = siim
    table = root / "train-rle.csv"
    text = table.read_text()
    table.write_text(text + "1.2.276.6, -1\n")
    with pytest.raises(ValueError, match=r"line 6 of .*: the image '1\.2\.276\.6' has a mask and -1"):
        open_data(f"siim:{root}")
    table.write_text(text + "1.2.276.8, -1\n")
    with pytest.warns(UserWarning, match="1 of 4 images of .* are not there and left out"):
        assert len(open_data(f"siim:{root}")) == 3
    table.write_text(text + "1.2.276.5,\n")
    with pytest.raises(ValueError, match="is empty; without a pneumothorax it is -1"):
        open_data(f"siim:{root}")


def test_siim_parts_by_fractions(siim):
    root, *_ = siim
    with pytest.raises(ValueError, match="no 'Train'"):
        open_data(f"siim:{root}", split="train")
    assert open_data(f"siim:{root}", split="train", fractions=(1, 0, 0)).split == "Train"


# --- VinDr-CXR ------------------------------------------------------------------------------------------------------

VINDR_ROWS = """image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max
aa,No finding,14,R1,,,,
aa,No finding,14,R2,,,,
aa,Nodule/Mass,8,R3,1,1,5,5
bb,Cardiomegaly,3,R8,10,20,50,40
bb,Cardiomegaly,3,R9,20,20,60,40
bb,Cardiomegaly,3,R10,0,0,4,4
bb,Aortic enlargement,0,R9,5,5,10,10
bb,Aortic enlargement,0,R10,30,5,35,10
"""


@pytest.fixture
def vindr(tmp_path, write_dicom):
    (tmp_path / "train.csv").write_text(VINDR_ROWS)
    bright = np.zeros((48, 64), np.uint8)
    bright[:, :32] = 255
    write_dicom(tmp_path / "train" / "aa.dicom", bright, "MONOCHROME1")
    write_dicom(tmp_path / "train" / "bb.dicom", bright)
    return tmp_path


def rectangle(x0, y0, x1, y1):
    mask = np.zeros((48, 64), dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


def test_vindr_by_majority_of_the_readers(vindr):
    data = open_data(f"vindr:{vindr}", split="Train")
    assert data.class_names == ("Aortic enlargement", "Cardiomegaly", "Nodule/Mass")
    assert [record.labels for record in data.records] == [(), ("Aortic enlargement", "Cardiomegaly")]
    annotations = data.records[1].annotations
    np.testing.assert_array_equal(annotations["Cardiomegaly"].read(), rectangle(20, 20, 50, 40))
    # Two readers of three saw it, in two places.
    expected = rectangle(5, 5, 10, 10) | rectangle(30, 5, 35, 10)
    np.testing.assert_array_equal(annotations["Aortic enlargement"].read(), expected)
    assert data.sample(1, Preprocessing(size=(48, 64))).mask_kinds == {
        "Aortic enlargement": "box",
        "Cardiomegaly": "box",
    }


def test_vindr_by_union_of_the_readers(vindr):
    data = open_data(f"vindr:{vindr}", split="Train", readers="union")
    assert [record.labels for record in data.records] == [("Nodule/Mass",), ("Aortic enlargement", "Cardiomegaly")]
    expected = rectangle(10, 20, 60, 40) | rectangle(0, 0, 4, 4)
    np.testing.assert_array_equal(data.records[1].annotations["Cardiomegaly"].read(), expected)


def test_vindr_monochrome1_is_turned_round(vindr):
    data = open_data(f"vindr:{vindr}", split="Train")
    np.testing.assert_array_equal(data.grey(0), 1 - data.grey(1))
    assert data.grey(1)[0, 0] == 1


def test_vindr_of_physionet(vindr, write_dicom):
    (vindr / "annotations").mkdir()
    (vindr / "annotations" / "annotations_test.csv").write_text(
        "image_id,class_name,x_min,y_min,x_max,y_max\ncc,Cardiomegaly,1.0,2.0,9.0,8.0\ndd,No finding,,,,\n"
    )
    for name in ("cc", "dd"):
        write_dicom(vindr / "test" / f"{name}.dicom", np.zeros((48, 64), np.uint8))
    data = open_data(f"vindr:{vindr}")
    assert [record.labels for record in data.records] == [("Cardiomegaly",), ()]
    np.testing.assert_array_equal(data.records[0].annotations["Cardiomegaly"].read(), rectangle(1, 2, 9, 8))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, FileNotFoundError, r"has no test\.csv or annotations/annotations_test\.csv"),
        ({"split": "Val"}, ValueError, "no 'Val'; fractions="),
        ({"split": "Train", "readers": "all"}, ValueError, "readers must be one of 'majority', 'union', got 'all'"),
    ],
)
def test_vindr_what_there_is_not(vindr, options, error, message):
    with pytest.raises(error, match=message):
        open_data(f"vindr:{vindr}", **options)


def test_vindr_parts_its_training_images(vindr):
    assert len(open_data(f"vindr:{vindr}", split="Val", fractions=(0, 1, 0))) == 2


def test_vindr_boxes_of_scaled_copies_are_refused(vindr, write_dicom):
    write_dicom(vindr / "train" / "bb.dicom", np.zeros((24, 32), np.uint8))
    with pytest.raises(ValueError, match="leaves its image of 32 x 24"):
        open_data(f"vindr:{vindr}", split="Train").sample(1, Preprocessing(size=(24, 32)))


def test_vindr_damaged_rows(vindr):
    (vindr / "train.csv").write_text(VINDR_ROWS + "bb,Cardiomegaly,3,R9,20,20,10,40\n")
    with pytest.raises(ValueError, match=r"line 10 of .*: the box from \(20, 20\) to \(10, 40\) is empty"):
        open_data(f"vindr:{vindr}", split="Train")


# --- QaTa-COV19 -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["", "Test Set"])
def test_qata(tmp_path, write_image, part):
    half = np.zeros((64, 64), np.uint8)
    half[:32] = 255
    for name in ("covid_1", "covid_2"):
        write_image(tmp_path / part / "Images" / f"{name}.png", FILM)
    write_image(tmp_path / part / "Ground-truths" / "mask_covid_1.png", half)
    data = open_data(f"qata:{tmp_path}")
    assert (data.task, data.class_names, data.labels) == ("binary", ("COVID-19",), [1, 1])
    assert [list(record.annotations) for record in data.records] == [["infection"], []]
    np.testing.assert_array_equal(data.records[0].annotations["infection"].read(), half > 0)
    with pytest.raises((FileNotFoundError, ValueError), match="QaTa"):
        open_data(f"qata:{tmp_path}", split="Train")


@pytest.mark.parametrize("kind", ["chexlocalize", "nih", "rsna", "siim", "vindr", "qata"])
def test_an_empty_folder_says_what_is_missing(tmp_path, kind):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(FileNotFoundError) as caught:
            open_data(f"{kind}:{tmp_path}")
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)
