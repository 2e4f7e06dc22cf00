"""Scores on disk: CSV files that grow by a row as it comes, and survive a crash in the middle of one.

Knows the rows and their files, nothing of how a score is made.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Generic, TypeVar

__all__ = ["CsvLog", "Failure", "Note", "Score", "TieBreak"]


@dataclass(frozen=True)
class Score:
    """One score: a row of ``scores.csv``.

    ``predicted`` and ``target`` are -1 where the image could not be read; ``score`` is nan where there is none.
    """

    path: str
    label: int
    predicted: int
    target: int
    method: str
    metric: str
    score: float


@dataclass(frozen=True)
class TieBreak:
    """A score under one order of equal values: a row of ``tie_breaks.csv``."""

    path: str
    method: str
    metric: str
    tie_break: int
    score: float


@dataclass(frozen=True)
class Failure:
    """Why a score is nan: a row of ``errors.csv``."""

    path: str
    method: str
    metric: str
    error: str


@dataclass(frozen=True)
class Note:
    """A warning that a method gave for an image: a row of ``notes.csv``."""

    path: str
    method: str
    note: str


Row = TypeVar("Row", Score, TieBreak, Failure, Note)

_READERS = {"int": int, "float": float, "str": str}


class CsvLog(Generic[Row]):
    """Append-only CSV file of one kind of row.

    Parameters
    ----------
    path
        The file; made with its header when missing. A last line that a crash cut short is removed.
    row_type
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
        if path.exists() and path.stat().st_size:
            self._drop_cut_line()
        if path.exists() and path.stat().st_size:
            self.rows = self._read()
        else:
            with path.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file, lineterminator="\n").writerow(self._columns)

    def append(self, rows: Iterable[Row]) -> None:
        """Write rows through to the disk, so that a crash loses none of them."""
        rows = list(rows)
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(map(astuple, rows))
            file.flush()
            os.fsync(file.fileno())
        self.rows.extend(rows)

    def _drop_cut_line(self) -> None:
        content = self.path.read_bytes()
        if not content.endswith(b"\n"):
            with self.path.open("r+b") as file:
                file.truncate(content.rfind(b"\n") + 1)

    def _read(self) -> list[Row]:
        with self.path.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            header = next(reader)
            if header != self._columns:
                raise ValueError(f"{str(self.path)!r} has columns {header}, expected {self._columns}")
            rows = []
            for values in reader:
                try:
                    rows.append(self._parse(values))
                except ValueError as error:
                    raise ValueError(f"{str(self.path)!r}, line {reader.line_num}: {error}") from error
        return rows

    def _parse(self, values: list[str]) -> Row:
        if len(values) != len(self._columns):
            raise ValueError(f"{len(values)} columns, expected {len(self._columns)}")
        kinds = (_READERS[str(field.type)] for field in fields(self.row_type))
        row: Row = self.row_type(*(kind(value) for kind, value in zip(kinds, values, strict=True)))
        return row


def finite(scores: Iterable[Score]) -> list[float]:
    """Scores that are numbers."""
    return [row.score for row in scores if not math.isnan(row.score)]
