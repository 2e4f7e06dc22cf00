"""A comparison from settings to report: plan, run, tables, figures, page. The one place that knows all steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ..data import XrayDataset
from ..files import locked
from ..models import Classifier
from ..pictures import make_legible
from .environment import describe_environment
from .figure_data import figure4_method, gather_map_rows, gather_samples, shown_outputs
from .figures import draw_boxplots, draw_map_rows, draw_samples
from .findings import ReportContent
from .folder import Logs, prepare
from .meta_evaluation import MetaRow
from .meta_run import judge_metrics
from .meta_shipped import shipped_rows
from .plan import Plan
from .planning import make_plan, try_first_image
from .processes import ALONE, Processes
from .progress import say
from .protocol import Protocol
from .report import record_pictures, record_run, write_report
from .rows import forget_failures
from .runner import ComparisonRun
from .sampling import Selection
from .scores import Score
from .sensitivity import SensitivityGrid
from .shares import run_share
from .significance import SignificanceRow
from .statistics import TableRow
from .studies import Studies, StudyTables
from .summary import summarise, write_summary

__all__ = ["Outcome", "assist", "compare"]


@dataclass(frozen=True)
class Outcome:
    """What a comparison found.

    Parameters
    ----------
    folder : Path
        Where its files are.
    table : list of TableRow
        Rows of ``table1.csv``.
    significance : list of SignificanceRow
        Rows of ``significance.csv``.
    selection : Selection
        The sample.
    complete : bool
        False where the run was interrupted, or the machine failed on some cases: the tables cover the others then.
    interrupted : bool
        Whether Ctrl-C or SIGTERM ended it.
    cases, read : int
        How many cases there are, and of how many the image could be read and predicted.
    """

    folder: Path
    table: list[TableRow]
    significance: list[SignificanceRow]
    selection: Selection
    complete: bool
    interrupted: bool
    cases: int
    read: int


def compare(
    folder: Path,
    protocol: Protocol,
    classifier: Classifier,
    dataset: XrayDataset,
    device: str = "cpu",
    quiet: bool = False,
    command: str = "",
    report_only: bool = False,
    retry_failed: bool = True,
    meta_evaluation: int = 0,
    sensitivity: SensitivityGrid | None = None,
    processes: Processes = ALONE,
) -> Outcome:
    """Run a protocol and write its tables, figures and report.

    Parameters
    ----------
    folder : Path
        Result folder. One that holds scores of the same settings is completed, one of other settings refused.
    protocol : Protocol
        The settings.
    classifier : Classifier
        On ``device``, see :func:`quantus_vit.load_model`.
    dataset : XrayDataset
        See :func:`quantus_vit.data.open_data`.
    device : str
        "cpu" or "cuda".
    quiet : bool
        No progress bar.
    command : str
        The command line, for the report.
    report_only : bool
        Rebuild tables, figures and report from the scores that are there.
    retry_failed : bool
        Try images again that failed before.
    meta_evaluation : int
        Judge the metrics on so many phantoms afterwards, see :mod:`.meta_evaluation`; 0 for none.
    sensitivity : SensitivityGrid, optional
        Rank the methods over a grid of settings afterwards, see :mod:`.sensitivity`.
    processes : Processes
        Of a run in several, this is the first; the others call :func:`assist`.

    Returns
    -------
    Outcome
        After an interrupt (Ctrl-C) that of the images before it; calling again completes them.

    Raises
    ------
    ValueError, TypeError, ImportError
        Before anything is written: an unknown or unusable method, metric, class or setting, a model that does not
        take the images. Afterwards: a folder of other settings or in use by another run, a method that fails on every
        image, a report of a folder without scores.
    OSError
        The folder cannot be written.
    """
    if report_only and not (folder / "scores.csv").exists():
        raise ValueError(f"{str(folder)!r} holds no scores to report; run the comparison first")
    studies = Studies(sensitivity)
    with ExitStack() as held:
        with processes.together():
            plan, selection, labels = _checked_plan(protocol, classifier, dataset, device, studies, not report_only)
            environment = describe_environment(device, command) | {"sample": selection.describe()}
            environment |= {"left_out": list(plan.left_out)} if plan.left_out else {}
            held.enter_context(locked(folder))
            logs = prepare(folder, plan.protocol, environment | {"processes": processes.count})
            forget_failures(logs, retry_failed and not report_only)
        interrupted, judged, studied = False, [], StudyTables()
        if not report_only:
            try:
                interrupted = _score(plan, folder, logs, processes, quiet)
                if not interrupted:
                    judged = _judge(folder, protocol, meta_evaluation, device, quiet)
                    studied = studies.run(folder, plan, quiet, report_only=False)
            except KeyboardInterrupt:
                interrupted = True
            if interrupted:
                say("interrupted: tables of the images so far; the same command goes on from here")
        logs.arrange([case.key for case in plan.cases])
        run = ComparisonRun(plan, logs)
        foreign = run.foreign_rows()
        if foreign:
            say(f"{folder / 'scores.csv'}: {foreign} rows of no case of this run, or twice; they are left out")
        if report_only or interrupted:
            judged = _judge(folder, protocol, meta_evaluation, device, quiet, report_only=True)
            studied = studies.run(folder, plan, quiet, report_only=True)
        return _summarise(folder, run, selection, labels, environment, interrupted, judged, studied)


def assist(
    folder: Path,
    protocol: Protocol,
    classifier: Classifier,
    dataset: XrayDataset,
    device: str,
    sensitivity: SensitivityGrid | None,
    processes: Processes,
) -> None:
    """Take a share of a comparison whose first process runs :func:`compare`, with the same arguments.

    Parameters
    ----------
    folder, protocol, classifier, dataset, device, sensitivity, processes
        As in :func:`compare`; the classifier is on this process's own ``device``.

    Raises
    ------
    SystemExit
        With code 0 where a process has failed: the first one says so.
    """
    with processes.together():
        plan, _, _ = _checked_plan(protocol, classifier, dataset, device, Studies(sensitivity), is_run=True)
    run_share(plan, folder, processes, quiet=True)


def _checked_plan(
    protocol: Protocol, classifier: Classifier, dataset: XrayDataset, device: str, studies: Studies, is_run: bool
) -> tuple[Plan, Selection, tuple[str, ...]]:
    plan, selection, labels = make_plan(protocol, classifier, dataset, device)
    if is_run:
        studies.check(plan)
        try_first_image(plan)
    return plan, selection, labels


def _score(plan: Plan, folder: Path, logs: Logs, processes: Processes, quiet: bool) -> bool:
    """Score what is missing, alone or with the others; True where all have been interrupted."""
    if processes.count == 1:
        ComparisonRun(plan, logs).run(quiet)
        return False
    interrupted = run_share(plan, folder, processes, quiet)
    logs.absorb_shares(folder)
    return interrupted


def _judge(
    folder: Path, protocol: Protocol, samples: int, device: str, quiet: bool, report_only: bool = False
) -> list[MetaRow]:
    return judge_metrics(folder, protocol, samples, device, quiet, report_only) if samples else []


def _summarise(
    folder: Path,
    run: ComparisonRun,
    selection: Selection,
    labels: Sequence[str],
    environment: dict[str, Any],
    interrupted: bool,
    judged: list[MetaRow],
    studied: StudyTables,
) -> Outcome:
    scores, complete = run.scores(), run.is_complete()
    summary = studied.into(summarise(run, labels))
    summary = replace(summary, meta=judged or summary.meta or shipped_rows(run.plan))
    write_summary(folder, summary)
    predictions, count = run.predictions(), len(run.plan.cases)
    outcome = Outcome(
        folder, summary.table, summary.significance, selection, complete, interrupted, count, len(predictions)
    )
    if not scores:
        return outcome
    record_pictures(run)
    _draw_figures(folder, run, scores, labels)
    content = ReportContent(
        protocol=run.plan.protocol,
        environment=environment,
        dataset=run.plan.dataset.name,
        task=run.plan.classifier.task,
        labels=tuple(labels),
        selection=selection,
        scores=scores,
        predictions=predictions,
        summary=summary,
        failures=run.logs.failures.rows,
        notes=run.logs.notes.rows,
        metrics={scorer.name: scorer.spec for scorer in run.plan.scorers},
        methods={call.label: call.spec for call in run.plan.methods},
        foreign_rows=run.foreign_rows(),
        complete=complete,
    )
    record_run(folder, run, content)
    write_report([folder])
    return outcome


def _draw_figures(folder: Path, run: ComparisonRun, scores: Sequence[Score], labels: Sequence[str]) -> None:
    plan = run.plan
    samples = gather_samples(run, labels)
    if samples:
        _save(draw_samples(samples, f"{plan.dataset.name}, {plan.dataset.split}"), folder / "figure1.png")
    method = figure4_method(run)
    rows = [] if method is None else gather_map_rows(run, labels, method)
    if method is not None and rows:
        names = [plan.classifier.class_names[output] for output in shown_outputs(run)]
        _save(draw_map_rows(rows, method, names), folder / "figure4.png")
    if not all(math.isnan(row.score) for row in scores):
        higher = {scorer.name: scorer.spec.higher_is_better for scorer in plan.scorers}
        _save(draw_boxplots(scores, labels, higher), folder / "figure5.png")


def _save(figure: Figure, file: Path) -> None:
    make_legible(figure)
    figure.savefig(file, dpi=110, pil_kwargs={"compress_level": 3})  # half the time of zlib's 6, files 7 % larger
