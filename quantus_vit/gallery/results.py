"""What a run writes for all images together: table, maps and contact sheets; nothing where one file is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..comparison.explaining import MethodCall
from ..models import Classifier
from ..pictures import SheetColumn
from .maps_file import MapsFile
from .places import Places
from .sheets import Sheets
from .table import TableRow, write_table

__all__ = ["Results"]

Array = npt.NDArray[np.float32]


class Results:
    """Gathers, and writes at the end.

    Parameters
    ----------
    places : Places
    calls : sequence of MethodCall
    classifier : Classifier
    """

    def __init__(self, places: Places, calls: Sequence[MethodCall], classifier: Classifier) -> None:
        self._places, self._classifier = places, classifier
        columns = [SheetColumn(call.label, call.spec.sign == "signed") for call in calls]
        self._sheets = Sheets(places.out, places.sheet_suffix, columns)
        self._maps = MapsFile([call.label for call in calls], classifier.preprocessing.size)
        self._rows: list[TableRow] = []
        self._images: list[str] = []
        self._targets: list[int] = []
        self._probabilities: list[Sequence[float]] = []

    def add_row(self, row: TableRow) -> None:
        """Add a row of the table."""
        self._rows.append(row)

    def add_image(self, name: str, target: int, probabilities: Sequence[float], maps: Mapping[str, Array]) -> None:
        """Add an image's maps ``(H, W)``, in the model's pixels."""
        if self._places.is_file:
            return
        self._images.append(name)
        self._targets.append(target)
        self._probabilities.append(probabilities)
        self._maps.add(maps)

    def add_to_sheet(self, picture: Array, name: str, prediction: str, target: str, maps: Mapping[str, Array]) -> None:
        """Add an image to the contact sheets."""
        if not self._places.is_file:
            self._sheets.add(picture, name, prediction, target, maps)

    def finish(self) -> tuple[Path, ...]:
        """Write what has been gathered.

        Returns
        -------
        tuple of pathlib.Path
        """
        try:
            if self._places.is_file:
                return ()
            table = self._places.out / "explain.csv"
            write_table(table, self._rows)
            if not self._images:
                return (table,)
            self._sheets.flush()
            maps = self._places.out / "maps.npz"
            names = self._classifier.class_names
            self._maps.save(
                maps,
                {
                    "images": np.array(self._images),
                    "targets": np.array(self._targets),
                    "probabilities": np.array(self._probabilities, dtype=np.float64),
                    "class_names": np.array(names),
                },
            )
            return (table, maps, *self._sheets.pages)
        finally:
            self._maps.close()
