"""README's table of what works where is what tox tests, and true in the environment at hand."""

from __future__ import annotations

import configparser
import itertools
import re
import sys
from pathlib import Path

import pytest

from quantus_vit.quantus_plugin import compat

from .metric_cases import SMALL
from .test_gradients import scores_without_hooks
from .test_installations import EXPECTED

ROOT = Path(__file__).parents[2]
BEGIN, END = "<!-- support table -->", "<!-- end of support table -->"


def table() -> dict[str, dict[str, str]]:
    """Return the rows by tox environment, cells by heading."""
    text = (ROOT / "README.md").read_text()
    if BEGIN not in text:
        pytest.fail(f"README.md has no {BEGIN}")
    lines = [line for line in text.split(BEGIN)[1].split(END)[0].splitlines() if line.startswith("|")]
    headings, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return {row[0].strip("`"): dict(zip(headings, row, strict=True)) for row in rows}


def environments() -> list[str]:
    """Return tox' environments that run this folder, with the braces expanded."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "tox.ini")
    names: list[str] = []
    for line in parser["tox"]["env_list"].split("\n"):
        parts = [part.split(",") for part in re.split(r"[{}]", line.strip())]
        names += ["".join(piece.strip() for piece in choice) for choice in itertools.product(*parts)]
    return [name for name in names if name not in ("", "full", "oldest", "lint")]


def overrides(name: str) -> str:
    rows = (ROOT / "tox.ini").read_text().splitlines()
    for row in rows:
        conditions, found, file = row.partition(": UV_OVERRIDE = {tox_root}/")
        if found and any(name.startswith(condition.strip()) for condition in conditions.split(",")):
            return (ROOT / file).read_text()
    return ""


def test_the_rows_are_the_environments():
    assert list(table()) == environments()


@pytest.mark.parametrize("name", environments())
def test_the_stack_is_the_one_that_tox_installs(name):
    row, pins = table()[name], overrides(name)
    assert f"quantus=={row['Quantus']}\n" in pins
    assert ("NumPy < 2.4" in row["with"]) == ("numpy<2.4" in pins)
    assert ("SciPy ≥ 1.14" in row["with"]) == ("scipy>=1.14" in pins)
    assert ("Captum" in row["with"]) == ("captum ;" not in pins)
    assert (row["patch"] == "yes") == (ROOT / f"patches/{row['Quantus']}-gradients.patch").exists()


def test_the_tested_range_is_that_of_the_table():
    found = [compat.release(row["Quantus"]) for row in table().values()]
    assert min(found) == compat.release(compat.OLDEST_TESTED)
    assert max(found) == compat.release(compat.NEWEST_TESTED)


@pytest.mark.skipif(EXPECTED not in environments(), reason="not in one of the environments of the table")
def test_the_row_of_this_environment():
    row = table()[EXPECTED]
    assert row["Quantus"] == compat.installed_version()
    assert ("Captum" in row["with"]) == compat.installed("captum")
    assert ("zennit" in row["with"]) == compat.installed("zennit")
    if row["Python"] != "any":
        assert row["Python"] == f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.mark.skipif(EXPECTED not in environments(), reason="not in one of the environments of the table")
def test_the_number_of_metrics():
    outcomes = {}
    for name in SMALL:
        try:
            outcomes[name] = scores_without_hooks(name)
        except pytest.skip.Exception:  # Not in this version.
            continue
    working = [name for name, scores in outcomes.items() if not isinstance(scores, Exception)]
    assert table()[EXPECTED]["metrics in `GradientEnabled`"] == f"{len(working)} of {len(outcomes)}"
