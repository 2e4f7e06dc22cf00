"""``explain.csv``: a row for each image and method, and for what failed."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from ..comparison.prediction import NOTHING, named_predictions
from ..files import write_whole
from ..models import Classifier
from .inputs import InputImage

__all__ = ["TableRow", "explained_row", "failed_row", "write_table"]


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


def explained_row(
    image: InputImage,
    classifier: Classifier,
    probabilities: Sequence[float],
    target: int,
    method: str,
    seconds: float,
    files: Sequence[Path],
) -> TableRow:
    """The row of a map that was made and written."""
    return TableRow(
        image=image.name,
        source=image.public_source,
        prediction="|".join(named_predictions(classifier, probabilities)) or NOTHING,
        target=classifier.class_names[target],
        probability=f"{probabilities[target]:.6g}",
        method=method,
        seconds=f"{seconds:.3f}",
        file="|".join(file.name for file in files),
        probabilities=" ".join(f"{value:.6g}" for value in probabilities),
    )


def failed_row(image: InputImage, error: Exception, method: str = "") -> TableRow:
    """The row of an image, or of one of its maps, that failed; the message tells no more of a patient than the name."""
    message = " ".join(image.public(str(error)).split()) or type(error).__name__
    return TableRow(image.name, image.public_source, method=method, error=message)


def write_table(path: Path, rows: Sequence[TableRow]) -> None:
    """Write the rows as UTF-8; a crash leaves the file of before."""
    text = io.StringIO()
    names = [field.name for field in fields(TableRow)]
    writer = csv.writer(text)
    writer.writerow(names)
    writer.writerows([getattr(row, name) for name in names] for row in rows)
    write_whole(path, lambda file: file.write(text.getvalue().encode("utf-8", errors="backslashreplace")))
