"""What a figure for print is, and how it is written: one record a figure, one table, one style.

Fonts are embedded as TrueType (``pdf.fonttype`` 42), so that a publisher can edit and search them; text has 6 points or
more at the printed width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...pictures import elided, make_legible, width_of
from ...tables import Table
from ..report.reading import MethodFacts, RunFolder, read_run

__all__ = ["FIGURES", "TALLEST", "WIDTHS", "FigureSpec", "PrintRequest", "draw_places", "fitted", "print_figures"]

WIDTHS = {"column": 3.5, "page": 7.2}
"""Inches of one and of two columns of a journal."""

TALLEST = 9.2
"""Inches of a journal's page; a figure of more panels than fit shows the first of them."""

FOLDER = "figures"
_DPI = 300
_STYLE = {
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "font.family": "DejaVu Sans",
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.labelsize": 7,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.1,
}


@dataclass(frozen=True)
class PrintRequest:
    """What is to be drawn.

    Parameters
    ----------
    run : RunFolder
    methods : tuple of MethodFacts
        The methods that are shown.
    width : float
        Of the figure, in inches.
    """

    run: RunFolder
    methods: tuple[MethodFacts, ...]
    width: float

    @property
    def is_narrow(self) -> bool:
        """Whether it is for one column."""
        return self.width < sum(WIDTHS.values()) / 2


@dataclass(frozen=True)
class FigureSpec:
    """A figure for print.

    Parameters
    ----------
    name, summary : str
    draw : callable
        ``draw(request)`` returns the figure, or None where the run has no data for it. Called in the style of print.
    """

    name: str
    summary: str
    draw: Callable[[PrintRequest], Figure | None]


FIGURES: Table[FigureSpec] = Table("figure", FigureSpec)
"""The figures for print; filled by the modules of this folder."""


def print_figures(folder: Path, names: Sequence[str], methods: Sequence[str] = ()) -> list[Path]:
    """Write figures of a result folder into its folder "figures".

    Parameters
    ----------
    folder : Path
        Result folder of ``compare``.
    names : sequence of str
        Of :data:`FIGURES`; "all" for every one that the run has data for.
    methods : sequence of str
        As the run names them; none for all that are no controls.

    Returns
    -------
    list of Path
        ``NAME-column.pdf``, ``NAME-column.png``, and the same with "page".

    Raises
    ------
    ValueError
        A figure or method is unknown, or the run has no data for a figure that was named.
    FileNotFoundError
        The folder holds no results.
    """
    run = read_run(folder)
    shown = _methods(run, methods)
    specs = list(FIGURES) if "all" in names else [FIGURES[name] for name in dict.fromkeys(names)]
    files = []
    with rc_context(_STYLE):
        for spec in specs:
            for name, width in WIDTHS.items():
                figure = spec.draw(PrintRequest(run, shown, width))
                if figure is None and "all" not in names:
                    raise ValueError(f"{str(folder)!r} has no data for the figure {spec.name!r}: {spec.summary}")
                if figure is not None:
                    files += _save(figure, folder / FOLDER, f"{spec.name}-{name}")
    return files


def fitted(name: str, room: float, size: float = 6.5) -> str:
    """A name in the room, in inches: on two lines, the options on the second, where one is too short; elided last."""
    before, bracket, options = name.partition("[")
    lines = [before, bracket + options] if bracket and width_of(name, size) > 72 * room else [name]
    return "\n".join(elided(line, size, 72 * room) for line in lines)


def draw_places(axes: Axes, places: npt.NDArray[Any], texts: Sequence[Sequence[str]]) -> None:
    """Draw a heat map of places, dark where they are good, without a frame.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    places : ndarray
        ``(rows, columns)``, 1 is the best; nan for none.
    texts : sequence of sequence of str
        What stands in each cell that has a place.
    """
    last = max(2.0, float(np.nanmax(places)))
    axes.imshow(places, cmap="Blues_r", vmin=1, vmax=1.15 * last, aspect="auto", interpolation="nearest")
    for (i, j), place in np.ndenumerate(places):
        if place == place:
            colour = "white" if place <= 0.45 * last else "black"
            axes.text(j, i, texts[i][j], ha="center", va="center", fontsize=6, color=colour)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _methods(run: RunFolder, names: Sequence[str]) -> tuple[MethodFacts, ...]:
    known = {method.label: method for method in run.methods}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"unknown method {unknown[0]!r}; the run has {', '.join(known)}")
    chosen = [known[name] for name in dict.fromkeys(names)]
    return tuple(chosen or [method for method in run.methods if method.role != "control"] or run.methods)


def _save(figure: Figure, folder: Path, name: str) -> list[Path]:
    folder.mkdir(exist_ok=True)
    make_legible(figure)
    files = [folder / f"{name}.pdf", folder / f"{name}.png"]
    for file in files:
        figure.savefig(file, dpi=_DPI)
    return files
