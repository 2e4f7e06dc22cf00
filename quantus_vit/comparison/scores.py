"""Scores on disk: CSV files that grow by a row as it comes, and survive a crash in the middle of one.

Knows the rows and their files, nothing of how a score is made.
"""

from __future__ import annotations

import csv
import math
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["CsvLog", "Curve", "Failure", "MaskArea", "Note", "Prediction", "Score", "TieBreak", "finite"]


@dataclass(frozen=True)
class Score:
    """One score: a row of ``scores.csv``.

    ``path`` is the image's identity: its place below the data's root. ``label`` is the data's, ``predicted`` and
    ``target`` are names of the model's outputs; these two are empty where the image could not be read. ``score`` is nan
    where there is none.
    """

    path: str
    label: str
    predicted: str
    target: str
    method: str
    metric: str
    score: float

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What no two rows of a run share."""
        return self.path, self.label, self.method, self.metric


@dataclass(frozen=True)
class TieBreak:
    """A score under one order of equal values: a row of ``tie_breaks.csv``."""

    path: str
    label: str
    method: str
    metric: str
    tie_break: int
    score: float

    @property
    def key(self) -> tuple[str, str, str, str, int]:
        """What no two rows of a complete run share."""
        return self.path, self.label, self.method, self.metric, self.tie_break


@dataclass(frozen=True)
class Prediction:
    """What the model says of a case: a row of ``predictions.csv``.

    ``correct`` is 1 where it agrees with the label, else 0. ``probabilities`` are of all outputs, parted by spaces.
    """

    path: str
    label: str
    predicted: str
    correct: int
    probabilities: str

    def values(self) -> list[float]:
        """The probabilities as numbers."""
        return [float(text) for text in self.probabilities.split()]


@dataclass(frozen=True)
class Failure:
    """Why there is no score: a row of ``errors.csv``.

    ``cause`` is "image" where the image, or a method or metric on it, failed: its scores are nan. "machine" where the
    machine did (memory, disk, network): there is no score, and every later run tries again. ``method`` and ``metric``
    are empty where it happened before them.
    """

    path: str
    label: str
    method: str
    metric: str
    cause: str
    error: str

    def explains(self, score: Score) -> bool:
        """Whether it is the reason for a nan."""
        return (
            (self.path, self.label) == (score.path, score.label)
            and self.method in ("", score.method)
            and self.metric in ("", score.metric)
        )


@dataclass(frozen=True)
class Note:
    """A warning that a method gave for a case: a row of ``notes.csv``."""

    path: str
    label: str
    method: str
    note: str


@dataclass(frozen=True)
class Curve:
    """How the target's output falls while a map's patches are removed: a row of ``curves.csv``.

    ``order`` is "mif" where the most relevant patches go first, "lif" where the least relevant do. ``outputs`` are the
    model's, from nothing removed to everything in equal steps, parted by spaces.
    """

    path: str
    label: str
    method: str
    metric: str
    order: str
    outputs: str

    @property
    def key(self) -> tuple[str, str, str, str, str]:
        """What no two rows of a complete run share."""
        return self.path, self.label, self.method, self.metric, self.order

    def values(self) -> list[float]:
        """The outputs as numbers."""
        return [float(text) for text in self.outputs.split()]


@dataclass(frozen=True)
class MaskArea:
    """How much of a case's image a mask covers, in [0, 1], at the model's pixels: a row of ``mask_areas.csv``."""

    path: str
    label: str
    mask: str
    share: float

    @property
    def key(self) -> tuple[str, str, str]:
        """What no two rows of a complete run share."""
        return self.path, self.label, self.mask


Row = TypeVar("Row", bound="DataclassInstance")

# Names come again in every row: one string for all of them makes a row in memory a third as large.
_READERS: dict[str, Callable[[str], Any]] = {"int": int, "float": float, "str": sys.intern}


class CsvLog(Generic[Row]):
    """Append-only CSV file of one kind of row.

    Parameters
    ----------
    path : Path
        The file; made with its header when missing. A last line that a crash cut short is removed.
    row_type : type
        The dataclass of a row; its fields are the columns.

    Raises
    ------
    ValueError
        If the file's header is another, or a complete line cannot be read; the message names the file and line.
    """

    def __init__(self, path: Path, row_type: type[Row]) -> None:
        self.path = path
        self.row_type: type[Row] = row_type
        self._columns = [field.name for field in fields(row_type)]
        self.rows: list[Row] = []
        if path.exists():
            self._drop_cut_line()
        if path.exists() and path.stat().st_size:
            self.rows = self._read()
        else:
            self.replace([])

    def append(self, rows: Iterable[Row]) -> None:
        """Write rows through to the disk, so that a crash loses none of them."""
        rows = list(rows)
        if not rows:
            return
        with self.path.open("a", newline="", encoding="utf-8", errors="backslashreplace") as file:
            csv.writer(file, lineterminator="\n").writerows(map(astuple, rows))
            file.flush()
            os.fsync(file.fileno())
        self.rows.extend(rows)

    def replace(self, rows: Iterable[Row]) -> None:
        """Write the whole file anew; a crash leaves the old one or the new one."""
        rows = list(rows)
        partial = self.path.with_name(f".{self.path.name}.new")
        with partial.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(self._columns)
            writer.writerows(map(astuple, rows))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.path)
        self.rows = rows

    def _drop_cut_line(self) -> None:
        content = self.path.read_bytes()
        if not content.endswith(b"\n"):
            with self.path.open("r+b") as file:
                file.truncate(content.rfind(b"\n") + 1)

    def _read(self) -> list[Row]:
        rows: list[Row] = []
        line = 1
        try:
            with self.path.open(newline="", encoding="utf-8") as file:
                reader = csv.reader(file, strict=True)
                header = next(reader)
                if header != self._columns:
                    raise ValueError(f"the columns are {', '.join(header)}; expected {', '.join(self._columns)}")
                kinds = [_READERS[str(field.type)] for field in fields(self.row_type)]
                for values in reader:
                    line = reader.line_num
                    if len(values) != len(kinds):
                        raise ValueError(f"{len(values)} columns, expected {len(kinds)}")
                    rows.append(self.row_type(*[kind(value) for kind, value in zip(kinds, values, strict=True)]))
                    line += 1
        except (ValueError, csv.Error) as error:  # a UnicodeDecodeError is a ValueError
            raise ValueError(
                f"{str(self.path)!r} is damaged at line {line}: {error}; mend or remove it, or take another folder"
            ) from error
        return rows


def finite(scores: Iterable[Score]) -> list[float]:
    """Scores that are numbers."""
    return [row.score for row in scores if not math.isnan(row.score)]
