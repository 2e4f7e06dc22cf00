"""Colours of maps that the page offers: each palette has one table for relevance of one sign and one for both.

All are safe for the colour-blind: inferno, viridis and cividis rise evenly in lightness; PuOr, RdBu and BrBG of
ColorBrewer keep their two ends apart. The first is that of the package's figures.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps

__all__ = ["palettes"]

Table = npt.NDArray[np.uint8]

_OTHERS = {
    "viridis, red and blue": ("viridis", "RdBu_r", "red", "blue"),
    "cividis, brown and teal": ("cividis", "BrBG_r", "brown", "teal"),
}


def palettes(colour_table: Callable[[bool], Table]) -> list[dict[str, Any]]:
    """Name, base64 tables of 256 RGBA colours, and what the two ends of the signed one are called.

    Parameters
    ----------
    colour_table : callable
        The figures' own colours, by whether they are signed; the other palettes take their opacity.
    """
    one, both = colour_table(False), colour_table(True)
    found = [_entry("inferno, orange and purple", one, both, "orange", "purple")]
    for name, (sequential, diverging, positive, negative) in _OTHERS.items():
        strength, side = np.linspace(0, 1, 256), np.linspace(-1, 1, 256)
        # As of the figures' colours, the pale ends are left out: what is faint is transparent instead.
        signed = np.where(side < 0, 0.28 + 0.22 * side, 0.72 + 0.18 * side)
        found.append(
            _entry(
                name,
                _coloured(sequential, 0.2 + 0.8 * strength, one),
                _coloured(diverging, signed, both),
                positive,
                negative,
            )
        )
    return found


def _coloured(name: str, places: npt.NDArray[np.float64], opacity: Table) -> Table:
    colours: Table = colormaps[name](places, bytes=True)
    colours = colours.copy()
    colours[:, 3] = opacity[:, 3]
    return colours


def _entry(name: str, one: Table, both: Table, positive: str, negative: str) -> dict[str, Any]:
    return {
        "name": name,
        "sequential": base64.b64encode(one.tobytes()).decode(),
        "diverging": base64.b64encode(both.tobytes()).decode(),
        "positive": positive,
        "negative": negative,
    }
