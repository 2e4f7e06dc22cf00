"""A run that is cut at any point and started again leaves the same files as one that was not."""

from __future__ import annotations

import errno
import math
import threading
import warnings
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from quantus_vit import register_method, unregister_method
from quantus_vit.comparison import group_scoring, grouping, images
from quantus_vit.comparison.explaining import MethodCall
from quantus_vit.comparison.reading import ReadAhead
from quantus_vit.comparison.runner import ComparisonRun
from quantus_vit.comparison.scores import Score
from quantus_vit.comparison.summary import summarise
from quantus_vit.errors import UnsupportedOperationError

from .toys import CLASSES, Images, LinearModel, contribution, logs_of, protocol, start, unreadable

LABELS = [0, 0, 1, 1, 2, 2]
pytestmark = pytest.mark.usefixtures("contribution_method")


def finish(folder, model, dataset=None, settings=None, **options) -> ComparisonRun:
    run = start(folder, model, dataset or Images(LABELS), settings, **options)
    run.run(quiet=True)
    return run


def scores_in(folder) -> list[Score]:
    return logs_of(folder).scores.rows


def by_key(rows: list[Score]) -> list[Score]:
    return sorted(rows, key=lambda row: row.key)


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


def test_every_case_method_and_metric_gets_a_score(tmp_path, model: LinearModel) -> None:
    settings = protocol(metrics=("FaithfulnessEstimate", "PointingGame"))
    finish(tmp_path, model, settings=settings)
    rows = scores_in(tmp_path)
    by_metric = {name: sum(row.metric == name for row in rows) for name in {row.metric for row in rows}}
    # The third class has no lesion.
    assert by_metric == {"FaithfulnessEstimate": 12, "PointingGame[mask=infection]": 8, "PointingGame[mask=lung]": 12}
    dataset = Images(LABELS)
    places = {record.identity: index for index, record in enumerate(dataset.records)}
    for row in rows:
        index = places[row.path]
        assert (row.label,) == (row.target,) == dataset.records[index].labels
        assert row.predicted == CLASSES[int(model(dataset.sample(index, None).image[None]).argmax())]


def test_the_predicted_class_can_be_the_target(tmp_path, model: LinearModel) -> None:
    finish(tmp_path, model, settings=protocol(target="predicted"))
    rows = scores_in(tmp_path)
    assert all(row.target == row.predicted for row in rows)
    assert any(row.target != row.label for row in rows)


@pytest.fixture
def one_image_a_group(monkeypatch) -> None:
    monkeypatch.setattr(grouping, "_MAPS_CPU", 1)


@pytest.mark.parametrize(
    ("maps_a_group", "crash_at"), [(1, 0), (1, 1), (1, 4), (1, 5), (4, 0), (4, 1), (4, 3), (32, 1)]
)
def test_a_rerun_after_a_crash_gives_the_scores_of_an_unbroken_run(
    tmp_path, model, monkeypatch, maps_a_group: int, crash_at: int
) -> None:
    monkeypatch.setattr(grouping, "_MAPS_CPU", maps_a_group)
    finish(tmp_path / "whole", model)
    computed, score_maps = [], group_scoring.score_maps

    def crashing(*arguments):
        if len(computed) == crash_at:
            raise KeyboardInterrupt
        computed.append(1)
        return score_maps(*arguments)

    monkeypatch.setattr(group_scoring, "score_maps", crashing)
    with pytest.raises(KeyboardInterrupt):
        finish(tmp_path / "cut", model)
    with (tmp_path / "cut" / "scores.csv").open("a") as file:
        file.write("half a li")
    crash_at = -1
    finish(tmp_path / "cut", model)
    assert scores_in(tmp_path / "cut") == scores_in(tmp_path / "whole")
    # Groups of one image, then as many as have so many maps by two methods; each is scored once.
    assert len(computed) == {1: 6, 4: 4, 32: 2}[maps_a_group]


