"""A run that is cut at any point and started again leaves the same files as one that was not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from quantus_vit import register_method, unregister_method
from quantus_vit.comparison import runner
from quantus_vit.comparison.pipeline import compare
from quantus_vit.comparison.runner import ComparisonRun, open_folder
from quantus_vit.comparison.sampling import balanced_sample
from quantus_vit.comparison.scores import CsvLog, Failure, Note, Score
from quantus_vit.errors import UnsupportedOperationError

from .toys import Images, LinearModel, contribution, protocol

LABELS = [0, 0, 1, 1, 2, 2]
pytestmark = pytest.mark.usefixtures("contribution_method")


def start(folder, model, dataset=None, settings=None) -> ComparisonRun:
    settings = settings or protocol()
    dataset = dataset or Images(LABELS)
    open_folder(folder, settings, {})
    return ComparisonRun(folder, settings, model, dataset, balanced_sample(dataset.labels, 6, 3), "cpu")


def scores_in(folder) -> list[Score]:
    return CsvLog(folder / "scores.csv", Score).rows


@pytest.fixture
def scripted():
    """Register a method that does what the test says."""
    names = []

    def make(function, name: str = "Scripted") -> str:
        register_method(name, function)
        names.append(name)
        return name

    yield make
    for name in names:
        unregister_method(name)


def test_every_image_method_and_metric_gets_a_score(tmp_path, model: LinearModel) -> None:
    settings = protocol(metrics=("FaithfulnessEstimate", "PointingGame"))
    start(tmp_path, model, settings=settings).run(quiet=True)
    rows = scores_in(tmp_path)
    by_metric = {name: sum(row.metric == name for row in rows) for name in {row.metric for row in rows}}
    # The third class has no lesion.
    assert by_metric == {"FaithfulnessEstimate": 12, "PointingGame[mask=infection]": 8, "PointingGame[mask=lung]": 12}
    for row in rows:
        item = Images(LABELS)[Images(LABELS).paths.index(row.path)]
        assert row.label == row.target == item["label"]
        assert row.predicted == int(model(item["image"][None]).argmax())


def test_the_predicted_class_can_be_the_target(tmp_path, model: LinearModel) -> None:
    start(tmp_path, model, settings=protocol(target="predicted")).run(quiet=True)
    rows = scores_in(tmp_path)
    assert all(row.target == row.predicted for row in rows)
    assert any(row.target != row.label for row in rows)


@pytest.mark.parametrize("crash_at", [0, 1, 4, 5])
def test_a_rerun_after_a_crash_gives_the_scores_of_an_unbroken_run(tmp_path, model, monkeypatch, crash_at: int) -> None:
    start(tmp_path / "whole", model).run(quiet=True)
    computed, score_maps = [], runner.score_maps

    def crashing(scorer, maps, item, *rest):
        if len(computed) == crash_at:
            raise KeyboardInterrupt
        computed.append(item["path"])
        return score_maps(scorer, maps, item, *rest)

    monkeypatch.setattr(runner, "score_maps", crashing)
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path / "cut", model).run(quiet=True)
    with (tmp_path / "cut" / "scores.csv").open("a") as file:
        file.write("half a li")
    crash_at = -1
    start(tmp_path / "cut", model).run(quiet=True)
    assert scores_in(tmp_path / "cut") == scores_in(tmp_path / "whole")
    assert len(computed) == 6


def test_a_finished_run_computes_nothing_again(tmp_path, model: LinearModel, scripted) -> None:
    calls = []

    def counting(model, inputs, targets, **_):
        calls.append(1)
        return contribution(model, inputs, targets)

    settings = protocol(methods=(scripted(counting),))
    for _ in range(2):
        start(tmp_path, model, settings=settings).run(quiet=True)
    assert len(calls) == 6


def test_another_setting_is_refused_with_the_difference(tmp_path, model: LinearModel) -> None:
    start(tmp_path, model)
    with pytest.raises(ValueError, match=r"holds scores of other settings.*samples: 9 here, 6 there"):
        open_folder(tmp_path, protocol(samples=9), {})
    open_folder(tmp_path, protocol(checkpoint="moved.safetensors"), {})


def test_folders_that_are_no_result_folders(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is a file; name a folder"):
        open_folder(tmp_path / "file", protocol(), {})
    (tmp_path / "scores.csv").write_text("")
    with pytest.raises(ValueError, match=r"holds a scores\.csv without config\.json"):
        open_folder(tmp_path, protocol(), {})


def test_an_image_that_cannot_be_read_is_nan_and_noted_once(tmp_path, model: LinearModel) -> None:
    dataset = Images(LABELS, broken=(3,))
    for _ in range(2):
        start(tmp_path, model, dataset).run(quiet=True)
    rows = scores_in(tmp_path)
    lost = [row for row in rows if row.path == dataset.paths[3]]
    assert len(rows) == 12
    assert [(row.label, row.predicted, row.target) for row in lost] == [(1, -1, -1)] * 2
    assert all(math.isnan(row.score) == (row in lost) for row in rows)
    (failure,) = CsvLog(tmp_path / "errors.csv", Failure).rows
    assert failure.path == dataset.paths[3]
    assert "as an image" in failure.error


def test_a_map_that_fails_or_is_constant_costs_its_score_alone(tmp_path, model: LinearModel, scripted) -> None:
    calls = []

    def odd(model, inputs, targets, **_):
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("out of\nmemory")
        return contribution(model, inputs, targets) * (len(calls) != 3)

    start(tmp_path, model, settings=protocol(methods=(scripted(odd), "Random"))).run(quiet=True)
    rows = scores_in(tmp_path)
    assert [math.isnan(row.score) for row in rows if row.method == "Scripted"] == [
        False,
        True,
        True,
        False,
        False,
        False,
    ]
    assert not any(math.isnan(row.score) for row in rows if row.method == "Random")
    (failure,) = CsvLog(tmp_path / "errors.csv", Failure).rows
    assert failure.error == "RuntimeError: out of memory"


def test_a_method_that_never_works_stops_the_run(tmp_path, model: LinearModel, scripted) -> None:
    def broken(model, inputs, targets, **_):
        raise RuntimeError("no such layer")

    run = start(tmp_path, model, settings=protocol(methods=(scripted(broken),)))
    with pytest.raises(ValueError, match=r"method 'Scripted' failed on 3 images and worked on none: .*no such layer"):
        run.run(quiet=True)


def test_a_metric_that_never_works_stops_the_run(tmp_path, model: LinearModel, monkeypatch) -> None:
    def broken(*_):
        raise AssertionError("cannot score")

    monkeypatch.setattr(runner, "score_maps", broken)
    with pytest.raises(ValueError, match=r"with metric 'FaithfulnessEstimate' failed on 3 images.*cannot score"):
        start(tmp_path, model).run(quiet=True)


def test_a_model_that_the_method_cannot_explain_stops_at_once(tmp_path, model: LinearModel, scripted) -> None:
    def refuse(model, inputs, targets, **_):
        raise UnsupportedOperationError("no rule for 'fft'")

    with pytest.raises(UnsupportedOperationError, match="fft"):
        start(tmp_path, model, settings=protocol(methods=(scripted(refuse),))).run(quiet=True)


def test_warnings_of_a_method_are_kept(tmp_path, model: LinearModel, scripted) -> None:
    import warnings

    def warning(model, inputs, targets, **_):
        warnings.warn("poor\nfit", RuntimeWarning, stacklevel=1)
        return contribution(model, inputs, targets)

    start(tmp_path, model, settings=protocol(methods=(scripted(warning),))).run(quiet=True)
    notes = [row for row in CsvLog(tmp_path / "notes.csv", Note).rows if "poor" in row.note]
    assert {row.note for row in notes} == {"RuntimeWarning: poor fit"}
    assert len(notes) == 6


def test_orders_of_ties_are_kept_and_their_mean_is_the_score(tmp_path, model: LinearModel, scripted) -> None:
    def blocks(model, inputs, targets, **_):
        return np.tile(np.arange(4.0).repeat(16).reshape(1, 1, 8, 8), (len(inputs), 1, 1, 1))

    outcome = compare(
        tmp_path, protocol(methods=(scripted(blocks),)), model, Images(LABELS), ("a", "b", "c"), quiet=True
    )
    from quantus_vit.comparison.scores import TieBreak

    ties = CsvLog(tmp_path / "tie_breaks.csv", TieBreak).rows
    assert len(ties) == 12
    for row in scores_in(tmp_path):
        assert row.score == pytest.approx(np.mean([tie.score for tie in ties if tie.path == row.path]))
    assert outcome.table[0].mean == pytest.approx(np.mean([tie.score for tie in ties]))
