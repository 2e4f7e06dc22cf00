"""A map over its X-ray, beside the X-ray alone."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
from matplotlib.figure import Figure

from ...pictures import add_colour_bar, draw_relevance, draw_xray, label_of, scale_of

__all__ = ["LESION_COLOUR", "LUNG_COLOUR", "draw_overlay"]

Array = npt.NDArray[Any]

LUNG_COLOUR = "white"
LESION_COLOUR = "#56e0ff"


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
    add_colour_bar(figure, colours, scale, [plain, overlaid], label_of(scale), shrink=0.82, pad=0.02)
    return figure
