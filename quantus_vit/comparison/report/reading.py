"""A result folder as its report reads it: settings, facts, rows of every table, pictures and maps.

Knows files and the rows' dataclasses; it needs no model and no data set.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..folder import PICTURES
from ..maps import MapStore
from ..meta_evaluation import MetaRow
from ..pictures import PictureStore
from ..rank_rows import RankRow
from ..scores import Curve, Failure, Note, Prediction, Score
from ..sensitivity import AgreementRow, SensitivityRow
from ..significance import SignificanceRow
from ..statistics import ClassRow, SpreadRow, TableRow
from .recording import RUN_FILE
from .row_files import read_rows

__all__ = ["CaseFacts", "MethodFacts", "MetricFacts", "RunFolder", "read_run"]

Row = TypeVar("Row")


@dataclass(frozen=True)
class CaseFacts:
    """A case: the image's identity, the compared label, the model's output for it, and the number of the patient."""

    path: str
    label: str
    target: int
    patient: int | None

    @property
    def key(self) -> tuple[str, str]:
        """What no two cases of a run share."""
        return self.path, self.label


@dataclass(frozen=True)
class MethodFacts:
    """A compared method: ``role`` is "method" or "control", ``sign`` "signed" or "positive"."""

    label: str
    name: str
    role: str
    sign: str
    summary: str

    @property
    def title(self) -> str:
        """The label, with a word where it is a control."""
        return f"{self.label} (control)" if self.role == "control" else self.label


@dataclass(frozen=True)
class MetricFacts:
    """A row of the tables by metrics."""

    row: str
    name: str
    category: str
    higher_is_better: bool
    summary: str


@dataclass(frozen=True)
class RunFolder:
    """A result folder. Tables are read when they are asked for; those that are not there are empty.

    Parameters
    ----------
    folder : Path
    name : str
        What tells it from the other runs of a page.
    protocol, environment : mapping
        As ``config.json`` has them.
    facts : mapping
        ``run.json``.
    """

    folder: Path
    name: str
    protocol: Mapping[str, Any]
    environment: Mapping[str, Any]
    facts: Mapping[str, Any]

    @cached_property
    def cases(self) -> tuple[CaseFacts, ...]:
        """The compared cases, in the order of the sample."""
        return tuple(CaseFacts(**case) for case in self.facts["cases"])

    @cached_property
    def methods(self) -> tuple[MethodFacts, ...]:
        """The compared methods, in the protocol's order."""
        return tuple(MethodFacts(**method) for method in self.facts["methods"])

    @cached_property
    def metrics(self) -> tuple[MetricFacts, ...]:
        """The metrics' rows, in the protocol's order."""
        return tuple(MetricFacts(**metric) for metric in self.facts["metrics"])

    @cached_property
    def table(self) -> list[TableRow]:
        """Rows of ``table1.csv``."""
        return self._rows("table1.csv", TableRow)

    @cached_property
    def significance(self) -> list[SignificanceRow]:
        """Rows of ``significance.csv``."""
        return self._rows("significance.csv", SignificanceRow)

    @cached_property
    def ranks(self) -> list[RankRow]:
        """Rows of ``ranks.csv``."""
        return self._rows("ranks.csv", RankRow)

    @cached_property
    def by_class(self) -> list[ClassRow]:
        """Rows of ``by_class.csv``."""
        return self._rows("by_class.csv", ClassRow)

    @cached_property
    def by_prediction(self) -> list[ClassRow]:
        """Rows of ``by_prediction.csv``."""
        return self._rows("by_prediction.csv", ClassRow)

    @cached_property
    def by_confidence(self) -> list[ClassRow]:
        """Rows of ``by_confidence.csv``."""
        return self._rows("by_confidence.csv", ClassRow)

    @cached_property
    def spread(self) -> list[SpreadRow]:
        """Rows of ``tie_spread.csv``."""
        return self._rows("tie_spread.csv", SpreadRow)

    @cached_property
    def meta(self) -> list[MetaRow]:
        """Rows of ``meta_evaluation.csv``."""
        return self._rows("meta_evaluation.csv", MetaRow)

    @cached_property
    def sensitivity(self) -> list[SensitivityRow]:
        """Rows of ``sensitivity.csv``."""
        return self._rows("sensitivity.csv", SensitivityRow)

    @cached_property
    def sensitivity_agreement(self) -> list[AgreementRow]:
        """Rows of ``sensitivity_agreement.csv``."""
        return self._rows("sensitivity_agreement.csv", AgreementRow)

    @cached_property
    def scores(self) -> list[Score]:
        """Rows of ``scores.csv`` that belong to a case, method and metric of the run, each once."""
        cases, methods = {case.key for case in self.cases}, {method.label for method in self.methods}
        metrics = {metric.row for metric in self.metrics}
        found: dict[Any, Score] = {}
        for row in self._rows("scores.csv", Score):
            if (row.path, row.label) in cases and row.method in methods and row.metric in metrics:
                found.setdefault(row.key, row)
        return list(found.values())

    @cached_property
    def predictions(self) -> dict[tuple[str, str], Prediction]:
        """What the model says, by case."""
        return {(row.path, row.label): row for row in self._rows("predictions.csv", Prediction)}

    @cached_property
    def targets(self) -> dict[tuple[str, str], int]:
        """The model's output that the maps of each case explain; a case without a prediction may lack one."""
        if self.protocol["target"] == "label":
            return {case.key: case.target for case in self.cases}
        return {key: int(np.argmax(row.values())) for key, row in self.predictions.items()}

    @cached_property
    def curves(self) -> list[Curve]:
        """Rows of ``curves.csv`` of the run's cases; where a case was scored twice, the later."""
        cases = {case.key for case in self.cases}
        rows = self._rows("curves.csv", Curve)
        kept = {(r.path, r.label, r.method, r.metric, r.order): r for r in rows if (r.path, r.label) in cases}
        return list(kept.values())

    @cached_property
    def owners(self) -> dict[tuple[str, str], int | str]:
        """Whom each case belongs to: the patient's number, or the image where the data name no patient."""
        return {case.key: case.path if case.patient is None else case.patient for case in self.cases}

    @cached_property
    def failures(self) -> list[Failure]:
        """Rows of ``errors.csv``."""
        return self._rows("errors.csv", Failure)

    @cached_property
    def notes(self) -> list[Note]:
        """Rows of ``notes.csv``."""
        return self._rows("notes.csv", Note)

    @cached_property
    def pictures(self) -> PictureStore:
        """Pictures of the cases."""
        return PictureStore(self.folder / PICTURES)

    @cached_property
    def maps(self) -> MapStore:
        """Maps of the cases."""
        return MapStore(self.folder / "maps")

    def other_table(self, name: str) -> tuple[list[str], list[list[Any]]]:
        """Columns and rows of a CSV file of any columns; a column of numbers alone is read as numbers."""
        file = self.folder / name
        if not file.exists():
            return [], []
        with file.open(newline="", encoding="utf-8") as stream:
            header, *rows = list(csv.reader(stream)) or [[]]
        columns = [_as_numbers([row[index] for row in rows]) for index in range(len(header))]
        return header, [list(cells) for cells in zip(*columns, strict=True)]

    def _rows(self, name: str, row_type: type[Row]) -> list[Row]:
        return read_rows(self.folder / name, row_type)


