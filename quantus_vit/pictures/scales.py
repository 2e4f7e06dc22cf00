"""How a number of a map becomes a colour: the colours and scales of every picture, figure and report of this package.

Sequential colours for relevance of one sign, diverging ones around zero for two, so that a sign is never lost; both are
safe for the colour-blind, and their opacity grows with relevance, so that the anatomy below stays visible. Knows NumPy
and matplotlib's colours.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.colors import Colormap, ListedColormap, Normalize

__all__ = [
    "SIGNS",
    "Sign",
    "colour_table",
    "diverging",
    "is_signed",
    "label_of",
    "scale_of",
    "sequential",
    "shared_scale",
    "with_sign",
]

Array = npt.NDArray[Any]

Sign = Literal["all", "positive", "negative", "absolute_value"]
SIGNS: tuple[Sign, ...] = ("all", "positive", "negative", "absolute_value")
"""What of a map is shown; the names are Captum's."""

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
    """Colours from opaque purple over transparent to opaque orange, for relevance of both signs."""
    strength = np.linspace(-1, 1, _LEVELS)
    colours = colormaps["PuOr_r"](np.where(strength < 0, 0.28 + 0.22 * strength, 0.72 + 0.18 * strength))
    colours[:, 3] = _opacity(np.abs(strength))
    return ListedColormap(colours, name="signed relevance")


def against() -> Colormap:
    """The half of :func:`diverging` below zero, from opaque purple to transparent."""
    return ListedColormap(diverging()(np.arange(_LEVELS // 2)), name="relevance against")


def _opacity(strength: Array) -> Array:
    return np.asarray(_MOST_OPAQUE * np.minimum(1.0, 1.6 * strength**1.4))


def colour_table(signed: bool) -> npt.NDArray[np.uint8]:
    """The colours as a table, for who colours maps without matplotlib.

    Parameters
    ----------
    signed : bool
        Those of both signs, the middle of the table being zero; or of one, from zero on.

    Returns
    -------
    numpy.ndarray
        uint8 ``(256, 4)``: red, green, blue and opacity.
    """
    colours = diverging() if signed else sequential()
    table: npt.NDArray[np.uint8] = colours(np.arange(_LEVELS), bytes=True)
    return table


def scale_of(relevance: npt.ArrayLike, signed: bool | None = None) -> tuple[Colormap, Normalize]:
    """Colours and scale of a map by its own values: from 0, or symmetric around 0 where it is signed.

    Parameters
    ----------
    relevance : array_like
        Of any shape; values that are no finite numbers, as of pixels that the model did not see, do not count.
    signed : bool, optional
        Whether negative values mean something; None: where there are any.

    Returns
    -------
    colours : matplotlib.colors.Colormap
    scale : matplotlib.colors.Normalize
        It ends where 99.5 % of the values lie below, so that a few extreme pixels do not make the rest invisible; the
        colour bar's arrows say so.
    """
    return shared_scale([np.asarray(relevance)], signed)


def shared_scale(maps: Iterable[npt.ArrayLike], signed: bool | None = None) -> tuple[Colormap, Normalize]:
    """One scale for several maps, which makes their strengths comparable: the widest of their own.

    Parameters
    ----------
    maps : iterable of array_like
        Of one method: the values of different methods have no common unit.
    signed : bool, optional
        As for :func:`scale_of`; one map with a negative value makes all signed.

    Returns
    -------
    colours : matplotlib.colors.Colormap
    scale : matplotlib.colors.Normalize
    """
    values = [array[np.isfinite(array)] for array in (np.asarray(one) for one in maps)]
    largest = max((_full_scale(one) for one in values), default=0.0) or 1.0
    negative = any(one.size > 0 and one.min() < 0 for one in values)
    if negative if signed is None else signed:
        return diverging(), Normalize(-largest, largest)
    return sequential(), Normalize(0.0, largest)


def _full_scale(values: Array) -> float:
    strengths = np.abs(values)
    if strengths.size == 0:
        return 0.0
    return float(np.quantile(strengths, _SHOWN, method="higher")) or float(strengths.max())


def is_signed(scale: Normalize) -> bool:
    """Whether a scale has negative values.

    Parameters
    ----------
    scale : Normalize

    Returns
    -------
    bool
    """
    return scale.vmin is not None and bool(scale.vmin < 0)


def label_of(scale: Normalize, quantity: str = "relevance") -> str:
    """What a colour bar says beside its numbers.

    Parameters
    ----------
    scale : Normalize
    quantity : str
        What the map holds.

    Returns
    -------
    str
    """
    return f"{quantity} (orange: for the class, purple: against)" if is_signed(scale) else quantity


def with_sign(
    relevance: npt.ArrayLike, sign: Sign = "all", limit: float | None = None
) -> tuple[Array, Colormap, Normalize, str]:
    """The part of a map that has a sign, with colours, scale and the words of its colour bar.

    Parameters
    ----------
    relevance : array_like
    sign : str
        "all": as it is, on a scale around 0 where any value is negative; "positive" or "negative": values of the other
        sign become 0, and negative ones stay negative; "absolute_value": the strength without the sign.
    limit : float, optional
        Where the scale ends, to either side; None: by the map's own values, see :func:`scale_of`.

    Returns
    -------
    values : numpy.ndarray
    colours : matplotlib.colors.Colormap
    scale : matplotlib.colors.Normalize
    label : str

    Raises
    ------
    ValueError
        An unknown sign, or a limit that is not positive.
    """
    if sign not in SIGNS:
        raise ValueError(f"sign must be one of {', '.join(map(repr, SIGNS))}, got {sign!r}")
    if limit is not None and not limit > 0:
        raise ValueError(f"limit must be a positive number, got {limit!r}")
    values = np.asarray(relevance)
    if sign == "positive":
        values = np.maximum(values, 0)
    elif sign == "negative":
        values = np.minimum(values, 0)
    elif sign == "absolute_value":
        values = np.abs(values)
    colours, scale = scale_of(values)
    largest = limit or float(scale.vmax or 1.0)
    if sign == "negative":
        return values, against(), Normalize(-largest, 0.0), "relevance against the class"
    scale = Normalize(-largest if is_signed(scale) else 0.0, largest)
    words = {"positive": "relevance for the class", "absolute_value": "strength of relevance, for or against"}
    return values, colours, scale, words.get(sign, label_of(scale))
