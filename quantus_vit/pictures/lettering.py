"""Text that fits and can be read: how wide a line is, a shorter one, and fonts for letters that the default lacks.

Knows matplotlib's fonts. Names of files and classes are in any script; matplotlib's own font has Latin, Greek and
Cyrillic letters among others, but neither Chinese, Japanese nor Korean ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from itertools import groupby

from matplotlib import rcParams
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.text import Text
from matplotlib.textpath import text_to_path

__all__ = ["elided", "fonted", "legible", "make_legible", "width_of"]

_DOTS = "…"
_FURTHER_FONTS = (
    "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans JP", "Noto Sans SC", "Noto Sans KR", "Source Han Sans",
    "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "Droid Sans Fallback", "PingFang SC", "Hiragino Sans",
    "Apple SD Gothic Neo", "Microsoft YaHei", "Yu Gothic", "MS Gothic", "Malgun Gothic", "Arial Unicode MS",
    "Noto Sans Devanagari", "Noto Sans Thai", "Unifont",
)  # fmt: skip
"""Fonts of other scripts that systems tend to have, tried after the default in this order."""


def elided(text: str, size: float, room: float) -> str:
    """The text, with its middle left out where it is wider than the room, in points.

    Parameters
    ----------
    text : str
    size : float
        Of the font, in points.
    room : float

    Returns
    -------
    str
    """
    if width_of(text, size) <= room:
        return text
    kept = len(text)
    while kept > 2:
        kept -= max(1, kept // 12)
        shorter = text[: (kept + 1) // 2].rstrip() + _DOTS + text[len(text) - kept // 2 :].lstrip()
        if width_of(shorter, size) <= room:
            return shorter
    return _DOTS


@lru_cache(maxsize=4096)
def width_of(text: str, size: float) -> float:
    """Width of a line in points, in the fonts that :func:`make_legible` gives it.

    Parameters
    ----------
    text : str
    size : float
        Of the font, in points.

    Returns
    -------
    float
    """
    if not text.strip():
        return 0.0
    font = FontProperties(size=size) if _is_plain(text) else FontProperties(family=list(_families()), size=size)
    width, _, _ = text_to_path.get_text_width_height_descent(legible(text), font, ismath=False)
    return float(width)


def legible(text: str) -> str:
    """The text, with the code points of letters that no font of this system has, as ``[U+80BA U+708E]``.

    So they can be looked up, and two names stay two, where squares would be alike.
    """
    if _is_plain(text):
        return text
    known = _letters(_families())
    parts = []
    for drawn, letters in groupby(text, lambda letter: letter.isspace() or ord(letter) in known):
        run = "".join(letters)
        parts.append(run if drawn else f"[{' '.join(f'U+{ord(letter):04X}' for letter in run)}]")
    return "".join(parts)


def fonted(text: str) -> Iterator[tuple[str, str]]:
    """Parts of a text with the file of a font that has their letters, for those who draw without matplotlib.

    Yields
    ------
    part, file : str
        Of :func:`legible` text, in its order.
    """
    names = _families()

    def font_of(letter: str) -> str:
        return next((name for name in names if letter.isspace() or ord(letter) in _letters((name,))), names[0])

    for name, letters in groupby(legible(text), font_of):
        yield "".join(letters), findfont(FontProperties(family=[name]))


def make_legible(figure: Figure) -> None:
    """Give a figure's texts fonts that have their letters, where the default has not; so nothing warns of them.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    """
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if not _is_plain(text.get_text()):
            _set(text)
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            names = [label.get_text() for label in axis.get_ticklabels()]
            if not all(map(_is_plain, names)):  # these are set anew whenever the axis is drawn
                axis.set_ticks(axis.get_ticklocs(), [legible(name) for name in names])
                for label in axis.get_ticklabels():
                    _set(label)


def _set(text: Text) -> None:
    text.set_text(legible(text.get_text()))
    text.set_fontfamily(list(_families()))


def _is_plain(text: str) -> bool:
    """Whether the default font has all letters."""
    return text.isascii() or all(ord(letter) in _letters(_defaults()) or letter.isspace() for letter in text)


def _families() -> tuple[str, ...]:
    """The default fonts, then those of other scripts that this system has."""
    return (*_defaults(), *_installed())


def _defaults() -> tuple[str, ...]:
    names: str | Sequence[str] = rcParams["font.family"]
    return (names,) if isinstance(names, str) else tuple(names)


@cache
def _installed() -> tuple[str, ...]:
    known = {font.name for font in fontManager.ttflist}
    return tuple(name for name in _FURTHER_FONTS if name in known)


@lru_cache(maxsize=64)
def _letters(families: tuple[str, ...]) -> frozenset[int]:
    """Code points that one of the fonts has."""
    files = [findfont(FontProperties(family=[name])) for name in families]
    return frozenset(code for file in files for code in get_font(file).get_charmap())
