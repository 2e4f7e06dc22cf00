"""One's own images in folders."""

from __future__ import annotations

import os

import numpy as np
import pytest

from quantus_vit.data import find_dataset, open_data
from quantus_vit.data.preprocessing import Preprocessing

FILM = np.full((6, 8), 51, np.uint8)
HALF = np.zeros((6, 8), np.uint8)
HALF[:, :4] = 255


@pytest.fixture
def root(tmp_path, write_image):
    for split in ("train", "VALID", "test"):
        for name in ("zebra", "ape"):
            write_image(tmp_path / split / name / f"p1{split}_1.png", FILM)
            write_image(tmp_path / split / name / "deeper" / f"p2{split}_1.jpg", FILM)
    write_image(tmp_path / "masks" / "spot" / "test" / "ape" / "p1test_1.bmp", HALF)
    write_image(tmp_path / "masks" / "lung" / "test" / "ape" / "deeper" / "p2test_1.png", HALF)
    return tmp_path


def test_splits_classes_and_masks_by_their_places(root):
    data = open_data(f"folder:{root}")
    assert (data.task, data.class_names, data.split, data.name) == ("multiclass", ("ape", "zebra"), "Test", root.name)
    assert [record.identity for record in data.records] == [
        "test/ape/p1test_1.png", "test/ape/deeper/p2test_1.jpg",
        "test/zebra/p1test_1.png", "test/zebra/deeper/p2test_1.jpg",
    ]  # fmt: skip
    assert data.labels == [0, 0, 1, 1]
    assert [sorted(record.annotations) for record in data.records] == [["spot"], ["lung"], [], []]
    sample = data.sample(0, Preprocessing(size=(6, 8)))
    assert sample.mask_kinds == {"spot": "pixel"}
    np.testing.assert_array_equal(sample.masks["spot"][0], HALF > 0)
    assert [len(open_data(f"folder:{root}", split=split)) for split in ("Train", "Val")] == [4, 4]


def test_without_splits_all_is_test_unless_fractions_part_it(tmp_path, write_image):
    for patient in range(40):
        for view in "ab":
            write_image(tmp_path / "x" / f"{patient}_{view}.png", FILM)
    place = f"folder:{tmp_path}"
    assert len(open_data(place)) == 80
    with pytest.raises(ValueError, match=r"has no splits.*no 'Train'; fractions="):
        open_data(place, split="Train")
    options = {"fractions": (0.5, 0.25, 0.25), "patient": r"(\d+)_[ab]"}
    parts = [open_data(place, split=split, **options) for split in ("Train", "Val", "Test")]
    assert sum(map(len, parts)) == 80
    patients = [{record.patient for record in part.records} for part in parts]
    assert all(patients)
    assert not patients[0] & patients[1] | patients[1] & patients[2] | patients[0] & patients[2]
    # More images do not move the others.
    write_image(tmp_path / "x" / "99_a.png", FILM)
    again = {record.identity for record in open_data(place, split="Val", **options).records}
    assert {record.identity for record in parts[1].records} == again - {"x/99_a.png"}


@pytest.mark.parametrize("fractions", [(1, 1, 1), (0.5, 0.5), "abc", (1.5, -0.5, 0)])
def test_impossible_fractions(tmp_path, write_image, fractions):
    write_image(tmp_path / "x" / "a.png", FILM)
    with pytest.raises(ValueError, match="fractions must be three shares"):
        open_data(f"folder:{tmp_path}", fractions=fractions)


def test_fractions_do_not_part_what_is_parted(root):
    with pytest.raises(ValueError, match=r"has splits of its own; leave out fractions=\(1, 0, 0\)"):
        open_data(f"folder:{root}", fractions=(1, 0, 0))


def test_a_patient_in_two_splits_is_refused(root, write_image):
    assert open_data(f"folder:{root}", patient=r"/(p\d[a-zA-Z]+)_").records[0].patient == "p1test"
    with pytest.raises(ValueError, match=r"the patient 'p1' \(and 1 more patients\) is in '\w+' and in '\w+'"):
        open_data(f"folder:{root}", patient=r"/(p\d)")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("(", "must be a regular expression"), ("p", "must have a group"), ("(q)", r"finds no patient in '.*p1")],
)
def test_patterns_that_find_no_patient(root, pattern, message):
    with pytest.raises(ValueError, match=message):
        open_data(f"folder:{root}", patient=pattern)


def test_two_files_of_one_stem_are_two_images(tmp_path, write_image):
    write_image(tmp_path / "x" / "a.png", FILM)
    write_image(tmp_path / "x" / "a.bmp", FILM)
    write_image(tmp_path / "x" / "._a.png", FILM)
    (tmp_path / "x" / "notes.txt").write_text("no image")
    assert [record.identity for record in open_data(f"folder:{tmp_path}").records] == ["x/a.bmp", "x/a.png"]


def test_wrong_folders_say_what_is_expected(tmp_path, root, write_image):
    with pytest.raises(FileNotFoundError, match=r"no folder '.*none'"):
        open_data(f"folder:{tmp_path / 'none'}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no images; it must have a folder a class"):
        open_data(f"folder:{tmp_path / 'empty'}")
    (root / "VALID").rename(root / "other")
    with pytest.raises(FileNotFoundError, match="has no folder 'Val'; its splits: Test, Train"):
        open_data(f"folder:{root}", split="Val")


def test_a_folder_alone_that_is_no_covid_qu_ex_is_told_the_other_ways(root):
    assert find_dataset(str(root))[0].name == "covid_qu_ex"
    with pytest.raises(
        FileNotFoundError, match=r"COVID-QU-Ex is read from.*folder:DIR with a folder a class, or csv:FILE"
    ):
        open_data(str(root))


@pytest.mark.skipif(os.name == "nt", reason="file names are bytes on Unix alone")
def test_names_that_are_not_utf_8_have_an_identity_that_can_be_written(tmp_path, write_image):
    path = write_image(tmp_path / "x" / "a.png", FILM)
    try:
        os.rename(path, os.fsencode(path.parent) + b"/caf\xe9.png")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    data = open_data(f"folder:{tmp_path}")
    assert data.records[0].identity == r"x/caf\xe9.png"
    assert data.sample(0, Preprocessing(size=(6, 8))).image.shape == (3, 6, 8)
