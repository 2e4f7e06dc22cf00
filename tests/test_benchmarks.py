"""The benchmarks' own machinery, on a model so small that the numbers mean nothing; no number is judged here."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
MODULES = ("engine", "measuring", "candidates", "record", "breakdown", "growth")
SMALL = [
    "--models",
    "test_vit",
    "--batches",
    "1",
    "--size",
    "32",
    "--repeats",
    "1",
    "--warmups",
    "0",
    "--device",
    "cpu",
]


@pytest.fixture(scope="module", autouse=True)
def importable() -> Iterator[None]:
    """The scripts import each other as plain modules; afterwards these names are free again."""
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def engine(importable: None) -> ModuleType:
    import engine

    return engine


@pytest.fixture(scope="module")
def recorded(engine: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("benchmark")
    methods = ["--methods", "TransformerLRP", "GenericAttention"]
    assert engine.main([*SMALL, *methods, "--note", "A note.", "--out", str(out)]) == 0
    return out


def scaled(recorded: Path, factor: float, path: Path) -> Path:
    """A record whose ratios are ``factor`` times those found."""
    stored = json.loads((recorded / "recorded.json").read_text())
    for row in stored["rows"]:
        row.update({key: row[key] * factor for key in ("cpu", "wall", "memory") if row[key] is not None})
    path.write_text(json.dumps(stored))
    return path


def test_engine_writes_table_and_record(recorded):
    page = (recorded / "RESULTS.md").read_text()
    stored = json.loads((recorded / "recorded.json").read_text())

    assert "A note." in page
    assert "- Versions: Python" in page
    for row in stored["rows"]:
        assert row["cpu"] == row["cpu_ratios"][0] > 1  # a method runs at least the forward
        (line,) = [line for line in page.splitlines() if line.startswith(f"| {row['method']} |")]
        assert float(line.split(" | ")[1]) == pytest.approx(row["cpu"], rel=0.01)  # three digits, on a slow machine too
        assert "≤" in line
    assert [row["method"] for row in stored["rows"]] == ["TransformerLRP", "GenericAttention"]


@pytest.mark.parametrize(("factor", "code"), [(1e3, 0), (1e-3, 1)])
def test_check_compares_with_record(engine, recorded, tmp_path, capsys, factor, code):
    path = scaled(recorded, factor, tmp_path / "record.json")

    assert engine.main([*SMALL, "--methods", "TransformerLRP", "--check", "--record", str(path)]) == code
    shown = capsys.readouterr().out
    assert ("worse: test_vit, batch 1, TransformerLRP: time" in shown) == (code == 1)
    assert "| TransformerLRP |" in shown
    assert list(tmp_path.iterdir()) == [path]


def test_check_without_anything_to_compare(engine, recorded, tmp_path, capsys):
    path = str(recorded / "recorded.json")
    assert engine.main([*SMALL, "--methods", "AttentionRollout", "--check", "--record", path]) == 2
    assert "nothing in" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        engine.main(["--check", "--record", str(tmp_path / "none.json")])
    assert "does not exist" in capsys.readouterr().err


def test_skipped_packages_are_told(monkeypatch):
    import measuring

    monkeypatch.setattr(measuring, "installed", lambda package: False)
    found = measuring.Laboratory().measure(measuring.Case("lxt, gamma, torchvision's ViT", "test_vit", 1, 32))
    assert found.skipped == "lxt is not installed"


def test_peak_memory_is_that_of_the_call():
    import measuring
    import torch

    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("the system does not tell the peak of a call")
    found = measuring.rise_of_peak(lambda: torch.ones(64 * measuring.MEBIBYTE // 4), "cpu")
    assert 60 < found < 70


def test_breakdown_tells_all_passes(capsys):
    import breakdown

    breakdown.main(["--model", "test_vit", "--size", "160", "--repeats", "1"])
    shown = capsys.readouterr().out
    for name in ("forward", "gradient", "relevance"):
        lines = [line.split("|") for line in shown.splitlines() if line.startswith(f"| {name} |")]
        assert {"linear", "matmul", "softmax"} <= {line[2].strip() for line in lines}
    assert "floor, matrix products alone" in shown


def test_growth_writes_data_and_plot(tmp_path):
    import growth

    options = ["--batches", "1", "2", "--sizes", "--depths", "--repeats", "1", "--methods", "GenericAttention"]
    growth.main(["--model", "vit_tiny_patch16_224", *options, "--out", str(tmp_path)])
    with (tmp_path / "growth.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["axis"], row["value"], row["method"]) for row in rows] == [
        ("batch", value, method) for value in ("1", "2") for method in ("plain forward", "GenericAttention")
    ]
    assert all(float(row["seconds"]) > 0 for row in rows)
    assert (tmp_path / "growth.png").stat().st_size > 0


def test_what_starting_costs_has_a_place_of_its_own_in_the_page(tmp_path):
    import record
    import starting

    page = tmp_path / "RESULTS.md"
    assert record.further(page) == ""
    page.write_text("# Cost of the methods\n\n## On the CPU\n\n| a | b |\n")
    assert record.further(page) == ""
    for cost in (9.0, 8.4):  # the second replaces the first
        imports = {starting.IMPORTS: 8.0, starting.OURS: cost, starting.ALL_NAMES: 9.5}
        starting.write(page, starting.section({"quantus-vit --version": 0.05, "x": 0.1}, imports, 7, 1.0))
    text = page.read_text()
    assert text.startswith("# Cost of the methods\n\n## On the CPU\n\n| a | b |\n\n# Start\n")
    assert text.count("# Start") == 1
    assert "adds 5.0 % to the others" in text
    assert "# Cost of the methods\n\n## On the CPU\n\n| a | b |\n" + record.further(page) == text


def test_a_help_text_and_what_an_import_costs_are_timed():
    import starting

    found = starting.medians({"nothing": ("-c", "pass"), "numpy": ("-c", "import numpy")}, 1)
    assert list(found) == ["nothing", "numpy"]
    assert min(found.values()) > 0