def test_a_finished_run_computes_nothing_again(tmp_path, model: LinearModel, scripted) -> None:
    calls = []

    def counting(model, inputs, targets, **_):
        calls.append(1)
        return contribution(model, inputs, targets)

    settings = protocol(methods=(scripted(counting),))
    for _ in range(2):
        finish(tmp_path, model, settings=settings)
    assert len(calls) == 6


def test_a_case_is_keyed_by_the_images_place_below_the_data_not_by_the_path(tmp_path, model: LinearModel) -> None:
    finish(tmp_path, model)
    elsewhere = Images(LABELS)
    elsewhere.records = [
        type(record)(record.identity, f"../other/{record.path}", None, record.labels, record.annotations)
        for record in elsewhere.records
    ]
    finish(tmp_path, model, elsewhere)
    assert len(scores_in(tmp_path)) == 12


def test_foreign_and_double_rows_enter_no_table(tmp_path, model: LinearModel) -> None:
    run = finish(tmp_path, model)
    expected = run.scores()
    first = expected[0]
    run.logs.scores.append(
        [
            first,
            Score("another/image.png", "COVID-19", "Normal", "Normal", "Random", "FaithfulnessEstimate", 9.0),
            Score(first.path, "Normal", "Normal", "Normal", "Random", "FaithfulnessEstimate", 9.0),
            Score(first.path, first.label, "Normal", "Normal", "Other", "FaithfulnessEstimate", 9.0),
            Score(first.path, first.label, "Normal", "Normal", "Random", "Other", 9.0),
        ]
    )
    again = start(tmp_path, model, Images(LABELS))
    assert again.scores() == expected
    assert again.foreign_rows() == 5


def test_an_image_that_cannot_be_read_is_nan_and_tried_again(tmp_path, model: LinearModel) -> None:
    dataset = Images(LABELS, broken={3: unreadable(3)})
    for _ in range(2):
        run = finish(tmp_path, model, dataset)
        assert run.is_complete()
    rows = scores_in(tmp_path)
    lost = [row for row in rows if row.path == dataset.records[3].identity]
    assert len(rows) == 12
    assert [(row.label, row.predicted, row.target) for row in lost] == [("Non-COVID", "", "")] * 2
    assert all(math.isnan(row.score) == (row in lost) for row in rows)
    (failure,) = logs_of(tmp_path).failures.rows
    assert (failure.path, failure.cause) == (dataset.records[3].identity, "image")
    assert "as an image" in failure.error
    dataset.broken.clear()
    finish(tmp_path, model, dataset)
    assert not any(math.isnan(row.score) for row in scores_in(tmp_path))
    assert logs_of(tmp_path).failures.rows == []


