"""A map over its image as plain pixels, with words and a colour bar burned in below.

For formats that no figure fits: every pixel of the image stays one pixel (or a square of them). Knows NumPy, Pillow and
matplotlib's colours and fonts.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from matplotlib.colors import Colormap, Normalize
from PIL import Image, ImageDraw, ImageFont

from .drawing import TISSUE
from .explanation import RESEARCH_ONLY, Explanation
from .lettering import fonted, legible
from .scales import is_signed, scale_of

__all__ = ["burned_in", "laid_over"]

Pixels = npt.NDArray[np.uint8]

_LEAST_WIDTH = 512
_WARNING = (255, 221, 87)
_TEXT = (255, 255, 255)


def laid_over(
    grey: npt.NDArray[np.float32], relevance: npt.NDArray[np.float32], colours: Colormap, scale: Normalize
) -> Pixels:
    """An image ``(h, w)`` in [0, 1] under a map ``(h, w)``, as uint8 ``(h, w, 3)``; nan is left clear."""
    shown = np.where(np.isfinite(relevance), relevance, 0.0)
    colour = colours(scale(shown))
    opacity = np.where(np.isfinite(relevance), colour[..., 3], 0.0)[..., None]
    mixed = grey[..., None] * (1 - opacity) + colour[..., :3] * opacity
    pixels: Pixels = np.rint(mixed * 255).clip(0, 255).astype(np.uint8)
    return pixels


def burned_in(explanation: Explanation) -> tuple[Pixels, int]:
    """The overlay with a band below it, which says what it is and is not, and has the scale.

    Returns
    -------
    pixels : numpy.ndarray
        uint8 ``(h * zoom + band, w * zoom, 3)``; the image begins in the left upper corner.
    zoom : int
        Side of the square that a pixel of the image takes, above 1 for images too small for words.
    """
    colours, scale = scale_of(explanation.relevance, signed=explanation.signed or None)
    picture = laid_over(explanation.grey, explanation.relevance, colours, scale)
    zoom = max(1, math.ceil(_LEAST_WIDTH / picture.shape[1]))
    picture = np.repeat(np.repeat(picture, zoom, axis=0), zoom, axis=1)
    return np.concatenate([picture, _band(picture.shape[1], explanation, colours, scale)]), zoom


def _band(width: int, explanation: Explanation, colours: Colormap, scale: Normalize) -> Pixels:
    size = max(14, width // 40)
    margin = max(6, size // 2)
    room = width - 2 * margin
    lines = [(line, _WARNING) for line in _wrapped(RESEARCH_ONLY, size, room)]
    lines += [(line, _TEXT) for line in _wrapped(f"{legible(explanation.subject)}; {_ends(scale)}", size, room)]
    step = round(size * 1.35)
    height = 2 * margin + step * len(lines) + size
    canvas = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(canvas)
    for number, (line, colour) in enumerate(lines):
        _draw_line(draw, (margin, margin + number * step + size), line, size, colour)
    ramp = np.linspace(float(scale.vmin or 0.0), float(scale.vmax or 1.0), room)
    bar = laid_over(
        np.full((size, room), float(TISSUE), np.float32), np.tile(ramp, (size, 1)).astype(np.float32), colours, scale
    )
    canvas.paste(Image.fromarray(bar), (margin, margin + step * len(lines)))
    return np.asarray(canvas)


def _ends(scale: Normalize) -> str:
    if is_signed(scale):
        return f"purple against it, to {scale.vmin:.2g}; orange for it, to {scale.vmax:.2g}"
    return f"from 0 (clear) to {scale.vmax:.2g} (yellow)"


@lru_cache(maxsize=32)
def _font(file: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(file, size)


def _draw_line(
    draw: ImageDraw.ImageDraw, place: tuple[float, float], line: str, size: int, colour: tuple[int, int, int]
) -> None:
    """Draw a line from the left end of its baseline, each letter in a font that has it."""
    across, down = place
    for part, file in fonted(line):
        font = _font(file, size)
        draw.text((across, down), part, fill=colour, font=font, anchor="ls")
        across += font.getlength(part)


def _length(text: str, size: int) -> float:
    return sum(_font(file, size).getlength(part) for part, file in fonted(text))


def _wrapped(text: str, size: int, room: float) -> list[str]:
    """The text in lines that are no wider than the room, broken between words, or within one that is too long."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if _length(longer, size) <= room:
            lines[-1] = longer
            continue
        lines.append("")
        for letter in word:
            if _length(lines[-1] + letter, size) > room:
                lines.append("")
            lines[-1] += letter
    return [line for line in lines if line]
