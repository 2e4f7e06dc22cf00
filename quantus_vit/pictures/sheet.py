"""A contact sheet: rows of images, each beside its maps by several methods.

Everything has its place by measure, not by a layout engine, so that a sheet of a hundred cells is drawn in a second and
no text is cut off or lies over another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy.typing as npt
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.ticker import FuncFormatter, LinearLocator

from .drawing import TISSUE, arrows_of, draw_relevance, draw_xray
from .lettering import elided, width_of
from .picture import Picture
from .scales import diverging, is_signed, label_of, scale_of, sequential, shared_scale

__all__ = ["ScaleKind", "SheetColumn", "SheetRow", "draw_sheet"]

Array = npt.NDArray[Any]
ScaleKind = Literal["own", "shared"]

_CELL, _GAP, _GROUP_GAP, _MARGIN = 1.9, 0.08, 0.3, 0.12
_HEADER, _TITLE, _BAR = 0.36, 0.42, 0.72
"""Measures in inches; the header is that of a cell, two lines of text."""

_FONT, _TITLE_FONT = 7.5, 12.0
_LINE = 0.145
_WIDEST = 1.5
"""Width of a sheet to its height, up to which images stand side by side."""


@dataclass(frozen=True)
class SheetColumn:
    """A method of a sheet.

    Parameters
    ----------
    name : str
    signed : bool
        Whether negative values of its maps mean something; where there are any, they are shown in any case.
    """

    name: str
    signed: bool


@dataclass(frozen=True)
class SheetRow:
    """An image of a sheet.

    Parameters
    ----------
    picture : numpy.ndarray
        ``(H, W)`` or ``(H, W, 3)`` in [0, 1].
    name, note : str
        The two lines above it.
    maps : sequence of numpy.ndarray or None
        One ``(h, w)`` for each column; None where there is none.
    notes : sequence of str
        What each map explains, such as a class; empty where there is nothing to say.
    """

    picture: Array
    name: str
    note: str
    maps: Sequence[Array | None]
    notes: Sequence[str] = ()


def draw_sheet(
    rows: Sequence[SheetRow], columns: Sequence[SheetColumn], scale: ScaleKind = "own", title: str = ""
) -> Picture:
    """Draw a sheet.

    Parameters
    ----------
    rows : sequence of SheetRow
    columns : sequence of SheetColumn
    scale : str
        "own": each map up to its own full scale, which stands above it, as classes and images differ in strength by
        far; "shared": the maps of a method on one scale.
    title : str
        Above everything.

    Returns
    -------
    Picture
    """
    if scale not in ("own", "shared"):
        raise ValueError(f"scale must be 'own' or 'shared', got {scale!r}")
    columns = [
        replace(column, signed=column.signed or any(_is_negative(row.maps[at]) for row in rows))
        for at, column in enumerate(columns)
    ]
    plan = _Plan.of(rows, columns, bool(title), _shared_scales(rows, columns, scale))
    figure = Picture(figsize=plan.size)
    if title:
        room = (plan.size[0] - 2 * _MARGIN) * 72
        # Smaller letters rather than fewer: a title may be a warning.
        size = max(_FONT, min(_TITLE_FONT, _TITLE_FONT * 0.98 * room / max(1.0, width_of(title, _TITLE_FONT))))
        _write(figure, plan, _MARGIN, _MARGIN + 0.2, elided(title, size, room), size)
    for index, row in enumerate(rows):
        _draw_row(figure, plan, index, row, columns)
    _draw_bars(figure, plan)
    return figure


def _is_negative(relevance: Array | None) -> bool:
    return relevance is not None and bool((relevance < 0).any())


@dataclass(frozen=True)
class _Bar:
    colours: Colormap
    scale: Normalize
    label: str


@dataclass(frozen=True)
class _Plan:
    """Where everything stands, in inches from the left upper corner."""

    groups: int
    height: float
    size: tuple[float, float]
    top: float
    columns: int
    bars: Sequence[_Bar]
    scales: Sequence[tuple[Colormap, Normalize]] | None

    @classmethod
    def of(
        cls,
        rows: Sequence[SheetRow],
        columns: Sequence[SheetColumn],
        titled: bool,
        scales: Sequence[tuple[Colormap, Normalize]] | None,
    ) -> _Plan:
        """As many images side by side as make the sheet about as wide as it is high."""
        bars = _bars_of(columns, scales)
        height = _CELL * min(1.3, max(row.picture.shape[0] / row.picture.shape[1] for row in rows))
        top = _MARGIN + (_TITLE if titled else 0.0)
        cells = 1 + len(columns)

        def size(groups: int) -> tuple[float, float]:
            width = groups * (cells * (_CELL + _GAP) - _GAP) + (groups - 1) * _GROUP_GAP + 2 * _MARGIN
            lines = math.ceil(len(rows) / groups)
            return width, top + lines * (height + _HEADER + _GAP) + _BAR * len(bars) + _MARGIN

        fitting = [groups for groups in range(1, len(rows) + 1) if size(groups)[0] <= _WIDEST * size(groups)[1]]
        groups = max(fitting, default=1)
        return cls(groups, height, size(groups), top, cells, bars, scales)

    def cell(self, index: int, column: int) -> tuple[float, float]:
        """Left upper corner of a cell's header."""
        line, group = divmod(index, self.groups)
        left = _MARGIN + group * (self.columns * (_CELL + _GAP) - _GAP + _GROUP_GAP) + column * (_CELL + _GAP)
        return left, self.top + line * (self.height + _HEADER + _GAP)

    def axes_at(self, figure: Picture, left: float, top: float, width: float, height: float) -> Any:
        """Axes at a place."""
        across, down = self.size
        return figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))


