"""Reads lists of a data set, CSV and JSON, with errors that name the file, the line and the value.

Knows the standard library only.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

__all__ = ["Rows", "index_files", "number", "read_json", "read_lines", "read_rows"]

_DELIMITERS = ",;\t"


@dataclass(frozen=True)
class Rows:
    """Rows of a CSV file.

    Parameters
    ----------
    path : str
        The file.
    columns : tuple of str
        Names of the columns, stripped of spaces.
    rows : list of (int, list of str)
        Line number and the cells, stripped, as many as there are columns.
    """

    path: str
    columns: tuple[str, ...]
    rows: list[tuple[int, list[str]]]

    def values(self, *names: str) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Line number and the cells of some columns, row by row."""
        places = [self.columns.index(name) for name in names]
        for line, cells in self.rows:
            yield line, tuple(cells[place] for place in places)

    def error(self, line: int, problem: str) -> ValueError:
        """An error about one line."""
        return ValueError(f"line {line} of {self.path!r}: {problem}")


def read_rows(path: str | os.PathLike[str], required: Sequence[str]) -> Rows:
    """Read a CSV file with a header.

    Parameters
    ----------
    path : path
        UTF-8, with or without a byte-order mark; other bytes in file names survive. Cells are parted by commas,
        semicolons or tabs, whichever makes the header hold the required columns.
    required : sequence of str
        Columns that must be there.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        A column is missing, a row is shorter or longer than the header, or the file is no CSV.
    """
    name = os.fspath(path)
    try:
        with _opened(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            header = file.readline()
            delimiter = next((sign for sign in _DELIMITERS if set(required) <= set(_header(header, sign))), ",")
            file.seek(0)
            return _checked_rows(name, csv.reader(file, delimiter=delimiter, strict=True), required)
    except csv.Error as error:
        raise ValueError(f"cannot read {name!r} as CSV, it may be damaged: {error}") from error


def _opened(
    path: str | os.PathLike[str], encoding: str, errors: str | None = None, newline: str | None = None
) -> IO[str]:
    """A text file, or what there is in its place."""
    try:
        return open(path, encoding=encoding, errors=errors, newline=newline)
    except FileNotFoundError:
        raise FileNotFoundError(f"no file {os.fspath(path)!r}") from None
    except IsADirectoryError:
        raise FileNotFoundError(f"{os.fspath(path)!r} is a folder; give a file in it") from None


def _header(line: str, delimiter: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error:
        return []


def _checked_rows(name: str, reader: Any, required: Sequence[str]) -> Rows:
    columns = tuple(cell.strip() for cell in next(reader, []))
    missing = [column for column in required if column not in columns]
    if missing:
        named = ", ".join(map(repr, columns[:12])) or "none"
        raise ValueError(f"{name!r} has no column {missing[0]!r}; its first line names {named}")
    rows = []
    for cells in reader:
        if len(cells) != len(columns):
            if not any(map(str.strip, cells)):
                continue
            # Some exports leave out commas at the end of a line, or add some.
            surplus = cells[len(columns) :]
            if any(map(str.strip, surplus)) or len(cells) < len(required):
                raise ValueError(
                    f"line {reader.line_num} of {name!r} has {len(cells)} cells, its first line {len(columns)}"
                )
            cells = cells[: len(columns)] + [""] * (len(columns) - len(cells))
        rows.append((reader.line_num, [cell.strip() for cell in cells]))
    return Rows(name, columns, rows)


def number(rows: Rows, line: int, column: str, text: str) -> float:
    """A finite number in a cell.

    Raises
    ------
    ValueError
        The cell holds something else.
    """
    try:
        value = float(text)
        if abs(value) < float("inf"):
            return value
    except ValueError:
        pass
    raise rows.error(line, f"{column} must be a number, got {text!r}")


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is damaged, or holds something else.
    """
    name = os.fspath(path)
    try:
        with _opened(path, encoding="utf-8") as file:
            content = json.load(file)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"cannot read {name!r} as JSON, it may be damaged: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{name!r} must hold a JSON object, got {type(content).__name__}")
    return content


def read_lines(path: str | os.PathLike[str]) -> list[str]:
    """Lines of a text file that are not empty."""
    text = Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    return [line.strip() for line in text.splitlines() if line.strip()]


def index_files(folders: Iterable[Path], suffixes: frozenset[str]) -> dict[str, str]:
    """Files with some ends below folders, by their name without the end; of two of one name the first in order."""
    found: dict[str, str] = {}
    for folder in folders:
        for place, names, files in os.walk(folder):
            names.sort()
            for file in sorted(files):
                stem, suffix = os.path.splitext(file)
                if suffix.lower() in suffixes and not file.startswith("."):
                    found.setdefault(stem, os.path.join(place, file))
    return found
