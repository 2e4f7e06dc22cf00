"""Names and splits: what is written down, and which films are in two places."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from quantus_vit.data import Phantom, find_duplicates, open_data, places
from quantus_vit.data.base import Record
from quantus_vit.data.places import identity_below, printable
from quantus_vit.data.splits import part_by_patient


@pytest.mark.parametrize(
    ("path", "root", "identity"),
    [
        ("data/a/b.png", "data", "a/b.png"),
        ("data//a/./b.png", "data/", "a/b.png"),
        ("./data/a/../a/b.png", "data", "a/b.png"),
        ("{here}/data/a/b.png", "data", "a/b.png"),
        ("data/a/b.png", "{here}/x/../data", "a/b.png"),
        ("database/b.png", "data", "{here}/database/b.png"),
        ("data/..b.png", "data", "..b.png"),
        ("a.png", "", "a.png"),
    ],
)
def test_identity_below(tmp_path, monkeypatch, path, root, identity):
    monkeypatch.chdir(tmp_path)
    path, root, identity = (text.format(here=tmp_path) for text in (path, root, identity))
    assert identity_below(path, root) == identity


@pytest.mark.skipif(os.name == "nt", reason="file names are bytes on Unix alone")
def test_names_are_spelled_alike_in_every_locale(tmp_path):
    for name in ("é.png".encode(), b"caf\xe9.png"):
        try:
            open(os.path.join(os.fsencode(tmp_path), name), "wb").close()
        except OSError:
            pytest.skip("this file system takes UTF-8 names only")
    code = (
        "import os, runpy, sys\n"
        "printable = runpy.run_path(sys.argv[1])['printable']\n"
        "print(sys.getfilesystemencoding(), ascii(sorted(map(printable, os.listdir(sys.argv[2])))))"
    )
    expected = ascii(sorted(map(printable, os.listdir(tmp_path))))
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-c", code, places.__file__, str(tmp_path)]
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert output.split(" ", 1)[1] == expected + "\n"
    assert expected == ascii(["caf\\xe9.png", "é.png"])


def test_shares_come_out_as_wanted():
    records = [Record(f"{n}.png", "", f"patient {n // 2}", ()) for n in range(4000)]
    parts = part_by_patient(records, (0.7, 0.1, 0.2))
    shares = [len(parts[split]) / 4000 for split in ("Train", "Val", "Test")]
    np.testing.assert_allclose(shares, (0.7, 0.1, 0.2), atol=0.03)
    assert part_by_patient(records[::-1], (0.7, 0.1, 0.2))["Val"] == parts["Val"][::-1]


def test_duplicates_within_and_across(tmp_path, write_image):
    films = {name: np.full((6, 8), value, np.uint8) for value, name in enumerate("abc")}
    for split in ("train", "test"):
        write_image(tmp_path / split / "x" / "unique.png", np.full((6, 8), len(split), np.uint8) * 9)
    write_image(tmp_path / "train" / "x" / "1.png", films["a"])
    write_image(tmp_path / "test" / "x" / "2.png", films["a"])
    write_image(tmp_path / "test" / "x" / "3.png", films["b"])
    write_image(tmp_path / "test" / "x" / "4.png", films["b"])
    train, test = (open_data(f"folder:{tmp_path}", split=split) for split in ("Train", "Test"))
    assert find_duplicates(train) == []
    named = [[os.path.relpath(path, tmp_path) for path in group] for group in find_duplicates(train, test)]
    assert named == [["test/x/2.png", "train/x/1.png"], ["test/x/3.png", "test/x/4.png"]]
    assert find_duplicates(Phantom(2, image_size=32)) == []
    assert len(find_duplicates(train, train)) == len(train)
