"""Text that fits: how wide a line is in print, and a shorter one where there is no room. Knows matplotlib's fonts."""

from __future__ import annotations

from functools import lru_cache

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

__all__ = ["elided", "width_of"]

_DOTS = "…"


@lru_cache(maxsize=4096)
def width_of(text: str, size: float) -> float:
    """Width of a line in points, in matplotlib's default font.

    Parameters
    ----------
    text : str
    size : float
        Of the font, in points.
    """
    if not text.strip():
        return 0.0
    width, _, _ = text_to_path.get_text_width_height_descent(text, FontProperties(size=size), ismath=False)
    return float(width)


def elided(text: str, size: float, room: float) -> str:
    """The text, with its middle left out where it is wider than the room, in points."""
    if width_of(text, size) <= room:
        return text
    kept = len(text)
    while kept > 2:
        kept -= max(1, kept // 12)
        shorter = text[: (kept + 1) // 2].rstrip() + _DOTS + text[len(text) - kept // 2 :].lstrip()
        if width_of(shorter, size) <= room:
            return shorter
    return _DOTS
