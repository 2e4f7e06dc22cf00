"""A map over its X-ray: colours whose opacity grows with relevance, so that the anatomy stays visible.

Sequential maps for relevance that has one sign, diverging ones around zero for two; both are safe for the colour-blind.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Colormap, ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import ScalarFormatter

__all__ = ["LESION_COLOUR", "LUNG_COLOUR", "draw_outline", "draw_overlay", "draw_relevance", "draw_xray", "scale_of"]

Array = npt.NDArray[Any]

LUNG_COLOUR = "white"
LESION_COLOUR = "#56e0ff"
_LEVELS = 256
_MOST_OPAQUE = 0.85
_SHOWN = 0.995


def sequential() -> Colormap:
    """Colours from transparent to opaque bright yellow, for relevance of one sign."""
    strength = np.linspace(0, 1, _LEVELS)
    colours = colormaps["inferno"](0.25 + 0.7 * strength)
    colours[:, 3] = _opacity(strength)
    return ListedColormap(colours, name="relevance")


def diverging() -> Colormap:
    """Colours from opaque blue over transparent to opaque orange, for relevance of both signs."""
    strength = np.linspace(-1, 1, _LEVELS)
    colours = colormaps["PuOr_r"](np.where(strength < 0, 0.28 + 0.22 * strength, 0.72 + 0.18 * strength))
    colours[:, 3] = _opacity(np.abs(strength))
    return ListedColormap(colours, name="signed relevance")


def _opacity(strength: Array) -> Array:
    return np.asarray(_MOST_OPAQUE * np.minimum(1.0, 1.6 * strength**1.4))


def scale_of(relevance: Array, signed: bool | None = None) -> tuple[Colormap, Normalize]:
    """Colours and scale of a map: from 0, or symmetric where it is signed (None: where any value is negative).

    The scale ends where 99.5 % of the values lie below, so that a few extreme pixels do not make the rest invisible;
    the colour bar's arrows say so.
    """
    strengths = np.abs(relevance)
    largest = float(np.quantile(strengths, _SHOWN, method="higher")) or float(strengths.max()) or 1.0
    if relevance.min() < 0 if signed is None else signed:
        return diverging(), Normalize(-largest, largest)
    return sequential(), Normalize(0.0, largest)


def draw_xray(axes: Axes, grey: Array) -> None:
    """Draw an X-ray ``(H, W)`` of values in [0, 1], without ticks."""
    axes.imshow(grey, cmap="gray", vmin=0.0, vmax=1.0, interpolation="bilinear")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def draw_relevance(axes: Axes, relevance: Array, colours: Colormap, scale: Normalize) -> AxesImage:
    """Lay a map ``(H, W)`` over what the axes show."""
    return axes.imshow(relevance, cmap=colours, norm=scale, interpolation="nearest")


def draw_outline(axes: Axes, mask: Array, colour: str, dashed: bool = False) -> None:
    """Draw the border of a mask ``(H, W)``; an empty one has none."""
    if mask.any() and not mask.all():
        axes.contour(
            mask.astype(float),
            levels=[0.5],
            colors=[colour],
            linewidths=1.1,
            linestyles="dashed" if dashed else "solid",
        )


def add_colour_bar(
    figure: Figure, colours: Colormap, scale: Normalize, axes: Any, label: str, **place: Any
) -> Colorbar:
    """Colour bar over mid-grey, as the colours look on tissue."""
    numbers = ScalarFormatter()
    numbers.set_powerlimits((-2, 3))
    signed = scale.vmin is not None and scale.vmin < 0
    bar = figure.colorbar(
        ScalarMappable(scale, colours), ax=axes, format=numbers, extend="both" if signed else "max", **place
    )
    bar.ax.set_facecolor("0.35")
    bar.set_label(label, fontsize=9)
    bar.ax.tick_params(labelsize=8)
    return bar


def draw_overlay(grey: Array, relevance: Array, title: str, subtitle: str) -> Figure:
    """X-ray beside the X-ray with its map, one colour bar.

    Parameters
    ----------
    grey
        ``(H, W)`` in [0, 1].
    relevance
        ``(H, W)``.
    title, subtitle
        Lines above the pictures.

    Returns
    -------
    matplotlib.figure.Figure
        To be saved by the caller.
    """
    figure = Figure(figsize=(9.6, 5.2), layout="constrained")
    figure.suptitle(title, fontsize=13)
    plain, overlaid = figure.subplots(1, 2)
    draw_xray(plain, grey)
    plain.set_title("X-ray", fontsize=10)
    draw_xray(overlaid, grey)
    colours, scale = scale_of(relevance)
    draw_relevance(overlaid, relevance, colours, scale)
    overlaid.set_title(subtitle, fontsize=10)
    signed = scale.vmin is not None and scale.vmin < 0
    label = "relevance (orange: for the class, purple: against)" if signed else "relevance"
    add_colour_bar(figure, colours, scale, [plain, overlaid], label, shrink=0.82, pad=0.02)
    return figure
