"""``explain.csv``: a row for each image and method, and for what failed."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from ..files import write_whole

__all__ = ["TableRow", "write_table"]


@dataclass(frozen=True)
class TableRow:
    """A row.

    Parameters
    ----------
    image : str
        Its name of this run.
    source : str
        Its file as it was named; empty for a DICOM file, whose name may tell the patient, unless names are asked for.
    prediction : str
        What the model predicts, names parted by "|".
    target, probability : str
        The explained output, and the model's probability of it.
    method : str
    seconds : str
        That the map took; of images that were explained together the same share each.
    file : str
        Names of its files in the folder, parted by "|".
    error : str
        Why there is none; else empty.
    probabilities : str
        Of all outputs in the model's order, parted by spaces.
    """

    image: str
    source: str = ""
    prediction: str = ""
    target: str = ""
    probability: str = ""
    method: str = ""
    seconds: str = ""
    file: str = ""
    error: str = ""
    probabilities: str = ""


def write_table(path: Path, rows: Sequence[TableRow]) -> None:
    """Write the rows as UTF-8; a crash leaves the file of before."""
    text = io.StringIO()
    names = [field.name for field in fields(TableRow)]
    writer = csv.writer(text)
    writer.writerow(names)
    writer.writerows([getattr(row, name) for name in names] for row in rows)
    write_whole(path, lambda file: file.write(text.getvalue().encode("utf-8", errors="backslashreplace")))
