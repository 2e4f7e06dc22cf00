"""Figure 4: for one image of each class, the relevance for every class, and LIME's most important superpixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ...pictures import add_colour_bar, draw_outline, draw_relevance, draw_xray, scale_of

__all__ = ["LimeRegions", "MapRow", "draw_map_rows", "draw_outlines"]

Array = npt.NDArray[Any]

LUNG_COLOUR = "white"
LESION_COLOUR = "#56e0ff"
FOR_COLOUR = "#E69F00"
AGAINST_COLOUR = "#7B4FB5"
LUNG = "lung"
"""Name of the masks that are drawn as lungs, with a capital or without; all others are findings."""


@dataclass(frozen=True)
class LimeRegions:
    """LIME's most important superpixels.

    Parameters
    ----------
    features : int
        How many are shown.
    signs : ndarray
        ``(H, W)``: 1 inside those that speak for the class, -1 against it, 0 elsewhere.
    """

    features: int
    signs: Array


@dataclass(frozen=True)
class MapRow:
    """What a row of the figure shows.

    Parameters
    ----------
    grey : ndarray
        X-ray ``(H, W)`` in [0, 1].
    label, target, predicted : str
        Names of its class, of the one that LIME explains, and of what the model says.
    probabilities : sequence of float
        The model's, of each shown class.
    maps : sequence of ndarray
        Relevance ``(H, W)`` for each shown class.
    masks : mapping of str to ndarray
        Finding or organ -> ``(H, W)``.
    lime : sequence of LimeRegions
        Empty where LIME is not compared.
    """

    grey: Array
    label: str
    target: str
    predicted: str
    probabilities: Sequence[float]
    maps: Sequence[Array]
    masks: Mapping[str, Array] = field(default_factory=dict)
    lime: Sequence[LimeRegions] = field(default_factory=tuple)


def draw_map_rows(rows: Sequence[MapRow], method: str, class_names: Sequence[str]) -> Figure:
    """Draw the figure.

    Parameters
    ----------
    rows : sequence of MapRow
        One for each image.
    method : str
        Name of the method that made ``maps``.
    class_names : sequence of str
        Of the shown classes, in the order of the maps.

    Returns
    -------
    matplotlib.figure.Figure
        Columns: the X-ray, the map for each class, LIME. Every map has its own scale, named above it: a class that the
        model is sure of has small gradients, so that its map would not be seen on the scale of the others.
    """
    maps, lime = len(class_names), max(len(row.lime) for row in rows)
    layout = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.04, wspace=0.01, hspace=0.02)
    figure = Figure(figsize=(2.35 * (1 + maps + lime) + 1.0, 2.55 * len(rows) + 1.1), layout=layout)
    others = ", and the superpixels that LIME finds most important" if lime else ""
    figure.suptitle(f"{method} for each class{others}", fontsize=13)
    grid = figure.subplots(len(rows), 1 + maps + lime, squeeze=False)
    for axes_row, row in zip(grid, rows, strict=True):
        _draw_row(figure, axes_row, row, method, class_names)
    _add_legend(figure, rows)
    return figure


def _draw_row(figure: Figure, axes_row: Any, row: MapRow, method: str, class_names: Sequence[str]) -> None:
    image_axes, map_axes = axes_row[0], axes_row[1 : 1 + len(class_names)]
    lime_axes = axes_row[1 + len(class_names) :]
    draw_xray(image_axes, row.grey)
    draw_outlines(image_axes, row.masks)
    image_axes.set_ylabel(row.label, fontsize=12)
    image_axes.set_title(f"X-ray\npredicted {row.predicted}", fontsize=9)
    signed = any(relevance.min() < 0 for relevance in row.maps)
    for index, (axes, relevance) in enumerate(zip(map_axes, row.maps, strict=True)):
        draw_xray(axes, row.grey)
        colours, scale = scale_of(relevance, signed=signed)
        draw_relevance(axes, relevance, colours, scale)
        draw_outlines(axes, row.masks)
        numbers = f"prob. {row.probabilities[index]:.2f}, full scale {scale.vmax:.1e}"
        axes.set_title(f"{method}: {class_names[index]}\n{numbers}", fontsize=9)
    shared = Normalize(-1.0 if signed else 0.0, 1.0)
    label = "relevance / full scale"
    add_colour_bar(figure, colours, shared, list(map_axes), label, shrink=0.86, aspect=22, pad=0.01)
    for axes, regions in zip(lime_axes, row.lime, strict=False):
        draw_xray(axes, row.grey)
        _draw_regions(axes, regions.signs)
        axes.set_title(f"LIME: {row.target}\n{regions.features} superpixels", fontsize=9)


def _draw_regions(axes: Axes, signs: Array) -> None:
    for sign, colour in ((1, FOR_COLOUR), (-1, AGAINST_COLOUR)):
        region = signs == sign
        tint = np.zeros((*signs.shape, 4))
        tint[region] = (*(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)), 0.35)
        axes.imshow(tint, interpolation="nearest")
        draw_outline(axes, region, colour)


def draw_outlines(axes: Axes, masks: Mapping[str, Array], width: float = 1.1) -> None:
    """Draw the borders of masks ``(H, W)`` by their names: lungs dashed white, all others light blue."""
    for name, mask in masks.items():
        lung = _is_lung(name)
        draw_outline(axes, mask, LUNG_COLOUR if lung else LESION_COLOUR, dashed=lung, width=width)


def _is_lung(name: str) -> bool:
    return name.casefold() == LUNG


def _add_legend(figure: Figure, rows: Sequence[MapRow]) -> None:
    handles: list[Any] = []
    if any(_is_lung(name) for row in rows for name in row.masks):
        handles.append(Line2D([], [], color=LUNG_COLOUR, linestyle="dashed", label="lungs (mask)"))
    if any(mask.any() for row in rows for name, mask in row.masks.items() if not _is_lung(name)):
        handles.append(Line2D([], [], color=LESION_COLOUR, label="lesion (mask)"))
    if any(row.lime for row in rows):
        handles.append(Patch(facecolor=FOR_COLOUR, label="LIME: for the class"))
        handles.append(Patch(facecolor=AGAINST_COLOUR, label="LIME: against it"))
    if handles:
        figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=len(handles),
            fontsize=9,
            facecolor="0.35",
            labelcolor="white",
        )