def test_failed_images_can_be_left_as_they_are(tmp_path, model: LinearModel) -> None:
    dataset = Images(LABELS, broken={3: unreadable(3)})
    finish(tmp_path, model, dataset)
    dataset.broken.clear()
    finish(tmp_path, model, dataset, retry_failed=False)
    assert sum(math.isnan(row.score) for row in scores_in(tmp_path)) == 2
    assert len(logs_of(tmp_path).failures.rows) == 1


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EIO, "Input/output error", "x.png"),
        PermissionError(errno.EACCES, "Permission denied", "x.png"),
        FileNotFoundError("no image file 'x.png'"),
        MemoryError(),
    ],
)
@pytest.mark.parametrize("retry_failed", [True, False])
def test_what_the_machine_failed_at_is_never_booked_as_the_images(tmp_path, model, error, retry_failed) -> None:
    dataset = Images(LABELS, broken={2: error})
    run = finish(tmp_path, model, dataset)
    assert not run.is_complete()
    assert len(scores_in(tmp_path)) == 10
    assert not any(math.isnan(row.score) for row in scores_in(tmp_path))
    (failure,) = logs_of(tmp_path).failures.rows
    assert failure.cause == "machine"
    dataset.broken.clear()
    run = finish(tmp_path, model, dataset, retry_failed=retry_failed)
    assert run.is_complete()
    assert logs_of(tmp_path).failures.rows == []
    finish(tmp_path / "whole", model)
    assert by_key(scores_in(tmp_path)) == by_key(scores_in(tmp_path / "whole"))


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.cuda.OutOfMemoryError("CUDA out of memory"), RuntimeError("can't allocate memory")]
)
@pytest.mark.usefixtures("one_image_a_group")
def test_memory_that_runs_out_in_a_method_or_metric_is_tried_again(tmp_path, model, scripted, monkeypatch, error):
    calls = []

    def odd(model, inputs, targets, **_):
        calls.append(1)
        if len(calls) == 2:
            raise error
        return contribution(model, inputs, targets)

    settings = protocol(methods=(scripted(odd),))
    score_maps, scored = group_scoring.score_maps, []

    def failing(*arguments):
        scored.append(1)
        if len(scored) == 3:
            raise error
        return score_maps(*arguments)

    monkeypatch.setattr(group_scoring, "score_maps", failing)
    run = finish(tmp_path, model, settings=settings)
    assert not run.is_complete()
    assert [row.cause for row in logs_of(tmp_path).failures.rows] == ["machine", "machine"]
    assert len(scores_in(tmp_path)) == 4
    run = finish(tmp_path, model, settings=settings)
    assert run.is_complete()
    assert not any(math.isnan(row.score) for row in scores_in(tmp_path))


def test_a_full_disk_stops_the_run_and_books_nothing(tmp_path, model: LinearModel, monkeypatch) -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "maps/x.npz")

    def no_room(*_):
        raise full

    run = start(tmp_path, model, Images(LABELS))
    monkeypatch.setattr(type(run.logs.maps), "save", no_room)
    with pytest.raises(OSError, match="No space left"):
        run.run(quiet=True)
    assert scores_in(tmp_path) == []
    monkeypatch.undo()
    assert finish(tmp_path, model).is_complete()
    assert not any(math.isnan(row.score) for row in scores_in(tmp_path))


def test_a_map_that_fails_or_is_constant_costs_its_score_alone(tmp_path, model: LinearModel, scripted) -> None:
    calls = []

    def odd(model, inputs, targets, **_):
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("singular\nmatrix")
        return contribution(model, inputs, targets) * (len(calls) != 3)

    finish(tmp_path, model, settings=protocol(methods=(scripted(odd), "Random")))
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
    (failure,) = logs_of(tmp_path).failures.rows
    assert failure.error == "RuntimeError: singular matrix"


def test_a_method_that_never_works_stops_the_run(tmp_path, model: LinearModel, scripted) -> None:
    def broken(model, inputs, targets, **_):
        raise RuntimeError("no such layer")

    run = start(tmp_path, model, Images(LABELS), protocol(methods=(scripted(broken),)))
    with pytest.raises(ValueError, match=r"method 'Scripted' failed on 3 images and worked on none: .*no such layer"):
        run.run(quiet=True)


def test_a_method_that_is_made_of_a_mask_leaves_out_images_without_it(tmp_path, model: LinearModel) -> None:
    dataset = Images(LABELS)
    for index in (0, 1, 2, 4):  # four of six, the first three among them
        dataset.records[index] = replace(dataset.records[index], annotations={})
    methods = ("Contribution", "Random", "MaskPrior", "Blurred[method=MaskPrior]")
    run = finish(tmp_path, model, dataset, protocol(methods=methods, tie_breaks=1))
    assert logs_of(tmp_path).failures.rows == []
    assert run.is_complete()
    assert run.cases_left() == []
    scored = Counter(row.method for row in scores_in(tmp_path))
    assert scored == {"Contribution": 6, "Random": 6, "MaskPrior": 2, "Blurred[method=MaskPrior]": 2}
    summary = summarise(run, CLASSES)
    assert {row.method: row.n for row in summary.ranks} == {"Contribution": 6, "Random": 6}
    assert {(row.method, row.metric): row.reason.split(",")[0] for row in summary.excluded} == {
        (method, "FaithfulnessEstimate"): "4 of 6 cases have no mask 'lung'" for method in methods[2:]
    }


