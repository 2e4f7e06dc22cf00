"""Files, folders, patterns and tables become images with names that tell no patient."""

from __future__ import annotations

import pytest

from quantus_vit.gallery.inputs import find_images


def names(*places, **options) -> list[str]:
    return [image.name for image in find_images([str(place) for place in places], **options)]


def test_folders_are_listed_with_those_below_but_for_masks(films) -> None:
    assert names(films) == ["a", "b", "c"]
    assert names(films / "later", films / "a.png") == ["c", "a"]


def test_patterns(films) -> None:
    assert names(films / "*.png") == ["a", "b"]
    assert names(f"{films}/**/c.png") == ["c"]
    with pytest.raises(FileNotFoundError, match=r"no file matches .*\*\.jpg"):
        names(films / "*.jpg")


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(tmp_path, films) -> None:
    path = tmp_path / "film [1].png"
    path.write_bytes((films / "a.png").read_bytes())
    assert names(path) == ["film_1"]


def test_tables_name_images_and_targets(tmp_path, films) -> None:
    table = tmp_path / "list.csv"
    table.write_text("path;target\nfilms/a.png;Edema\nfilms/later/c.png;\nfilms/a.png;Nodule\n")
    found = find_images([str(table)])
    assert [(image.name, image.target) for image in found] == [("a", "Edema"), ("c", ""), ("a-2", "Nodule")]
    table.write_text("path,target\n,Edema\n")
    with pytest.raises(ValueError, match=r"line 2 of .*list\.csv.*path is empty"):
        find_images([str(table)])
    table.write_text("path\n")
    with pytest.raises(FileNotFoundError, match="lists no images"):
        find_images([str(table)])


def test_what_is_named_twice_is_taken_once(films) -> None:
    assert names(films, films / "a.png") == ["a", "b", "c"]


def test_names_differ_in_more_than_case(tmp_path, films) -> None:
    for name in ("X.png", "x.jpg", "sub/X.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((films / "a.png").read_bytes())
    assert names(tmp_path / "X.png", tmp_path / "x.jpg", tmp_path / "sub") == ["X", "x-2", "X-3"]


def test_a_folder_without_images_is_named(tmp_path) -> None:
    (tmp_path / "note.txt").write_text("text")
    with pytest.raises(FileNotFoundError, match=r"holds no images \(\.bmp"):
        names(tmp_path)


def test_dicom_has_numbers_unless_names_are_asked_for(films, marked_dicom) -> None:
    assert names(films / "a.png", marked_dicom) == ["a", "image0002"]
    assert names(films / "a.png", marked_dicom, naming="number") == ["image0001", "image0002"]
    assert names(marked_dicom, naming="file") == ["XQZMARK"]
    moved = marked_dicom.rename(marked_dicom.with_name("no suffix"))
    assert names(moved.parent) == ["image0001"]
    with pytest.raises(ValueError, match="naming must be one of"):
        names(moved, naming="uid")


def test_messages_of_private_images_hold_no_path(marked_dicom, monkeypatch) -> None:
    (image,) = find_images([str(marked_dicom)])
    said = image.public(f"cannot read {str(marked_dicom)!r}, {marked_dicom.name} is damaged")
    assert said == "cannot read image0001, image0001 is damaged"
    (named,) = find_images([str(marked_dicom)], "file")
    assert named.public("cannot read 'x.dcm'") == "cannot read 'x.dcm'"
