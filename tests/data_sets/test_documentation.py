"""The page on data and the example: complete, and run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from quantus_vit.data import DATASETS, open_data
from quantus_vit.data.preprocessing import Preprocessing

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs" / "data.md"


def test_the_table_has_every_kind_with_its_options():
    rows = [re.findall(r"`([^`]+)`", line) for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    for spec in DATASETS:
        [row] = [row for row in rows if spec.usage in row]
        assert not set(spec.options or ()) - set(row), spec.name


def test_the_recipe_adds_a_data_set(tmp_path, write_image):
    (tmp_path / "clinic.py").write_text(re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[1])
    for patient in ("p1", "p2"):
        write_image(tmp_path / "films" / patient / "a.png", np.full((10, 20), 51, np.uint8))
    (tmp_path / "films" / "p2" / "a.txt").write_text("4 2 6 4")

    def check(data):
        assert [record.identity for record in data.records] == ["p1/a.png", "p2/a.png"]
        assert data.labels == [0, 1]
        mask = data.sample(1, Preprocessing(size=(10, 20))).masks["Nodule"][0].numpy()
        assert mask[2:6, 4:10].all()
        assert mask.sum() == 24

    check(open_data(f"{tmp_path / 'clinic.py'}:open_clinic", place=str(tmp_path / "films")))
    names: dict[str, object] = {}
    exec(compile((tmp_path / "clinic.py").read_text(), "clinic.py", "exec"), names)
    DATASETS.add(names["CLINIC"])
    try:
        check(open_data(f"clinic:{tmp_path / 'films'}"))
        with pytest.raises(ValueError, match="no option 'patient'; their options: fractions"):
            open_data(f"clinic:{tmp_path / 'films'}", patient="x")
    finally:
        DATASETS.remove("clinic")


def test_the_tables_of_the_page(tmp_path, write_image):
    tables = re.findall(r"((?:^    (?:path,|[\w/]+\.(?:png|dcm),).*\n)+)", PAGE.read_text(), re.MULTILINE)
    assert len(tables) == 2
    for name in ("a/film1.png", "a/film2.png", "b/film3.png", "masks/film3.png", "film1.png", "film2.png"):
        write_image(tmp_path / name, np.zeros((400, 400), np.uint8))
    for number, table in enumerate(tables):
        (tmp_path / f"{number}.csv").write_text(table.replace("    ", ""))
    first, second = open_data(f"csv:{tmp_path / '0.csv'}"), open_data(f"csv:{tmp_path / '1.csv'}")
    assert (first.class_names, len(first), list(first.records[0].annotations)) == (
        ("healthy", "sick"),
        1,
        ["infiltrate"],
    )
    assert (second.task, second.class_names) == ("multilabel", ("Cardiomegaly", "Nodule"))
    assert second.records[1].annotations["Nodule"].read().sum() == 40 * 44 + 25 * 25


def test_the_example_opens_every_kind(tmp_path):
    command = [sys.executable, "-W", "ignore", str(REPOSITORY / "examples" / "own_images.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "films: 6 images, multiclass: COVID-19, Non-COVID, Normal" in done.stdout
    assert "films.csv: 6 images, multilabel: COVID-19, Pneumonia" in done.stdout
    assert "my_films.py:films: 6 images" in done.stdout
    assert "dicom: 1 images" in done.stdout or "needs pydicom" in done.stdout