def test_a_method_that_is_made_of_a_mask_leaves_out_images_whose_mask_is_empty(tmp_path, model: LinearModel) -> None:
    run = finish(tmp_path, model, settings=protocol(methods=("Contribution", "MaskPrior[mask=infection]")))
    assert logs_of(tmp_path).failures.rows == []
    assert run.is_complete()
    assert sum(row.method.startswith("MaskPrior") for row in scores_in(tmp_path)) == 4  # the third class has no lesion


@pytest.mark.parametrize(("masks", "what"), [((), "they have no masks"), (("heart",), "they have heart")])
def test_a_method_that_is_made_of_a_mask_that_no_image_has_is_refused(
    tmp_path, model: LinearModel, masks, what
) -> None:
    with pytest.raises(ValueError, match=f"MaskPrior is made of the mask 'lung', .*{what}"):
        start(tmp_path, model, Images(LABELS, masks=masks), protocol(methods=("Contribution", "MaskPrior")))


def test_a_metric_that_never_works_stops_the_run(tmp_path, model: LinearModel, monkeypatch) -> None:
    def broken(*_):
        raise AssertionError("cannot score")

    monkeypatch.setattr(group_scoring, "score_maps", broken)
    with pytest.raises(ValueError, match=r"with metric 'FaithfulnessEstimate' failed on 3 images.*cannot score"):
        finish(tmp_path, model)


def test_a_model_that_the_method_cannot_explain_stops_at_once(tmp_path, model: LinearModel, scripted) -> None:
    def refuse(model, inputs, targets, **_):
        raise UnsupportedOperationError("no rule for 'fft'")

    with pytest.raises(UnsupportedOperationError, match="fft"):
        finish(tmp_path, model, settings=protocol(methods=(scripted(refuse),)))
    assert scores_in(tmp_path) == []


def test_warnings_of_a_method_are_kept(tmp_path, model: LinearModel, scripted) -> None:
    def warning(model, inputs, targets, **_):
        warnings.warn("poor\nfit", RuntimeWarning, stacklevel=1)
        return contribution(model, inputs, targets)

    finish(tmp_path, model, settings=protocol(methods=(scripted(warning),)))
    notes = [row for row in logs_of(tmp_path).notes.rows if "poor" in row.note]
    assert {row.note for row in notes} == {"RuntimeWarning: poor fit"}
    assert len(notes) == 6


def test_orders_of_ties_are_kept_and_their_mean_is_the_score(tmp_path, model: LinearModel, scripted) -> None:
    def blocks(model, inputs, targets, **_):
        return np.tile(np.arange(4.0).repeat(16).reshape(1, 1, 8, 8), (len(inputs), 1, 1, 1))

    run = finish(tmp_path, model, settings=protocol(methods=(scripted(blocks),)))
    ties = run.tie_breaks()
    assert len(ties) == 12
    for row in run.scores():
        assert row.score == pytest.approx(np.mean([tie.score for tie in ties if tie.path == row.path]))


def test_predictions_are_made_once(tmp_path, model: LinearModel, monkeypatch) -> None:
    run = finish(tmp_path, model)
    rows = run.predictions()
    assert len(rows) == 6
    for row in rows:
        index = [record.identity for record in Images(LABELS).records].index(row.path)
        logits = model(Images(LABELS).sample(index, None).image[None])[0]
        assert row.values() == pytest.approx(logits.softmax(0).tolist(), rel=1e-4)
        assert row.correct == int(CLASSES[int(logits.argmax())] == row.label)
    monkeypatch.setattr(images, "predict", None)
    (tmp_path / "scores.csv").unlink()
    assert finish(tmp_path, model).predictions() == rows


