"""Whole comparisons on the toys: files, report, interrupts."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from quantus_vit.comparison import runner
from quantus_vit.comparison.pipeline import Outcome, compare

from .toys import CLASSES, Images, LinearModel, protocol, read_rows

LABELS = [0, 0, 1, 1, 2, 2]
pytestmark = pytest.mark.usefixtures("contribution_method")


def compared(folder: Path, model: LinearModel, dataset: Images | None = None, **changes) -> Outcome:
    return compare(folder, protocol(**changes), model, dataset or Images(LABELS), CLASSES, quiet=True, command="a <b>")


def test_all_files_of_the_contract_are_there(tmp_path, model: LinearModel) -> None:
    outcome = compared(tmp_path, model)
    assert outcome.complete
    assert read_rows(tmp_path / "table1.csv")[0] == [
        "method", "metric", "mean", "ci_low", "ci_high", "median", "n", "nan",
    ]  # fmt: skip
    assert [row[:2] for row in read_rows(tmp_path / "table1.csv")[1:]] == [
        ["Contribution", "FaithfulnessEstimate"],
        ["Random", "FaithfulnessEstimate"],
    ]
    scores = read_rows(tmp_path / "scores.csv")[1:]
    mean = np.mean([float(row[6]) for row in scores if row[4] == "Contribution"])
    assert float(read_rows(tmp_path / "table1.csv")[1][2]) == pytest.approx(mean)
    assert len(read_rows(tmp_path / "significance.csv")) == 2
    assert len(read_rows(tmp_path / "by_class.csv")) == 7
    settings = json.loads((tmp_path / "config.json").read_text())
    assert settings["protocol"]["baselines"] == [0.0]
    assert "2 COVID-19, 2 Non-COVID, 2 Normal" in settings["environment"]["sample"]
    for name in ("figure1.png", "figure4.png", "figure5.png"):
        with Image.open(tmp_path / name) as picture:
            assert min(picture.size) > 250
            assert np.asarray(picture.convert("L")).std() > 5


def test_a_row_for_each_baseline_when_there_are_several(tmp_path, model: LinearModel) -> None:
    outcome = compared(tmp_path, model, baselines=(0.0, "black"))
    assert [row.metric for row in outcome.table] == [
        "FaithfulnessEstimate[baseline=0.0]", "FaithfulnessEstimate[baseline=0.0]",
        "FaithfulnessEstimate[baseline=black]", "FaithfulnessEstimate[baseline=black]",
    ]  # fmt: skip


def test_the_report_stands_alone_and_holds_the_numbers(tmp_path, model: LinearModel) -> None:
    outcome = compared(tmp_path, model)
    page = (tmp_path / "report.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert page.count("data:image/png;base64,") == 3
    for row in outcome.table:
        assert f"{row.mean:.3f}" in page
        assert f"{row.ci_low:.3f} to {row.ci_high:.3f}" in page
    assert "a &lt;b&gt;" in page
    assert "6 images: 2 COVID-19, 2 Non-COVID, 2 Normal." in page
    for tag in ("table", "ul", "figure", "h2", "p", "tr", "td"):
        assert len(re.findall(f"<{tag}[ >]", page)) == page.count(f"</{tag}>")


def test_an_interrupt_leaves_tables_and_the_rerun_completes_them(tmp_path, model, monkeypatch, capsys) -> None:
    calls, score_maps = [], runner.score_maps

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return score_maps(*arguments)

    monkeypatch.setattr(runner, "score_maps", interrupted)
    outcome = compared(tmp_path, model)
    assert not outcome.complete
    assert [row.n for row in outcome.table] == [3, 3]
    assert "interrupted" in capsys.readouterr().err
    assert "scores stand on 3 of 6 images" in (tmp_path / "report.html").read_text()
    outcome = compared(tmp_path, model)
    assert outcome.complete
    assert [row.n for row in outcome.table] == [6, 6]
    assert "not finished" not in (tmp_path / "report.html").read_text()


def test_a_report_alone_scores_nothing(tmp_path, model, monkeypatch) -> None:
    compared(tmp_path, model)
    lines = (tmp_path / "scores.csv").read_text().splitlines(keepends=True)
    (tmp_path / "scores.csv").write_text("".join(lines[:7]))
    for name in ("table1.csv", "report.html", "figure5.png"):
        (tmp_path / name).unlink()
    outcome = compare(tmp_path, protocol(), model, Images(LABELS), CLASSES, report_only=True)
    assert not outcome.complete
    assert [row.n for row in outcome.table] == [3, 3]
    assert "scores stand on 3 of 6 images" in (tmp_path / "report.html").read_text()
    assert (tmp_path / "figure5.png").exists()
    with pytest.raises(ValueError, match="holds no scores to report"):
        compare(tmp_path / "empty", protocol(), model, Images(LABELS), CLASSES, report_only=True)


def test_an_interrupt_before_any_score_leaves_empty_tables(tmp_path, model, monkeypatch) -> None:
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "score_maps", interrupted)
    outcome = compared(tmp_path, model)
    assert outcome.table == []
    assert not (tmp_path / "report.html").exists()


def test_unreadable_images_are_in_the_report_and_not_in_the_figures(tmp_path, model: LinearModel) -> None:
    outcome = compared(tmp_path, model, Images(LABELS, broken=(0, 4)))
    assert [(row.n, row.nan) for row in outcome.table] == [(4, 2), (4, 2)]
    page = (tmp_path / "report.html").read_text()
    assert "reading the image" in page
    assert "of 4 of them right" in page


def test_a_class_without_images_is_left_out(tmp_path, model: LinearModel) -> None:
    outcome = compared(tmp_path, model, Images([0, 0, 1]))
    assert outcome.selection.taken == (2, 1, 0)
    assert len(read_rows(tmp_path / "by_class.csv")) == 5


def test_masks_are_asked_for_before_the_work(tmp_path, model: LinearModel) -> None:
    class Unmasked(Images):
        def __getitem__(self, index: int) -> dict:
            return super().__getitem__(index) | {"has_lung_mask": False, "has_infection_mask": False}

    with pytest.raises(ValueError, match="PointingGame compare maps with masks, but no image of the sample has one"):
        compared(tmp_path, model, Unmasked(LABELS), metrics=("FaithfulnessEstimate", "PointingGame"))


def test_only_random_needs_no_figure_of_maps(tmp_path, model: LinearModel) -> None:
    compared(tmp_path, model, methods=("Random",))
    assert not (tmp_path / "figure4.png").exists()
    assert len(read_rows(tmp_path / "significance.csv")) == 1
