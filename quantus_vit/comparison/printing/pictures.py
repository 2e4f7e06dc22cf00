"""Figures 1 and 4 for print: samples of each class, and the maps of any methods side by side."""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...pictures import add_colour_bar, draw_relevance, draw_xray, is_signed, scale_of
from ..figures.maps import draw_outlines
from ..pictures import Picture
from ..report.reading import CaseFacts, RunFolder
from .base import FigureSpec, PrintRequest, fitted

__all__ = ["SPECS", "draw_printed_maps", "draw_printed_samples"]

_MOST_CLASSES = 6
_BAR = 0.55
"""Inches for the colour bars."""
_OUTLINE = 0.6
"""Points of the outlines' lines."""


def draw_printed_samples(request: PrintRequest) -> Figure | None:
    """Samples of each class, a row for each."""
    columns = 3 if request.is_narrow else 6
    rows = {label: pictures for label, pictures in _samples(request.run, columns).items() if pictures}
    if not rows:
        return None
    columns = max(map(len, rows.values()))
    cell = (request.width - 0.2) / columns
    figure = Figure(figsize=(request.width, cell * len(rows)), layout="constrained")
    _tighten(figure)
    for axes_row, (label, pictures) in zip(
        figure.subplots(len(rows), columns, squeeze=False), rows.items(), strict=True
    ):
        for axes in axes_row[len(pictures) :]:
            axes.set_axis_off()
        for axes, picture in zip(axes_row, pictures, strict=False):
            draw_xray(axes, picture.grey / 255)
        axes_row[0].set_ylabel(label)
    return figure


def _samples(run: RunFolder, count: int) -> dict[str, list[Picture]]:
    found: dict[str, list[Picture]] = {label: [] for label in run.facts["labels"]}
    for case in run.cases:
        picture = run.pictures.load(*case.key) if len(found[case.label]) < count else None
        if picture is not None:
            found[case.label].append(picture)
    return found


def draw_printed_maps(request: PrintRequest) -> Figure | None:
    """X-ray and map of every method for one image of each class: the first predicted right, else the first.

    Where the methods do not fit beside each other, they go on in a second block of rows. Each map has its own scale,
    from 0 (or symmetric around it) to the 99.5th percentile of its absolute values.
    """
    run, rows = request.run, list(_examples(request.run))
    if not rows:
        return None
    beside = 4 if request.is_narrow else 7
    blocks = [request.methods[start : start + beside - 1] for start in range(0, len(request.methods), beside - 1)]
    columns = 1 + max(map(len, blocks))
    cell = (request.width - 0.2) / max(columns, 3)
    height = len(blocks) * (len(rows) * cell + 0.2) + _BAR
    figure = Figure(figsize=(request.width, height), layout="constrained")
    _tighten(figure)
    grid = figure.subplots(len(blocks) * len(rows), columns, squeeze=False)
    signs = set()
    for number, methods in enumerate(blocks):
        for index, (case, picture) in enumerate(rows):
            axes_row = grid[number * len(rows) + index]
            for axes in axes_row[1 + len(methods) :]:
                axes.set_axis_off()
            draw_xray(axes_row[0], picture.grey / 255)
            draw_outlines(axes_row[0], picture.masks, _OUTLINE)
            axes_row[0].set_ylabel(case.label)
            for axes, method in zip(axes_row[1:], methods, strict=False):
                signs |= _map(axes, run, case, picture, method.label)
                if index == 0:
                    axes.set_title(fitted(method.label, cell - 0.04), fontsize=6.5)
        grid[number * len(rows)][0].set_title("X-ray")
    for signed in sorted(signs):
        colours, scale = scale_of(1.0, signed)
        label = "relevance / own scale (orange: for the class, purple: against)" if signed else "relevance / own scale"
        bar = add_colour_bar(figure, colours, scale, grid, label, location="bottom", aspect=60, pad=0.01, shrink=0.8)
        bar.ax.tick_params(labelsize=6)
        bar.set_label(label, fontsize=6.5)
    return figure


def _examples(run: RunFolder) -> Iterator[tuple[CaseFacts, Picture]]:
    for label in run.facts["labels"][:_MOST_CLASSES]:
        cases = [case for case in run.cases if case.label == label and case.key in run.predictions]
        cases.sort(key=lambda case: not run.predictions[case.key].correct)
        for case in cases:
            picture = run.pictures.load(*case.key)
            if picture is not None:
                yield case, picture
                break


def _map(axes: Axes, run: RunFolder, case: CaseFacts, picture: Picture, method: str) -> set[bool]:
    """Draw a map, or say that there is none; returns whether it is signed."""
    target = run.targets.get(case.key)
    relevance = None if target is None else run.maps.load(case.path, target, method)
    draw_xray(axes, picture.grey / 255)
    if relevance is None:
        axes.text(0.5, 0.5, "no map", ha="center", va="center", color="white", transform=axes.transAxes)
        return set()
    colours, scale = scale_of(relevance[0])
    draw_relevance(axes, relevance[0], colours, scale)
    draw_outlines(axes, picture.masks, _OUTLINE)
    return {is_signed(scale)}


def _tighten(figure: Figure) -> None:
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.set(w_pad=0.015, h_pad=0.015, wspace=0.01, hspace=0.01)  # type: ignore[call-arg]


SPECS = (
    FigureSpec("samples", "figure 1 of the paper: samples of each class", draw_printed_samples),
    FigureSpec("maps", "figure 4 with any methods: X-ray and maps for one image of each class", draw_printed_maps),
)
