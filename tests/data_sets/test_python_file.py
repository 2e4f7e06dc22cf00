"""Data sets of a user's own code."""

from __future__ import annotations

import sys

import pytest

from quantus_vit.data import Phantom, open_data

CODE = """
from quantus_vit.data import Phantom

def films(split, count=2):
    return Phantom(count, seed=9, split=split, image_size=32)

def numbers(split):
    return [1, 2]

answer = 42
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "my_data.py"
    path.write_text(CODE)
    return path


def test_a_callable_of_a_file(file):
    data = open_data(f"{file}:films", split="Val", count=3)
    assert isinstance(data, Phantom)
    assert (len(data), data.split, data.seed) == (3, "Val", 9)


def test_a_callable_of_a_module(file, monkeypatch):
    monkeypatch.syspath_prepend(str(file.parent))
    try:
        assert len(open_data("my_data:films")) == 2
    finally:
        sys.modules.pop("my_data", None)


def test_two_files_of_one_name(file, tmp_path):
    other = tmp_path / "other" / "my_data.py"
    other.parent.mkdir()
    other.write_text(CODE.replace("seed=9", "seed=1"))
    assert [open_data(f"{path}:films").seed for path in (file, other, file)] == [9, 1, 9]


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("film", ValueError, r"has no 'film'; its callables: Phantom, films, numbers"),
        ("numbers", TypeError, "must return a quantus_vit.data.XrayDataset, got list"),
        ("answer", TypeError, "must be something to call, got int"),
    ],
)
def test_wrong_names(file, name, error, message):
    with pytest.raises(error, match=message):
        open_data(f"{file}:{name}")


def test_a_file_that_cannot_be_imported_is_named(file):
    file.write_text("import this_is_not_there\n")
    with pytest.raises(ValueError, match=r"my_data.py' cannot be imported \(ModuleNotFoundError: .*this_is_not_there"):
        open_data(f"{file}:films")
    with pytest.raises(FileNotFoundError, match=r"no file .*absent\.py"):
        open_data(f"{file.parent / 'absent.py'}:films")
