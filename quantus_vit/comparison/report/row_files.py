"""CSV files as records of a dataclass."""

from __future__ import annotations

import csv
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TypeVar

__all__ = ["read_rows"]

Row = TypeVar("Row")
_READERS = {"int": int, "float": float, "str": str}


def read_rows(file: Path, row_type: type[Row]) -> list[Row]:
    """Rows of a CSV file as records; none where there is no such file.

    Parameters
    ----------
    file : Path
    row_type : type
        A dataclass of numbers and texts, with a column for each field; further columns are left out.

    Raises
    ------
    ValueError
        A column is missing, or a row is damaged.
    """
    if not file.exists():
        return []
    wanted = {field.name: field for field in fields(row_type)}  # type: ignore[arg-type]
    with file.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        lacking = {name for name, field in wanted.items() if field.default is MISSING} - set(reader.fieldnames or ())
        if lacking:
            raise ValueError(f"{str(file)!r} lacks the columns {', '.join(sorted(lacking))}; run its command again")
        try:
            return [
                row_type(**{k: _READERS[str(wanted[k].type)](v) for k, v in row.items() if k in wanted})
                for row in reader
            ]
        except (ValueError, TypeError) as error:
            raise ValueError(f"{str(file)!r} is damaged at line {reader.line_num}: {error}") from error
