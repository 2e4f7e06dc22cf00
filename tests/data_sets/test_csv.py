"""One's own images in a table."""

from __future__ import annotations

import csv
import warnings

import numpy as np
import pytest

from quantus_vit.data import open_data
from quantus_vit.data.preprocessing import Preprocessing

FILM = np.full((6, 8), 51, np.uint8)
HALF = np.zeros((6, 8), np.uint8)
HALF[:, :4] = 255


@pytest.fixture
def table(tmp_path, write_image):
    for name in "abc":
        write_image(tmp_path / "films" / f"{name}.png", FILM)
    write_image(tmp_path / "half.png", HALF)

    def write(text, name="list.csv", encoding="utf-8"):
        (tmp_path / name).write_text(text, encoding=encoding)
        return f"csv:{tmp_path / name}"

    return write


def test_classes(table):
    data = open_data(table("path,label,age\nfilms/a.png,sick,3\nfilms/b.png,healthy,4\n"))
    assert (data.task, data.class_names, data.labels, data.name) == ("multiclass", ("healthy", "sick"), [1, 0], "list")
    assert [record.identity for record in data.records] == ["films/a.png", "films/b.png"]
    np.testing.assert_allclose(data.grey(0), 0.2)


def test_findings_masks_and_boxes(table):
    data = open_data(
        table(
            "path,Mass,Edema,patient,mask:Mass,box:Edema\n"
            "films/a.png,1,0,p1,half.png,\n"
            'films/b.png,1.0,1,,,"1 2 3 2; 0,0,1,1"\n'
            "films/c.png,0,0,p2,,\n"
        )
    )
    assert (data.task, data.class_names) == ("multilabel", ("Mass", "Edema"))
    assert data.findings.tolist() == [[True, False], [True, True], [False, False]]
    assert [record.patient for record in data.records] == ["p1", None, "p2"]
    samples = [data.sample(index, Preprocessing(size=(6, 8))) for index in range(3)]
    assert [sample.mask_kinds for sample in samples] == [{"Mass": "pixel"}, {"Edema": "box"}, {}]
    np.testing.assert_array_equal(samples[0].masks["Mass"][0], HALF > 0)
    boxes = np.zeros((6, 8), dtype=bool)
    boxes[2:4, 1:4] = boxes[0, 0] = True
    np.testing.assert_array_equal(samples[1].masks["Edema"][0], boxes)


def test_one_finding_is_binary(table):
    data = open_data(table("path,Pneumonia\nfilms/a.png,0\nfilms/b.png,1\n"))
    assert (data.task, data.class_names, data.labels) == ("binary", ("Pneumonia",), [0, 1])


def test_columns_of_findings_may_be_named(table):
    place = table("path,label,male,Mass\nfilms/a.png,x,1,0\nfilms/b.png,y,0,1\n")
    data = open_data(place, findings=["Mass"])
    assert (data.task, data.labels) == ("binary", [0, 1])
    with pytest.raises(ValueError, match=r"no column 'Edema' of a finding; it has path, label, male, Mass"):
        open_data(place, findings=["Mass", "Edema"])


@pytest.mark.parametrize("sign", [";", "\t"])
def test_other_signs_between_cells_and_a_byte_order_mark(table, sign):
    text = "path,label\nfilms/a.png,x\n\nfilms/b.png,y\n".replace(",", sign)
    assert open_data(table(text, encoding="utf-8-sig")).labels == [0, 1]


def test_splits(table):
    place = table("path,label,split\nfilms/a.png,x,TRAIN\nfilms/b.png,y,valid\nfilms/c.png,z,test\n")
    data = [open_data(place, split=split) for split in ("Train", "Val", "Test")]
    assert [part.records[0].labels for part in data] == [("x",), ("y",), ("z",)]
    assert {part.class_names for part in data} == {("x", "y", "z")}
    with pytest.raises(ValueError, match="has no 'Val' in its column 'split'; it has 'Train'"):
        open_data(table("path,label,split\nfilms/a.png,x,train\n"), split="Val")


def test_fractions_do_not_part_what_is_parted(table):
    with pytest.raises(ValueError, match="has splits of its own"):
        open_data(table("path,label,split\nfilms/a.png,x,test\n"), fractions=(1, 0, 0))


def test_patients_stay_in_one_split(table):
    with pytest.raises(ValueError, match=r"the patient 'p7' is in 'Train' and in 'Test'"):
        open_data(table("path,label,split,patient\nfilms/a.png,x,train,p7\nfilms/b.png,x,test,p7\n"))


