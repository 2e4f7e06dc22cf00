"""A map over its image, beside the image alone: the picture that ``explain`` writes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from .drawing import add_colour_bar, draw_outline, draw_relevance, draw_xray
from .explanation import RESEARCH_ONLY, Explanation
from .lettering import elided
from .picture import Picture
from .scales import label_of, scale_of

__all__ = ["draw_overlay", "reduced"]

Array = npt.NDArray[Any]

_WIDTH, _PANEL, _REST = 9.6, 4.2, 1.15
"""Inches: the figure's width, about that of a panel, and the height of what stands above and below it."""

_TITLE, _SUBTITLE = 13, 10
_LONGEST = 1400
"""Pixels of the longer side that a panel can show in print; larger images are averaged down to it."""


def draw_overlay(explanation: Explanation) -> Picture:
    """Image beside the image with its map, one colour bar.

    Parameters
    ----------
    explanation : Explanation

    Returns
    -------
    Picture
        What the model does not see, because its preprocessing crops the image, lies outside a dashed line.
    """
    grey, relevance = reduced(explanation.grey, _LONGEST), reduced(explanation.relevance, _LONGEST)
    height = _PANEL * min(max(grey.shape[0] / grey.shape[1], 0.5), 1.8)
    figure = Picture(figsize=(_WIDTH, height + _REST), layout="constrained")
    width = _WIDTH * 72 * 0.96
    title = elided(f"{explanation.name}: predicted {explanation.prediction}", _TITLE, width)
    figure.suptitle(title, fontsize=_TITLE, parse_math=False)
    plain, overlaid = figure.subplots(1, 2)
    draw_xray(plain, grey)
    plain.set_title("image", fontsize=_SUBTITLE)
    draw_xray(overlaid, grey)
    colours, scale = scale_of(relevance, signed=explanation.signed or None)
    draw_relevance(overlaid, relevance, colours, scale)
    draw_outline(overlaid, np.isfinite(relevance), "white", dashed=True)
    overlaid.set_title(elided(explanation.heading, _SUBTITLE, width * 0.48), fontsize=_SUBTITLE, parse_math=False)
    add_colour_bar(figure, colours, scale, [plain, overlaid], label_of(scale), shrink=0.82, pad=0.02)
    crop = "" if explanation.seen.all() else "; the model does not see what is outside the dashed line"
    figure.supxlabel(f"{RESEARCH_ONLY}{crop}", fontsize=8, color="0.35")
    return figure


def reduced(values: Array, longest: int) -> Array:
    """An image or map ``(h, w)`` averaged down until no side is longer; smaller ones as they are."""
    rows, columns = values.shape
    factor = longest / max(rows, columns)
    if factor >= 1:
        return values
    size = (max(1, round(columns * factor)), max(1, round(rows * factor)))
    return np.asarray(Image.fromarray(values.astype(np.float32)).resize(size, Image.Resampling.BOX))
