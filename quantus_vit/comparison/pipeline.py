"""A comparison from settings to report: run, tables, figures, page. The one place that knows all steps."""

from __future__ import annotations

import math
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from . import statistics
from .figure_data import figure4_method, gather_map_rows, gather_samples
from .figures import draw_boxplots, draw_map_rows, draw_samples
from .findings import ReportContent
from .metrics import build_scorers
from .protocol import Protocol
from .report import write_report
from .runner import ComparisonRun, XrayDataset, open_folder
from .sampling import Selection, balanced_sample
from .scores import CsvLog, Failure, Note, Score, TieBreak

__all__ = ["Outcome", "compare", "describe_environment"]


@dataclass(frozen=True)
class Outcome:
    """What a comparison found.

    Parameters
    ----------
    folder
        Where its files are.
    table
        Rows of ``table1.csv``.
    significance
        Rows of ``significance.csv``.
    selection
        The sample.
    complete
        False where the run was interrupted: the tables then stand on the images before that.
    """

    folder: Path
    table: list[statistics.TableRow]
    significance: list[statistics.SignificanceRow]
    selection: Selection
    complete: bool


def compare(
    folder: Path,
    protocol: Protocol,
    model: torch.nn.Module,
    dataset: XrayDataset,
    class_names: Sequence[str],
    device: str = "cpu",
    quiet: bool = False,
    command: str = "",
    report_only: bool = False,
) -> Outcome:
    """Run a protocol and write its tables, figures and report.

    Parameters
    ----------
    folder
        Result folder. One that holds scores of the same settings is completed, one of other settings refused.
    protocol
        The settings.
    model
        Classifier of ``(N, 3, S, S)``, in evaluation mode, on ``device``.
    dataset
        :class:`~quantus_vit.data.CovidQuEx`, :class:`~quantus_vit.data.Phantom`, or one with the same items.
    class_names
        In label order.
    device
        "cpu" or "cuda".
    quiet
        No progress bar.
    command
        The command line, for the report.
    report_only
        Score nothing more; make tables, figures and report of the scores that are there.

    Returns
    -------
    Outcome
        After an interrupt (Ctrl-C) that of the images before it; calling again completes them.

    Raises
    ------
    ValueError
        For an unknown method or metric, a folder of other settings, a method that fails on every image, or a report
        of a folder without scores.
    """
    selection = balanced_sample(dataset.labels, protocol.samples, len(class_names), protocol.sample_seed)
    if report_only and not (folder / "scores.csv").exists():
        raise ValueError(f"{str(folder)!r} holds no scores to report; run the comparison first")
    if not report_only:
        _check_masks(protocol, dataset, selection)
    environment = describe_environment(device, command) | {"sample": selection.describe(class_names)}
    open_folder(folder, protocol, environment)
    run = ComparisonRun(folder, protocol, model, dataset, selection, device)
    if not report_only:
        try:
            run.run(quiet)
        except KeyboardInterrupt:
            print("interrupted: tables of the images so far; the same command goes on from here", file=sys.stderr)
    return _summarise(folder, run, class_names, environment)


def describe_environment(device: str, command: str) -> dict[str, Any]:
    """Versions, machine and command, for the config and the report."""
    from importlib.metadata import PackageNotFoundError, version

    def installed(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            return "not installed"

    packages = ("quantus-vit", "quantus", "torch", "timm", "captum", "lime", "numpy", "scipy")
    return {
        "command": command,
        "device": torch.cuda.get_device_name()
        if device.startswith("cuda")
        else f"cpu, {torch.get_num_threads()} threads",
        "python": platform.python_version(),
        **{package: installed(package) for package in packages},
    }


def _check_masks(protocol: Protocol, dataset: XrayDataset, selection: Selection) -> None:
    """Refuse metrics that need masks where no image of the sample has one."""
    masked = [scorer for scorer in build_scorers(protocol) if scorer.mask is not None]
    if not masked:
        return
    for index in selection.indices:
        try:
            item = dataset[index]
        except (OSError, ValueError):
            continue
        if any(scorer.applies_to(item) for scorer in masked):
            return
    names = ", ".join(dict.fromkeys(scorer.name.split("[")[0] for scorer in masked))
    raise ValueError(
        f"{names} compare maps with masks, but no image of the sample has one; take phantoms, the infection part of "
        "COVID-QU-Ex (--part infection), or other metrics"
    )


def _summarise(folder: Path, run: ComparisonRun, class_names: Sequence[str], environment: dict[str, Any]) -> Outcome:
    protocol, scores, complete = run.protocol, _in_order(run), run.is_complete()
    table = statistics.table(scores)
    classes = statistics.by_class(scores, class_names)
    tests = statistics.significance(scores)
    spread = statistics.tie_spread(CsvLog(folder / "tie_breaks.csv", TieBreak).rows)
    for name, row_type, rows in (
        ("table1.csv", statistics.TableRow, table),
        ("by_class.csv", statistics.ClassRow, classes),
        ("significance.csv", statistics.SignificanceRow, tests),
        ("tie_spread.csv", statistics.SpreadRow, spread),
    ):
        statistics.write_table(folder / name, row_type, rows)
    if not scores:
        return Outcome(folder, table, tests, run.selection, complete)
    _draw_figures(folder, run, scores, class_names)
    write_report(
        folder,
        ReportContent(
            protocol=protocol,
            environment=environment,
            class_names=tuple(class_names),
            selection=run.selection,
            scores=scores,
            table=table,
            by_class=classes,
            significance=tests,
            spread=spread,
            failures=CsvLog(folder / "errors.csv", Failure).rows,
            notes=CsvLog(folder / "notes.csv", Note).rows,
            higher_is_better={scorer.name: scorer.higher_is_better for scorer in run.scorers},
            complete=complete,
        ),
    )
    return Outcome(folder, table, tests, run.selection, complete)


def _in_order(run: ComparisonRun) -> list[Score]:
    """Scores with metrics and methods in the protocol's order, whatever order they came in."""
    metrics = [scorer.name for scorer in run.scorers]
    methods = list(run.protocol.methods)
    return sorted(run.scores.rows, key=lambda row: (metrics.index(row.metric), methods.index(row.method)))


def _draw_figures(folder: Path, run: ComparisonRun, scores: Sequence[Score], class_names: Sequence[str]) -> None:
    protocol = run.protocol
    samples = gather_samples(run.dataset, run.selection, class_names)
    if samples:
        source = "synthetic phantoms" if protocol.data == "phantom" else f"{Path(protocol.data).name}, {protocol.split}"
        draw_samples(samples, source).savefig(folder / "figure1.png", dpi=110)
    method = figure4_method(protocol.methods)
    if method is not None:
        rows = gather_map_rows(run.dataset, run.selection, run.model, protocol, folder, run.device, class_names)
        if rows:
            draw_map_rows(rows, method, class_names).savefig(folder / "figure4.png", dpi=110)
    if not all(math.isnan(row.score) for row in scores):
        higher = {scorer.name: scorer.higher_is_better for scorer in run.scorers}
        draw_boxplots(scores, class_names, higher).savefig(folder / "figure5.png", dpi=120)