def test_rows_of_one_image_are_united_and_told(table):
    place = table("path,Mass,box:Mass\nfilms/a.png,1,0 0 2 2\n./films/a.png,1,4 4 2 1\nfilms/b.png,0,\n")
    with pytest.warns(UserWarning, match=r"1 rows of '.*list.csv' name an image of an earlier row"):
        data = open_data(place)
    assert len(data) == 2
    assert data.records[0].annotations["Mass"].read().sum() == 6


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("films/a.png,x,train,p\nfilms/a.png,y,train,p", r"'films/a.png' twice, with the labels \('x',\) and \('y',\)"),
        ("films/a.png,x,train,p\nfilms/a.png,x,test,p", "'films/a.png' twice, with the splits 'Train' and 'Test'"),
        ("films/a.png,x,train,p\nfilms/a.png,x,train,q", "'films/a.png' twice, with the patients 'p' and 'q'"),
    ],
)
def test_rows_that_contradict_each_other(table, rows, message):
    with pytest.raises(ValueError, match=message):
        open_data(table(f"path,label,split,patient\n{rows}\n"), split="Train")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no column 'path'; its first line names none"),
        ("file,label\na.png,x\n", "has no column 'path'; its first line names 'file', 'label'"),
        ("path,label\n", "lists no images"),
        ("path\nfilms/a.png\n", "needs a column 'label', or one of 0 and 1 for each finding"),
        ("path,label,label\nfilms/a.png,x,y\n", "has the column 'label' twice"),
        ("path,label\nfilms/a.png,\n", "line 2 of .*: label is empty"),
        ("path,label\n,x\n", "line 2 of .*: path is empty"),
        ("path,label\nfilms/a.png,x,y\n", "line 2 of .* has 3 cells, its first line 2"),
        (
            "path,Mass,sex\nfilms/a.png,1,M\n",
            "line 2 of .*: the finding 'sex' must be 0 or 1, got 'M'; .*option findings",
        ),
        ("path,Mass\nfilms/a.png,-1\n", "'Mass' must be 0 or 1, got '-1'"),
        ("path,label,split\nfilms/a.png,x,holdout\n", "line 2 of .*: split must be Train, Val or Test, got 'holdout'"),
        (
            "path,Mass,box:Mass\nfilms/a.png,1,1 2 3\n",
            "line 2 of .*: box:Mass must be 'x y w h' in pixels, got '1 2 3'",
        ),
        ("path,Mass,box:Mass\nfilms/a.png,1,1 2 0 3\n", "box:Mass must be 'x y w h' in pixels"),
        ("path,Mass,box:Mass\nfilms/a.png,1,1 2 b 3\n", "box:Mass must be a number, got 'b'"),
        ("path,Mass,box:Mass\nfilms/a.png,1,1 2 nan 3\n", "box:Mass must be a number, got 'nan'"),
        ("path,M,box:M,mask:M\nfilms/a.png,1,1 1 2 2,half.png\n", "both mask:M and box:M are given"),
        ('path,label\n"films/a.png,x\n', "as CSV, it may be damaged"),
    ],
)
def test_bad_tables_are_told_by_line_and_value(table, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        open_data(table(text))
    assert "list.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_paths_that_lead_nowhere(table, tmp_path):
    place = table("path,label\na.png,x\nb.png,y\n")
    with pytest.raises(FileNotFoundError, match=r"no image '.*a\.png', nor other images of .*option root"):
        open_data(place)
    data = open_data(place, root=tmp_path / "films")
    assert data.records[0].identity == "a.png"
    with pytest.raises(FileNotFoundError, match=r"no file '.*none\.csv'"):
        open_data(f"csv:{tmp_path / 'none.csv'}")


def test_one_image_that_is_missing_fails_alone(table):
    data = open_data(table("path,label\nfilms/a.png,x\nfilms/gone.png,x\n"))
    assert data.grey(0).shape == (6, 8)
    with pytest.raises(FileNotFoundError, match=r"gone\.png"):
        data.grey(1)


def test_absolute_paths_keep_an_identity_below_the_root(table, tmp_path):
    data = open_data(table(f"path,label\n{tmp_path}/films/a.png,x\n{tmp_path}/films/../films/b.png,x\n"))
    assert [record.identity for record in data.records] == ["films/a.png", "films/b.png"]


def test_a_large_table_is_read_row_by_row_once(tmp_path, write_image):
    write_image(tmp_path / "0.png", FILM)
    with open(tmp_path / "large.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "Mass", "Edema", "patient", "split"])
        writer.writerows([f"{row}.png", row % 2, int(row % 3 == 0), row // 2, "test"] for row in range(20_000))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = open_data(f"csv:{tmp_path / 'large.csv'}")
    assert len(data) == 20_000
    assert data.findings.sum(axis=0).tolist() == [10_000, 6_667]