def _as_numbers(cells: Sequence[str]) -> list[Any]:
    try:
        numbers = [math.nan if cell == "" else float(cell) for cell in cells]
    except ValueError:
        return list(cells)
    whole = all(cell.lstrip("-").isdigit() for cell in cells)
    return [int(number) for number in numbers] if whole else numbers


def read_run(folder: Path, name: str = "") -> RunFolder:
    """Open a result folder.

    Parameters
    ----------
    folder : Path
    name : str
        By default the folder's.

    Raises
    ------
    FileNotFoundError
        It is no result folder.
    ValueError
        It was written before reports could be rebuilt without model and data, or a file is damaged.
    """
    config, facts = folder / "config.json", folder / RUN_FILE
    if not config.exists() or not (folder / "scores.csv").exists():
        raise FileNotFoundError(f"{str(folder)!r} is no result folder of 'quantus-vit compare': it lacks scores.csv")
    if not facts.exists():
        raise ValueError(
            f"{str(folder)!r} has no {RUN_FILE}, which a report is made from; run its 'quantus-vit compare' command "
            "once more with --report-only"
        )
    try:
        settings, found = (json.loads(file.read_text(encoding="utf-8")) for file in (config, facts))
        lacking = {"cases", "methods", "metrics", "labels", "complete"} - found.keys()
        if lacking:
            raise KeyError(min(lacking))
        name = name or folder.resolve().name
        return RunFolder(folder, name, settings["protocol"], settings["environment"], found)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise ValueError(f"{str(folder)!r} holds a damaged config.json or {RUN_FILE}: {reason}") from error