def _shared_scales(
    rows: Sequence[SheetRow], columns: Sequence[SheetColumn], scale: ScaleKind
) -> Sequence[tuple[Colormap, Normalize]] | None:
    """The scale of each column, where its maps share one."""
    if scale == "own":
        return None
    return [
        shared_scale([relevance for row in rows if (relevance := row.maps[at]) is not None], column.signed)
        for at, column in enumerate(columns)
    ]


def _bars_of(columns: Sequence[SheetColumn], scales: Sequence[tuple[Colormap, Normalize]] | None) -> list[_Bar]:
    if scales is not None:
        return [
            _Bar(colours, scale, f"{column.name}: {label_of(scale)}")
            for column, (colours, scale) in zip(columns, scales, strict=True)
        ]
    own = ((sequential(), Normalize(0, 1)), (diverging(), Normalize(-1, 1)))
    needed = {column.signed for column in columns}
    return [
        _Bar(colours, scale, label_of(scale, "relevance / full scale"))
        for colours, scale in own
        if is_signed(scale) in needed
    ]


def _draw_row(figure: Picture, plan: _Plan, index: int, row: SheetRow, columns: Sequence[SheetColumn]) -> None:
    left, top = plan.cell(index, 0)
    _write_header(figure, plan, left, top, row.name, row.note)
    draw_xray(plan.axes_at(figure, left, top + _HEADER, _CELL, plan.height), row.picture)
    for at, column in enumerate(columns):
        left, top = plan.cell(index, at + 1)
        axes = plan.axes_at(figure, left, top + _HEADER, _CELL, plan.height)
        draw_xray(axes, row.picture)
        note, relevance = row.notes[at] if row.notes else "", row.maps[at]
        if relevance is None:
            axes.text(0.5, 0.5, "no map", transform=axes.transAxes, ha="center", color="white", fontsize=_FONT + 2)
        elif plan.scales is None:
            colours, scale = scale_of(relevance, signed=column.signed)
            draw_relevance(axes, relevance, colours, scale, row.picture.shape[:2])
            note = f"{note}{', ' if note else ''}full scale {scale.vmax:.2g}"
        else:
            draw_relevance(axes, relevance, *plan.scales[at], row.picture.shape[:2])
        _write_header(figure, plan, left, top, column.name, note)


def _write_header(figure: Picture, plan: _Plan, left: float, top: float, first: str, second: str) -> None:
    for line, text in enumerate((first, second) if second else ("", first)):
        fitting = elided(text, _FONT, _CELL * 72)
        _write(figure, plan, left, top + (line + 1) * _LINE, fitting, _FONT, "0.25" if line and second else "black")


def _write(
    figure: Picture, plan: _Plan, left: float, baseline: float, text: str, size: float, colour: str = "black"
) -> None:
    across, down = plan.size
    figure.text(
        left / across, 1 - baseline / down, text, fontsize=size, va="baseline", parse_math=False, color=colour
    )  # fmt: skip


def _draw_bars(figure: Picture, plan: _Plan) -> None:
    """The colour bars, one below the other at the foot."""
    width = min(4.0, plan.size[0] - 2 * _MARGIN - 0.6)
    top = plan.size[1] - _MARGIN - _BAR * len(plan.bars)
    for number, bar in enumerate(plan.bars):
        axes = plan.axes_at(figure, _MARGIN + 0.3, top + number * _BAR + 0.12, width, 0.16)
        drawn = figure.colorbar(
            ScalarMappable(bar.scale, bar.colours), cax=axes, orientation="horizontal", ticks=LinearLocator(5),
            format=FuncFormatter(_short), extend=arrows_of(bar.scale),
        )  # fmt: skip
        axes.set_facecolor(TISSUE)
        drawn.set_label(bar.label, fontsize=_FONT)
        axes.tick_params(labelsize=_FONT)


def _short(value: float, _: int | None = None) -> str:
    return f"{value:.3g}".replace("-", "\N{MINUS SIGN}")
