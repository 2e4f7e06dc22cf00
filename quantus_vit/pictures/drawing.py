"""Draws an X-ray, a map over it, outlines and colour bars on matplotlib's axes.

Knows matplotlib's objects alone, so that a caller's pyplot state and backend stay as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import ScalarFormatter

from .scales import is_signed

__all__ = ["TISSUE", "add_colour_bar", "arrows_of", "draw_outline", "draw_relevance", "draw_xray", "hide_frame"]

Array = npt.NDArray[Any]

TISSUE = "0.35"
"""The grey behind maps and colour bars that lie over no picture."""


def draw_xray(axes: Axes, grey: Array) -> None:
    """Draw an X-ray ``(H, W)``, or a picture in colours ``(H, W, 3)``, of values in [0, 1], without ticks.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    grey : numpy.ndarray
    """
    axes.imshow(grey, cmap="gray", vmin=0.0, vmax=1.0, interpolation="bilinear")
    hide_frame(axes)


def hide_frame(axes: Axes) -> None:
    """Leave out ticks and frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def draw_relevance(
    axes: Axes, relevance: Array, colours: Colormap, scale: Normalize, shape: tuple[int, int] | None = None
) -> AxesImage:
    """Lay a map ``(H, W)`` over what the axes show; a coarser one over all of a picture of the given shape.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    relevance : numpy.ndarray
    colours : Colormap
    scale : Normalize
    shape : tuple of int, optional
        Height and width of the picture below.

    Returns
    -------
    matplotlib.image.AxesImage
    """
    height, width = shape or relevance.shape
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    shown = np.ma.masked_invalid(relevance)
    return axes.imshow(shown, cmap=colours, norm=scale, interpolation="nearest", extent=extent)


def draw_outline(axes: Axes, mask: Array, colour: str, dashed: bool = False, width: float = 1.1) -> None:
    """Draw the border of a mask ``(H, W)``; an empty one has none.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    mask : numpy.ndarray
        bool.
    colour : str
    dashed : bool
    width : float
        Of the line, in points.
    """
    if mask.any() and not mask.all():
        axes.contour(
            mask.astype(float),
            levels=[0.5],
            colors=[colour],
            linewidths=width,
            linestyles="dashed" if dashed else "solid",
        )


def add_colour_bar(
    figure: Figure, colours: Colormap, scale: Normalize, axes: Any, label: str, **place: Any
) -> Colorbar:
    """Colour bar over mid-grey, as the colours look on tissue; arrows where values lie beyond its ends.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    colours : Colormap
    scale : Normalize
    axes : Axes or sequence of Axes
        What the bar belongs to.
    label : str
    **place
        Keywords of ``figure.colorbar``.

    Returns
    -------
    matplotlib.colorbar.Colorbar
    """
    numbers = ScalarFormatter()
    numbers.set_powerlimits((-2, 3))
    bar = figure.colorbar(ScalarMappable(scale, colours), ax=axes, format=numbers, extend=arrows_of(scale), **place)
    bar.ax.set_facecolor(TISSUE)
    bar.set_label(label, fontsize=9)
    bar.ax.tick_params(labelsize=8)
    return bar


def arrows_of(scale: Normalize) -> str:
    """At which ends of a scale values may lie beyond it, in matplotlib's words (``extend``)."""
    if not is_signed(scale):
        return "max"
    return "both" if scale.vmax else "min"
