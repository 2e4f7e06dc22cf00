"""Whole comparisons on the toys: files, report, interrupts, refusals."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from quantus_vit.cli.outcome_text import describe
from quantus_vit.comparison import compare, group_scoring, grouping, meta_run, protocol_for
from quantus_vit.comparison.cases import data_digest
from quantus_vit.comparison.methods import METHODS, MethodSpec
from quantus_vit.comparison.pipeline import Outcome
from quantus_vit.comparison.plan import Plan
from quantus_vit.comparison.planning import make_plan
from quantus_vit.comparison.scores import CsvLog, Prediction, Score
from quantus_vit.data import Sample
from quantus_vit.files import locked
from quantus_vit.models import Classifier

from .toys import CLASSES, SIZE, Images, LinearModel, classifier_of, logs_of, protocol, read_rows, unreadable

LABELS = [0, 0, 1, 1, 2, 2]
pytestmark = pytest.mark.usefixtures("contribution_method")


def compared(folder: Path, model: LinearModel, dataset: Images | None = None, **changes) -> Outcome:
    options = {
        name: changes.pop(name)
        for name in ("report_only", "retry_failed", "meta_evaluation", "quiet")
        if name in changes
    }
    names, task = changes.pop("model_classes", CLASSES), changes.pop("task", "multiclass")
    dataset = dataset or Images(LABELS)
    settings = replace(protocol(**changes), data_digest=data_digest(dataset))
    classifier = classifier_of(model, names, task)
    return compare(folder, settings, classifier, dataset, command="a <b>", **{"quiet": True, **options})


def test_all_files_of_the_contract_are_there(tmp_path, model: LinearModel) -> None:
    outcome = compared(tmp_path, model)
    assert outcome.complete
    assert read_rows(tmp_path / "table1.csv")[0] == [
        "method", "metric", "mean", "ci_low", "ci_high", "median", "n", "nan", "category", "mask_kind",
        "role", "n_patients",
    ]  # fmt: skip
    assert [row[:2] for row in read_rows(tmp_path / "table1.csv")[1:]] == [
        ["Contribution", "FaithfulnessEstimate"],
        ["Random", "FaithfulnessEstimate"],
    ]
    scores = read_rows(tmp_path / "scores.csv")
    assert scores[0] == ["path", "label", "predicted", "target", "method", "metric", "score"]
    mean = np.mean([float(row[6]) for row in scores[1:] if row[4] == "Contribution"])
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


def test_controls_are_marked_ranked_and_not_tested_against_each_other(tmp_path, model: LinearModel) -> None:
    outcome = compared(tmp_path, model, methods=("Contribution", "Random", "CentrePrior"))
    assert [row.role for row in outcome.table] == ["method", "control", "control"]
    pairs = [(row.method_a, row.method_b) for row in outcome.significance]
    assert pairs == [("Contribution", "Random"), ("Contribution", "CentrePrior")]
    ranks = read_rows(tmp_path / "ranks.csv")
    assert ranks[0] == [
        "metric", "method", "role", "mean_rank", "n", "friedman", "p", "critical_difference", "groups",
    ]  # fmt: skip
    assert ranks[1][:5] == ["FaithfulnessEstimate", "Contribution", "method", "1.0", "6"]
    assert not list(tmp_path.glob("*.pdf"))  # figures for print are written where they are asked for
    page = (tmp_path / "report.html").read_text()
    assert "Contribution has the best mean rank (1.00 of 3, n = 6)." in page
    assert "Random (control)" in page
    assert f"{outcome.significance[0].detectable:.3f}" in page


def test_patients_of_the_data_reach_the_tables(tmp_path, model: LinearModel) -> None:
    dataset = Images(LABELS)
    dataset.records = tuple(replace(r, patient=f"p{i // 3}") for i, r in enumerate(dataset.records))
    outcome = compared(tmp_path, model, dataset)
    assert [row.n_patients for row in outcome.table] == [2, 2]
    assert outcome.significance[0].n_tested == 2
    page = (tmp_path / "report.html").read_text()
    assert "interval of the mean over patients" in page
    assert "Intervals draw whole patients" in page


def test_metrics_are_judged_where_a_method_is_the_truth(tmp_path, model: LinearModel) -> None:
    methods = ("Contribution", "Random", "CentrePrior")
    outcome = compared(tmp_path, model, methods=methods, truth="Contribution", target="predicted")
    right = sum(row.correct for row in logs_of(tmp_path).predictions.rows)
    rows = read_rows(tmp_path / "meta_evaluation.csv")
    # The linear model's exact contributions come first in every image that counts.
    assert [row[1:4] for row in rows[1:]] == [
        [control, str(right), str(right)] for control in ("Random", "CentrePrior", "every control")
    ]
    assert 0 < right < outcome.cases
    page = (tmp_path / "report.html").read_text()
    assert "Does a metric measure anything?" in page
    assert f"<td>{right} of {right}</td>" in page


def test_the_metrics_of_a_comparison_are_judged_on_phantoms(tmp_path, monkeypatch, model: LinearModel) -> None:
    sizes = []
    monkeypatch.setattr(meta_run, "load_model", lambda spec, device: classifier_of(model))
    monkeypatch.setattr(meta_run, "PROTOCOLS", {"meta": SimpleNamespace(settings=META)})
    monkeypatch.setattr(meta_run, "open_data", lambda *_, image_size, **__: sizes.append(image_size) or Images(LABELS))
    compared(tmp_path, model, meta_evaluation=4)
    rows = read_rows(tmp_path / "meta_evaluation.csv")
    assert rows[1][:2] == ["FaithfulnessEstimate", "Random"]
    assert sizes == [8]
    settings = json.loads((tmp_path / "meta_evaluation" / "config.json").read_text())["protocol"]
    assert (settings["samples"], settings["truth"], settings["tie_breaks"]) == (4, "MaskPrior[mask=infection]", 2)
    page = (tmp_path / "report.html").read_text()
    assert "Does a metric measure anything?" in page
    (tmp_path / "report.html").unlink()
    compared(tmp_path, model, meta_evaluation=4, report_only=True)
    assert "Does a metric measure anything?" in (tmp_path / "report.html").read_text()


META = {
    "truth": "MaskPrior[mask=infection]",
    "methods": ("MaskPrior[mask=infection]", "Random"),
    "findings": ("COVID-19", "Non-COVID"),
}


def test_a_probe_says_before_the_first_score_how_long_it_will_take(tmp_path, model: LinearModel, capfd) -> None:
    dataset = Images(LABELS)
    settings = replace(protocol(), data_digest=data_digest(dataset))
    compare(tmp_path / "told", settings, classifier_of(model), dataset)
    said = capfd.readouterr().err
    # FaithfulnessEstimate's 1 + 24 predictions of each map: no method predicts here.
    images = 6 * 2 * (1 + 3 * SIZE * SIZE // 8)
    assert f"to come: 6 cases, 12 maps, some {images} images through the model; about " in said
    compare(tmp_path / "quiet", settings, classifier_of(model), dataset, quiet=True)
    assert "to come" not in capfd.readouterr().err
    for file in ("scores.csv", "predictions.csv", "errors.csv", "notes.csv"):
        assert (tmp_path / "told" / file).read_text() == (tmp_path / "quiet" / file).read_text()


def test_a_probe_leaves_failures_to_the_run(tmp_path, model: LinearModel, capfd, monkeypatch) -> None:
    def fails(*args: object) -> None:
        raise MemoryError("no room for it")

    monkeypatch.setattr(group_scoring.GroupScorer, "rehearse", fails)
    compared(tmp_path, model, quiet=False)
    assert "to come: 6 cases, 12 maps, some 0 images" in capfd.readouterr().err
    assert len(read_rows(tmp_path / "scores.csv")) == 1 + 12
    assert len(read_rows(tmp_path / "errors.csv")) == 1


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_scores_by_confidence_cover_every_case(tmp_path, model: LinearModel, task: str) -> None:
    compared(tmp_path, model, task=task)
    rows = read_rows(tmp_path / "by_confidence.csv")
    assert rows[0][2] == "label"
    assert sum(int(row[7]) for row in rows[1:] if row[0] == "Contribution") == 6
    sure = 0
    for row in read_rows(tmp_path / "predictions.csv")[1:]:
        values = list(map(float, row[4].split()))
        own = values[CLASSES.index(row[1])]
        sure += (max(values) if task == "multiclass" else max(own, 1 - own)) >= 0.95
    assert sure == sum(int(row[7]) for row in rows[1:] if row[:3:2] == ["Contribution", "0.95 and above"])


def test_a_row_for_each_baseline_when_there_are_several(tmp_path, model: LinearModel) -> None:
    outcome = compared(tmp_path, model, baselines=(0.0, "black"))
    assert [row.metric for row in outcome.table] == [
        "FaithfulnessEstimate[baseline=0.0]", "FaithfulnessEstimate[baseline=0.0]",
        "FaithfulnessEstimate[baseline=black]", "FaithfulnessEstimate[baseline=black]",
    ]  # fmt: skip


def test_the_report_stands_alone_and_holds_the_numbers(tmp_path, model: LinearModel) -> None:
    outcome = compared(tmp_path, model, metrics=("FaithfulnessEstimate", "PointingGame"), overrides=("metrics",))
    page = (tmp_path / "report.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert len(re.findall('<img alt="[^"]+" src="data:image/', page)) == 3
    for row in outcome.table:
        assert f"{row.mean:.3f}" in page
        assert f"{row.ci_low:.3f} to {row.ci_high:.3f}" in page
    assert "a &lt;b&gt;" in page
    assert "6 images: 2 COVID-19, 2 Non-COVID, 2 Normal." in page
    assert "Maps explain the true class." in page
    assert "Protocol custom, version 1; other than it says: metrics." in page
    for tag in ("table", "ul", "figure", "h2", "p", "tr", "td", "section", "div", "details"):
        assert len(re.findall(f"<{tag}[ >]", page)) == page.count(f"</{tag}>")


def test_an_interrupt_leaves_tables_and_the_rerun_completes_them(tmp_path, model, monkeypatch, capsys) -> None:
    calls, score_maps = [], group_scoring.score_maps

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return score_maps(*arguments)

    monkeypatch.setattr(group_scoring, "score_maps", interrupted)
    monkeypatch.setattr(grouping, "_MAPS_CPU", 1)
    outcome = compared(tmp_path, model)
    assert outcome.interrupted
    assert not outcome.complete
    assert [row.n for row in outcome.table] == [3, 3]
    assert "interrupted" in capsys.readouterr().err
    assert "scores cover 3 of 6 cases" in (tmp_path / "report.html").read_text()
    outcome = compared(tmp_path, model)
    assert outcome.complete
    assert [row.n for row in outcome.table] == [6, 6]
    assert "not finished" not in (tmp_path / "report.html").read_text()


def test_a_kill_between_two_files_doubles_no_row(tmp_path, model: LinearModel, monkeypatch) -> None:
    """Orders of ties, curves and areas of masks are written before the score or prediction that they belong to."""

    class Killed(BaseException):
        pass

    def killing(victim: type):
        def append(self, rows) -> None:
            rows = list(rows)
            if rows and self.row_type is victim:
                raise Killed
            original(self, rows)

        return append

    original = CsvLog.append
    settings = {"methods": ("MaskPrior[mask=lung]",), "metrics": ("RemovalCurve[steps=2]", "FaithfulnessEstimate")}
    compared(tmp_path / "whole", model, **settings)
    for victim in (Score, Prediction):
        monkeypatch.setattr(CsvLog, "append", killing(victim))
        with pytest.raises(Killed):
            compared(tmp_path / "killed", model, **settings)
        monkeypatch.undo()
    compared(tmp_path / "killed", model, **settings)
    for name in ("tie_breaks", "curves", "mask_areas", "predictions", "scores"):
        whole, killed = (tmp_path / folder / f"{name}.csv" for folder in ("whole", "killed"))
        assert len(whole.read_text().splitlines()) > 1
        assert killed.read_bytes() == whole.read_bytes()


def test_a_report_alone_scores_nothing(tmp_path, model) -> None:
    compared(tmp_path, model)
    lines = (tmp_path / "scores.csv").read_text().splitlines(keepends=True)
    (tmp_path / "scores.csv").write_text("".join(lines[:7]))
    for name in ("table1.csv", "report.html", "figure5.png"):
        (tmp_path / name).unlink()
    outcome = compared(tmp_path, model, report_only=True)
    assert not outcome.complete
    assert [row.n for row in outcome.table] == [3, 3]
    assert "scores cover 3 of 6 cases" in (tmp_path / "report.html").read_text()
    assert (tmp_path / "figure5.png").exists()
    with pytest.raises(ValueError, match="holds no scores to report"):
        compared(tmp_path / "empty", model, report_only=True)
    assert not (tmp_path / "empty").exists()


class Counted(Images):
    """Counts how often each image is read."""

    def __init__(self) -> None:
        super().__init__(LABELS)
        self.reads = [0] * len(LABELS)

    def sample(self, index: int, preprocessing: Any) -> Sample:
        self.reads[index] += 1
        return super().sample(index, preprocessing)


def test_an_image_is_read_once_for_scores_figures_and_report(tmp_path, model: LinearModel) -> None:
    """The first one is tried before the run, and those of figure 4 have maps for other classes made afterwards."""
    images = Counted()
    compared(tmp_path, model, images)
    assert len(list((tmp_path / "pictures").iterdir())) == len(LABELS)
    assert sum(images.reads) == len(LABELS) + 1 + len(CLASSES)
    before = list(images.reads)
    compared(tmp_path, model, images, report_only=True)
    assert images.reads == before


def test_a_report_alone_needs_no_image(tmp_path, model: LinearModel) -> None:
    figures = [tmp_path / "figure1.png", tmp_path / "figure4.png"]
    compared(tmp_path, model)
    before = [file.read_bytes() for file in figures]
    gone = Images(LABELS, broken=dict.fromkeys(range(6), unreadable()))
    compared(tmp_path, model, gone, report_only=True)
    assert [file.read_bytes() for file in figures] == before


def test_figure_4_leaves_out_images_that_are_gone_and_lack_a_map(tmp_path, model: LinearModel) -> None:
    compared(tmp_path, model)
    (tmp_path / "figure4.png").unlink()
    logs_of(tmp_path).maps.clear()
    compared(tmp_path, model, Images(LABELS, broken=dict.fromkeys(range(6), unreadable())), report_only=True)
    assert not (tmp_path / "figure4.png").exists()


def test_pictures_that_were_removed_are_made_again(tmp_path, model: LinearModel) -> None:
    compared(tmp_path, model)
    before = {file.name: file.read_bytes() for file in (tmp_path / "pictures").iterdir()}
    logs = logs_of(tmp_path)
    assert logs.pictures is not None
    logs.pictures.clear()
    assert not list((tmp_path / "pictures").iterdir())
    compared(tmp_path, model, report_only=True)
    assert {file.name: file.read_bytes() for file in (tmp_path / "pictures").iterdir()} == before


def test_an_interrupt_before_any_score_leaves_empty_tables(tmp_path, model, monkeypatch) -> None:
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(group_scoring, "score_maps", interrupted)
    outcome = compared(tmp_path, model)
    assert outcome.table == []
    assert not (tmp_path / "report.html").exists()


def test_unreadable_images_are_in_the_report_and_not_in_the_figures(tmp_path, model: LinearModel) -> None:
    outcome = compared(tmp_path, model, Images(LABELS, broken={0: unreadable(), 4: unreadable()}))
    assert [(row.n, row.nan) for row in outcome.table] == [(4, 2), (4, 2)]
    assert (outcome.cases, outcome.read) == (6, 4)
    page = (tmp_path / "report.html").read_text()
    assert "reading the image" in page
    assert "of 4 correctly" in page


def test_what_is_printed_says_that_images_are_missing(tmp_path, model: LinearModel) -> None:
    outcome = compared(tmp_path, model, Images(LABELS, broken={0: unreadable(), 4: unreadable()}))
    assert f"2 of the 6 images could not be read: {tmp_path / 'errors.csv'}" in describe(outcome, 1.0).splitlines()
    so_far = describe(replace(outcome, interrupted=True), 1.0)
    assert "So far 4 of the 6 images." in so_far
    assert "could not" not in so_far


def test_a_run_without_a_readable_image_says_so(tmp_path, model: LinearModel) -> None:
    outcome = compared(tmp_path, model, Images(LABELS, broken=dict.fromkeys(range(6), unreadable())))
    assert (outcome.cases, outcome.read) == (6, 0)
    assert [(row.n, row.nan) for row in outcome.table] == [(0, 6), (0, 6)]


def test_a_class_without_images_is_left_out(tmp_path, model: LinearModel) -> None:
    outcome = compared(tmp_path, model, Images([0, 0, 1]))
    assert list(outcome.selection.taken.values()) == [2, 1, 0]
    assert len(read_rows(tmp_path / "by_class.csv")) == 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ("Contribution", "AttnLPR")}, "unknown method 'AttnLPR'"),
        ({"methods": ("Contribution[a=1",)}, "cannot read"),
        ({"metrics": ("Faith",)}, "unknown metric 'Faith'"),
        ({"metrics": ("FaithfulnessEstimate[nr_runs=3]",)}, "cannot be made: .*nr_runs"),
        ({"classes": ("Normal:COVID-19",)}, "--classes takes MODEL=DATA"),
        ({"classes": ("Healthy=Normal",)}, "the model has no class 'Healthy'; the model has COVID-19"),
        ({"findings": ("Effusion",)}, "--findings: there is no 'Effusion' among the data's classes"),
        (
            {"model_classes": ("cat", "dog", "Normal")},
            r"no output for 'COVID-19', 'Non-COVID' of the data; the model has cat, dog",
        ),
        ({"task": "multilabel", "softmax": True}, "the model's task is 'multilabel'"),
        ({"model_classes": ("a", "b", "c", "COVID-19", "Non-COVID", "Normal")}, r"the model toy.* \(1, 3\) for one"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_written(tmp_path, model, changes, message) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        compared(tmp_path / "out", model, **changes)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_model_that_the_metrics_cannot_feed_is_refused(tmp_path, dtype) -> None:
    with pytest.raises(ValueError, match=rf"computes in {dtype}.*compare model\.float\(\)"):
        compared(tmp_path / "out", LinearModel(3).eval().to(dtype))
    assert not (tmp_path / "out").exists()


def test_a_model_that_was_trained_further_is_another_model() -> None:
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * SIZE**2, 3)).eval()
    classifier, dataset = classifier_of(module), Images(LABELS)
    first = protocol_for("custom", classifier, dataset, methods=("Random",), metrics=("Sparseness",))
    torch.nn.init.ones_(module[1].weight)
    later = protocol_for("custom", classifier, dataset, methods=("Random",), metrics=("Sparseness",))
    assert first.model_digest != later.model_digest


def test_masks_are_asked_for_before_the_work(tmp_path, model: LinearModel) -> None:
    metrics = ("FaithfulnessEstimate", "PointingGame")
    with pytest.raises(ValueError, match="PointingGame: these metrics compare maps with masks, but no image"):
        compared(tmp_path / "out", model, Images(LABELS, masks=()), metrics=metrics)
    with pytest.raises(
        ValueError,
        match="PointingGame: these metrics compare maps with masks, but all masks of the sample are empty at",
    ):
        compared(tmp_path / "out", model, Images([2, 2], masks=("infection",)), metrics=metrics)
    assert not (tmp_path / "out").exists()


def test_a_run_that_failed_without_a_score_leaves_the_folder_free(tmp_path, model, monkeypatch) -> None:
    """A command that was put right is not refused for "other settings"."""
    from quantus_vit.comparison.explaining import MethodCall

    def broken(*_):
        raise ImportError("no such library")

    with monkeypatch.context() as patch:
        patch.setattr(MethodCall, "explain", broken)
        with pytest.raises(ImportError):
            compared(tmp_path, model, samples=3)
    assert compared(tmp_path, model).complete
    with pytest.raises(ValueError, match=r"holds scores of other settings.*samples: 3 here, 6 there"):
        compared(tmp_path, model, samples=3)
    assert len(logs_of(tmp_path).scores.rows) == 12


def test_maps_of_other_settings_are_not_taken_over(tmp_path, model: LinearModel, monkeypatch) -> None:
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(group_scoring, "score_maps", interrupted)
        compared(tmp_path, model, methods=("Random",))
    before = logs_of(tmp_path).maps.load(Images(LABELS).records[0].identity, 0, "Random")
    assert before is not None
    (picture,) = sorted((tmp_path / "pictures").iterdir())[:1]
    picture.write_bytes(b"of other settings")
    compared(tmp_path, model, methods=("Random",), sample_seed=1)
    assert picture.read_bytes() != b"of other settings"
    after = logs_of(tmp_path).maps.load(Images(LABELS).records[0].identity, 0, "Random")
    assert (before != after).any()


def test_folders_that_are_no_result_folders(tmp_path, model: LinearModel) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is a file; name a folder"):
        compared(tmp_path / "file", model)
    with pytest.raises(OSError, match=r"file/below|file"):
        compared(tmp_path / "file" / "below", model)
    (tmp_path / "scores.csv").write_text("")
    with pytest.raises(ValueError, match=r"holds a scores\.csv without config\.json"):
        compared(tmp_path, model)


def test_a_second_run_is_kept_out_of_the_folder(tmp_path, model: LinearModel) -> None:
    with locked(tmp_path), pytest.raises(ValueError, match=r"another run \(process \d+\) is writing into"):
        compared(tmp_path, model)
    assert compared(tmp_path, model).complete


def test_foreign_rows_are_told_and_in_no_table(tmp_path, model: LinearModel, capsys) -> None:
    table = compared(tmp_path, model).table
    logs_of(tmp_path).scores.append(
        [Score("other.png", "Normal", "Normal", "Normal", "Random", "FaithfulnessEstimate", 9.0)]
    )
    assert compared(tmp_path, model).table == table
    assert "1 rows of no case of this run, or twice; they are left out" in capsys.readouterr().err
    assert "scores.csv holds 1 rows of no case" in (tmp_path / "report.html").read_text()


def test_a_damaged_log_is_told_with_its_line(tmp_path, model: LinearModel) -> None:
    compared(tmp_path, model)
    path = tmp_path / "scores.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:4], "Foo\n", *lines[4:]]))
    with pytest.raises(ValueError, match=r"scores\.csv' is damaged at line 5: 1 columns, expected 7"):
        compared(tmp_path, model)


def test_classes_are_matched_by_name_in_whatever_order(tmp_path, model: LinearModel) -> None:
    plain = compared(tmp_path / "plain", model)
    turned = LinearModel().eval()
    turned.layer.weight.data = turned.layer.weight.data[[2, 0, 1]]
    turned.layer.bias.data = model.layer.bias.data[[2, 0, 1]]
    names = ("NORMAL", "covid-19", "Pneumonia")
    other = compared(tmp_path / "other", turned, model_classes=names, classes=("Pneumonia=Non-COVID",))
    assert [row.mean for row in other.table] == pytest.approx([row.mean for row in plain.table], abs=1e-5)
    assert {row[3] for row in read_rows(tmp_path / "other" / "scores.csv")[1:]} == set(names)


def test_findings_choose_the_classes(tmp_path, model: LinearModel) -> None:
    outcome = compared(tmp_path, model, findings=("normal", "COVID-19"), samples=4)
    assert set(outcome.selection.taken) == {"COVID-19", "Normal"}
    assert {row[1] for row in read_rows(tmp_path / "scores.csv")[1:]} == {"COVID-19", "Normal"}


FINDINGS = ("Edema", "Effusion", "Nodule")
SEVERAL = [("Edema",), ("Edema", "Nodule"), (), ("Effusion",)]


def test_a_protocol_goes_without_what_model_and_data_lack(model: LinearModel) -> None:
    """Its own lists are cut to what can be served; the same names given by a user are refused."""
    named = protocol(
        protocol="mine",
        methods=("Contribution", "MaskPrior", "MaskPrior[mask=infection]", "OtherClass[method=Contribution]"),
        metrics=("Sparseness", "PointingGame", "AUPRC"),
    )

    def plan_of(dataset: Images, classifier: Classifier) -> Plan:
        return make_plan(named, classifier, dataset, "cpu")[0]

    three = classifier_of(model)
    bare = plan_of(Images(LABELS, masks=()), three)
    assert bare.protocol.methods == ("Contribution", "OtherClass[method=Contribution]")
    assert bare.protocol.metrics == ("Sparseness",)
    assert bare.left_out == ("MaskPrior", "MaskPrior[mask=infection]", "PointingGame", "AUPRC")
    assert [call.label for call in bare.methods] == list(bare.protocol.methods)
    lungs = plan_of(Images(LABELS, masks=("lung",)), three).protocol
    assert lungs.methods == ("Contribution", "MaskPrior", "OtherClass[method=Contribution]")
    assert lungs.metrics == named.metrics
    dataset = Images([("sick",), ("sick",), ()], names=["sick"], task="binary", masks=())
    single = plan_of(dataset, classifier_of(LinearModel(1).eval(), ["sick"], "binary"))
    assert single.protocol.methods == ("Contribution",)
    with pytest.raises(ValueError, match="PointingGame, AUPRC: these metrics compare maps with masks"):
        make_plan(replace(named, overrides=("metrics",)), three, Images(LABELS, masks=()), "cpu")


@pytest.mark.parametrize("control", ["Blurred[method=Random]", "OtherClass[method=AttnLRP]"])
def test_controls_of_methods_that_are_not_compared_are_refused_before_anything_is_written(
    tmp_path, model: LinearModel, control: str
) -> None:
    with pytest.raises(ValueError, match="is made of another method's map: give"):
        compared(tmp_path / "out", model, methods=("Contribution", control))
    assert not (tmp_path / "out").exists()


def test_what_a_protocol_is_run_without_is_named_in_config_and_report(tmp_path, model: LinearModel) -> None:
    methods, metrics = ("Contribution", "MaskPrior", "Random"), ("Sparseness", "AUPRC")
    compared(tmp_path, model, Images(LABELS, masks=()), protocol="mine", methods=methods, metrics=metrics)
    assert json.loads((tmp_path / "config.json").read_text())["environment"]["left_out"] == ["MaskPrior", "AUPRC"]
    assert "Left out of the protocol mine" in (tmp_path / "report.html").read_text()


def test_a_protocol_for_a_model_and_data_names_what_was_changed(tmp_path, model: LinearModel) -> None:
    classifier, dataset = classifier_of(model), Images(LABELS)
    given = {"methods": ("Contribution", "Random"), "metrics": ("FaithfulnessEstimate",), "samples": 6}
    settings = protocol_for("quick", classifier, dataset, **given)
    assert (settings.protocol, settings.image_size) == ("quick", (SIZE, SIZE))
    assert set(settings.overrides) == {"methods", "samples"}
    assert compare(tmp_path, settings, classifier, dataset, quiet=True).complete
    with pytest.raises(ValueError, match="unknown protocol 'fare'"):
        protocol_for("fare", classifier, dataset)
    with pytest.raises(TypeError, match="sample"):
        protocol_for("quick", classifier, dataset, sample=3)


def test_what_means_nothing_is_no_score_and_no_failure(tmp_path, model: LinearModel) -> None:
    methods = ("Contribution", "Random", "Blurred[method=Contribution,patch_size=2]")
    metrics = ("Sparseness", "CompletenessError", "NoiseRetest")
    METHODS.add(MethodSpec("Contribution", "claims completeness", complete=True))
    try:
        outcome = compared(tmp_path, model, methods=methods, metrics=metrics)
    finally:
        METHODS.remove("Contribution")
    assert outcome.complete
    header, *rows = read_rows(tmp_path / "scores.csv")
    pairs = {(row[header.index("method")], row[header.index("metric")]) for row in rows}
    assert pairs == {
        *((name, "Sparseness") for name in methods),
        ("Contribution", "CompletenessError"),
        ("Contribution", "NoiseRetest"),
        ("Random", "NoiseRetest"),
    }
    assert len(read_rows(tmp_path / "errors.csv")) == 1
    table = read_rows(tmp_path / "table1.csv")
    assert {row[table[0].index("nan")] for row in table[1:]} == {"0"}
    assert len(table) == 1 + len(pairs)
    assert read_rows(tmp_path / "not_applicable.csv") == [
        ["method", "metric", "reason"],
        ["Random", "CompletenessError", "it does not claim that its values add up to a fall of the logit"],
        [methods[2], "CompletenessError", "it does not claim that its values add up to a fall of the logit"],
        [methods[2], "NoiseRetest", "it is made of another method's map of the unchanged image"],
    ]


def test_several_findings_give_a_case_each_and_only_their_own_masks(tmp_path, model: LinearModel) -> None:
    masks = ("Edema", "Nodule", "lung")
    dataset = Images(SEVERAL, names=FINDINGS, task="multilabel", masks=masks, kind="box")
    metrics = ("FaithfulnessEstimate", "RelevanceRankAccuracy")
    outcome = compared(
        tmp_path, model, dataset, model_classes=FINDINGS, task="multilabel", metrics=metrics, methods=("Contribution",)
    )
    assert outcome.complete
    assert outcome.selection.describe().startswith("4 cases of 3 images: 2 Edema, 1 Effusion, 1 Nodule.")
    counts = {row.metric: (row.n, row.mask_kind) for row in outcome.table}
    # The lesion mask of the toys is empty where the last finding is there.
    assert counts["FaithfulnessEstimate"] == (4, "")
    assert counts["RelevanceRankAccuracy[mask=lung]"] == (4, "box")
    assert counts["RelevanceRankAccuracy[mask=Edema]"] == (1, "box")
    assert "RelevanceRankAccuracy[mask=Nodule]" not in counts
    scores = read_rows(tmp_path / "scores.csv")[1:]
    assert {(row[1], row[3]) for row in scores} == {(name, name) for name in FINDINGS}
    for row in read_rows(tmp_path / "predictions.csv")[1:]:
        likely = [name for name, p in zip(FINDINGS, map(float, row[4].split()), strict=True) if p > 0.5]
        assert row[2] == ("|".join(likely) or "none")
        assert row[3] == str(int(row[1] in likely))
    assert "by finding" in (tmp_path / "report.html").read_text().lower()


def test_one_logit_explains_both_kinds_of_images(tmp_path) -> None:
    model = LinearModel(outputs=1).eval()
    dataset = Images([("Pneumonia",), (), ("Pneumonia",), ()], names=("Pneumonia",), task="binary")
    outcome = compared(tmp_path, model, dataset, model_classes=("Pneumonia",), task="binary", samples=4)
    assert outcome.complete
    assert outcome.selection.taken == {"Pneumonia": 2, "no Pneumonia": 2}
    for row in read_rows(tmp_path / "predictions.csv")[1:]:
        assert row[2] == ("Pneumonia" if float(row[4]) > 0.5 else "no Pneumonia")
        assert row[3] == str(int(row[1] == row[2]))
    contribution = next(row for row in outcome.table if row.method == "Contribution")
    assert contribution.mean > 0.9


def test_only_random_needs_no_figure_of_maps(tmp_path, model: LinearModel) -> None:
    compared(tmp_path, model, methods=("Random",))
    assert not (tmp_path / "figure4.png").exists()
    assert len(read_rows(tmp_path / "significance.csv")) == 1