@pytest.mark.parametrize(
    ("names", "labels", "expected"),
    [
        # Several findings an image: one case each; an image without any has none.
        (("A", "B", "C"), [("A",), ("A", "B"), (), ("C",)], [("A", 0), ("A", 1), ("B", 1), ("C", 3)]),
    ],
)
def test_a_multilabel_data_set_gives_a_case_for_each_finding(tmp_path, names, labels, expected) -> None:
    from quantus_vit.comparison.cases import cases_of, match_labels

    from .toys import classifier_of

    dataset = Images(labels, names=names, task="multilabel")
    classifier = classifier_of(LinearModel(), names, "multilabel")
    cases = cases_of(dataset, match_labels(classifier, dataset))
    assert sorted((case.label, case.index) for case in cases) == expected


def test_removal_curves_are_written_once_for_each_map(tmp_path, model: LinearModel, contribution_method: str) -> None:
    settings = protocol(metrics=("RemovalCurve[steps=2]",), tie_breaks=1)
    for _ in range(2):  # the second run finds everything done
        start(tmp_path, model, Images([0, 1]), settings).run(quiet=True)
    rows = logs_of(tmp_path).curves.rows
    assert [(row.method, row.order) for row in rows] == 2 * [
        (method, order) for method in ("Contribution", "Random") for order in ("mif", "lif")
    ]
    assert all(len(row.values()) == 3 for row in rows)
    assert rows[0].values()[0] == pytest.approx(rows[1].values()[0])


def test_a_share_of_the_cases_leaves_the_others(tmp_path, model: LinearModel) -> None:
    run = start(tmp_path, model, Images(LABELS))
    assert run.cases_left() == list(run.plan.cases)
    run.run(quiet=True, cases=run.plan.cases[1::2])
    assert {row.path for row in scores_in(tmp_path)} == {case.identity for case in run.plan.cases[1::2]}
    assert run.cases_left() == list(run.plan.cases[::2])
    assert not run.is_complete()


def test_orders_of_ties_come_once_and_in_the_order_of_the_scores(tmp_path, model: LinearModel, scripted) -> None:
    def blocks(model, inputs, targets, **_):
        return np.tile(np.arange(4.0).repeat(16).reshape(1, 1, 8, 8), (len(inputs), 1, 1, 1))

    run = finish(tmp_path, model, settings=protocol(methods=(scripted(blocks),)))
    ties, log = run.tie_breaks(), run.logs.tie_breaks
    log.replace(reversed([*log.rows[:3], *log.rows]))
    assert run.tie_breaks() == ties
    assert [row.path for row in ties[::2]] == [row.path for row in run.scores()]


@pytest.mark.parametrize("kept", [2, 3, 5, 9, 11])
def test_a_group_of_which_some_scores_are_there_gets_the_others_as_an_unbroken_run_gives_them(
    tmp_path, model, monkeypatch, kept: int
) -> None:
    """Rows that were torn off anywhere come back to the digit, from batches of the same maps."""
    finish(tmp_path, model)
    whole = (tmp_path / "scores.csv").read_text()
    (tmp_path / "scores.csv").write_text("".join(whole.splitlines(keepends=True)[: kept + 1]) + "half a li")
    together, score_maps = [], group_scoring.score_maps

    def counting(scorer, maps, *rest):
        together.append(len(maps))
        return score_maps(scorer, maps, *rest)

    monkeypatch.setattr(group_scoring, "score_maps", counting)
    finish(tmp_path, model)
    assert (tmp_path / "scores.csv").read_text() == whole
    assert together == [10]


