"""A matplotlib figure that a notebook shows by itself, and files of it that are whole or not there.

Knows matplotlib's figure and its Agg canvas; pyplot is never imported, so nothing of a figure stays behind.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

from matplotlib import rc_context
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..files import write_whole
from .lettering import make_legible

__all__ = ["Picture"]

_DPI = 150
_PLAIN_FONTS = {"pdf.fonttype": 42, "ps.fonttype": 42, "svg.fonttype": "none"}
"""Text stays text: whole fonts are embedded in PDF and PostScript."""


class Picture(Figure):
    """A figure that shows itself at the end of a notebook's cell, whatever the backend.

    It is no figure of pyplot's: nothing keeps it alive, ``plt.show()`` does not know it, and ``save`` or
    ``savefig`` writes it.
    """

    def draw(self, renderer: RendererBase) -> None:
        """Draw it, names in any script; every file and notebook comes by here."""
        make_legible(self)
        super().draw(renderer)

    def _repr_png_(self) -> bytes:
        content = io.BytesIO()
        FigureCanvasAgg(self).print_png(content)
        return content.getvalue()

    def save(self, path: str | os.PathLike[str], dpi: float = _DPI) -> None:
        """Write the picture; the end of the name says in which format, PNG, PDF, SVG or another of matplotlib's.

        Text stays text, with its fonts embedded; a crash leaves the file of before.

        Parameters
        ----------
        path : path
        dpi : float
            Dots an inch of pictures and of what is drawn as a picture.
        """
        place = Path(path)
        kind = place.suffix.lower().lstrip(".")
        with rc_context(_PLAIN_FONTS):
            write_whole(place, lambda file: self.savefig(file, format=kind, dpi=dpi))
