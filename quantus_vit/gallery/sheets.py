"""Contact sheets of a run: a page for each dozen of images, drawn when the dozen is full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..pictures import SheetColumn, SheetRow, draw_sheet
from ..pictures.explanation import RESEARCH_ONLY

__all__ = ["Sheets"]

_ROWS = 12


class Sheets:
    """Gathers rows and writes pages.

    Parameters
    ----------
    folder : pathlib.Path
    suffix : str
        ".png" or ".pdf".
    columns : sequence of SheetColumn
    """

    def __init__(self, folder: Path, suffix: str, columns: Sequence[SheetColumn]) -> None:
        self._folder, self._suffix, self._columns = folder, suffix, columns
        self._rows: list[SheetRow] = []
        self.pages: list[Path] = []

    def add(
        self,
        picture: npt.NDArray[np.float32],
        name: str,
        prediction: str,
        target: str,
        maps: Mapping[str, npt.NDArray[np.float32] | None],
    ) -> None:
        """Add an image with its map by each method, in pixels of the picture."""
        shown = [maps.get(column.name) for column in self._columns]
        notes = [f"for {target}"] * len(self._columns)
        self._rows.append(SheetRow(picture, name, f"predicted {prediction}", shown, notes))
        if len(self._rows) == _ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what there is."""
        if not self._rows:
            return
        number = len(self.pages) + 1
        path = self._folder / f"contact_sheet{'' if number == 1 else f'-{number}'}{self._suffix}"
        draw_sheet(self._rows, self._columns, title=f"{RESEARCH_ONLY} (page {number})").save(path)
        self.pages.append(path)
        self._rows = []