def test_groups_hold_every_case_once_and_do_not_depend_on_what_is_done(tmp_path, model) -> None:
    run = start(tmp_path, model, Images(LABELS))
    before = run.groups()
    assert [len(group) for group in before] == [1, 5]
    assert [case for group in before for case in group] == list(run.plan.cases)
    run.run(quiet=True, cases=before[1])
    assert run.cases_left() == list(before[0])
    assert start(tmp_path, model, Images(LABELS)).groups() == before


def test_maps_of_a_group_are_made_by_one_call_where_the_method_takes_batches(tmp_path, model, scripted, monkeypatch):
    calls = []

    def odd(model, inputs, targets, **_):
        calls.append(len(inputs))
        if len(inputs) == 5:
            warnings.warn("of all", RuntimeWarning, stacklevel=1)
            first = RuntimeWarning("of the second")
            first.index = 1
            warnings.warn(first, stacklevel=1)
        return contribution(model, inputs, targets)

    settings = protocol(methods=(scripted(odd), "Random"))
    finish(tmp_path / "alone", model, settings=settings)
    assert calls == [1] * 6
    monkeypatch.setattr(MethodCall, "takes_batches", lambda self, device: self.label == "Scripted")
    calls.clear()
    run = finish(tmp_path / "together", model, settings=settings)
    assert calls == [1, 5]
    for one, other in zip(scores_in(tmp_path / "together"), scores_in(tmp_path / "alone"), strict=True):
        assert one.key == other.key
        assert one.score == pytest.approx(other.score, abs=1e-6)
    notes = [(row.path, row.note) for row in logs_of(tmp_path / "together").notes.rows]
    paths = [case.identity for case in run.plan.cases]
    assert [path for path, note in notes if "of all" in note] == paths[1:]
    assert [path for path, note in notes if "of the second" in note] == paths[2:3]


def test_a_batch_of_maps_that_fails_is_made_one_by_one(tmp_path, model, scripted, monkeypatch) -> None:
    def odd(model, inputs, targets, **_):
        if len(inputs) > 1 or float(inputs.sum()) == pytest.approx(worst):
            raise RuntimeError("singular matrix")
        return contribution(model, inputs, targets)

    worst = float(Images(LABELS).sample(3, None).image.sum())
    monkeypatch.setattr(MethodCall, "takes_batches", lambda self, device: self.label == "Scripted")
    finish(tmp_path, model, settings=protocol(methods=(scripted(odd),)))
    rows = scores_in(tmp_path)
    assert len(rows) == 6
    assert [row.path for row in rows if math.isnan(row.score)] == [Images(LABELS).records[3].identity]


def test_a_method_that_fails_on_some_images_of_a_group_alone_does_not_stop_the_run(tmp_path, model, scripted) -> None:
    calls = []

    def odd(model, inputs, targets, **_):
        calls.append(1)
        if len(calls) in (3, 4, 5):
            raise RuntimeError("singular matrix")
        return contribution(model, inputs, targets)

    dataset = Images(LABELS, broken={index: unreadable(index) for index in (0, 1)})
    finish(tmp_path, model, Images([*LABELS, 0, 1, 2], dataset.broken), protocol(methods=(scripted(odd),), samples=9))
    assert sum(math.isnan(row.score) for row in scores_in(tmp_path)) == 5


def test_images_are_read_ahead_once_each_and_two_groups_at_most() -> None:
    read, release = [], threading.Event()

    def reading(index: int):
        if index == 3:
            raise unreadable(3)
        if index == 5:
            release.wait(10)
        read.append(index)
        return index

    with ReadAhead(reading, [[0], [1, 2, 1], [3, 4], [5]]) as ahead:
        assert ahead.group(0)[0]() == 0
        assert [call() for call in ahead.group(1).values()] == [1, 2]
        group = ahead.group(2)
        with pytest.raises(ValueError, match="as an image"):
            group[3]()
        assert group[4]() == 4
        release.set()
        assert ahead.group(3)[5]() == 5
    assert read == [0, 1, 2, 4, 5]
