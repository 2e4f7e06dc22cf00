"""Harmless things on the film: side letters, electrodes with cables, collimator borders.

Knows the canvas only, and so nothing of the class. Drawn in the image's own frame, not the body's: a
marker lies on the detector.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .canvas import Canvas, FloatArray, Stroke

__all__ = ["Artefacts", "draw_artefacts"]

_F = np.float32
_GLYPHS: dict[str, list[list[tuple[float, float]]]] = {
    "L": [[(0.0, 0.0), (0.0, 1.0), (0.6, 1.0)]],
    "R": [
        [(0.0, 1.0), (0.0, 0.0), (0.4, 0.0), (0.6, 0.1), (0.62, 0.28), (0.55, 0.44), (0.4, 0.5), (0.0, 0.5)],
        [(0.3, 0.5), (0.65, 1.0)],
    ],
}


@dataclass(frozen=True)
class Artefacts:
    """What lies on one film."""

    letter: str
    """"L", "R" or "" for none."""
    letter_at: tuple[float, float]
    letter_height: float
    letter_angle: float
    boxed: bool
    electrodes: tuple[tuple[float, float], ...]
    """Where electrodes stick, each with its cable."""
    cable_ends: tuple[tuple[float, float], ...]
    collimation: tuple[float, float, float, float]
    """Unexposed margin at the left, right, top and bottom, in units of half the image."""

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Artefacts:
        """Draw the film's artefacts; about two in three carry a letter and one in four has electrodes."""
        letter = ("L", "R", "")[int(rng.integers(3))]
        side = 1.0 if letter == "L" else -1.0
        count = int(rng.integers(1, 4)) if rng.random() < 0.25 else 0
        electrodes = tuple((rng.uniform(-0.75, 0.75), rng.uniform(-0.55, 0.6)) for _ in range(count))
        ends = tuple((float(rng.choice([-1.1, 1.1])), rng.uniform(-0.9, 1.0)) for _ in range(count))
        margins = rng.uniform(0.0, 0.07, size=4) * (rng.random(4) < 0.2)
        return cls(
            letter=letter,
            letter_at=(side * rng.uniform(0.68, 0.90), rng.uniform(-0.92, 0.75)),
            letter_height=rng.uniform(0.07, 0.12),
            letter_angle=rng.normal(0.0, 0.12),
            boxed=bool(rng.random() < 0.25),
            electrodes=electrodes,
            cable_ends=ends,
            collimation=(float(margins[0]), float(margins[1]), float(margins[2]), float(margins[3])),
        )


def draw_artefacts(artefacts: Artefacts, size: int) -> tuple[FloatArray, FloatArray]:
    """Attenuation that the artefacts add, and the share of the exposure that the collimator lets pass.

    Returns
    -------
    tuple of ndarray
        Both float32 ``(size, size)``.
    """
    film = Canvas(size)
    strokes: list[Stroke] = []
    for (x, y), (end_x, end_y) in zip(artefacts.electrodes, artefacts.cable_ends, strict=True):
        strokes.extend(_electrode(x, y, end_x, end_y))
    attenuation = _F(0.35) * film.strokes(strokes) if strokes else np.zeros((size, size), dtype=np.float32)
    if artefacts.letter:
        attenuation = np.maximum(attenuation, _F(0.75) * film.strokes(_letter(artefacts)))
    return attenuation, _collimate(artefacts.collimation, size)


def _letter(artefacts: Artefacts) -> list[Stroke]:
    """Strokes of the side letter, with a frame round it where it is boxed."""
    cosine, sine = math.cos(artefacts.letter_angle), math.sin(artefacts.letter_angle)
    height = artefacts.letter_height

    def place(u: float, v: float) -> tuple[float, float]:
        u, v = (u - 0.3) * height, (v - 0.5) * height
        return artefacts.letter_at[0] + cosine * u - sine * v, artefacts.letter_at[1] + sine * u + cosine * v

    strokes = [Stroke([place(u, v) for u, v in line], 0.17 * height, 1.0) for line in _GLYPHS[artefacts.letter]]
    if artefacts.boxed:
        frame = [(-0.35, -0.3), (0.95, -0.3), (0.95, 1.3), (-0.35, 1.3), (-0.35, -0.3)]
        strokes.append(Stroke([place(u, v) for u, v in frame], 0.06 * height, 0.8))
    return strokes


def _electrode(x: float, y: float, end_x: float, end_y: float) -> list[Stroke]:
    """A ring with a metal snap, and a cable in a bow that leaves the image."""
    ring = [(x + 0.032 * math.cos(a), y + 0.032 * math.sin(a)) for a in np.linspace(0.0, 2 * math.pi, 17)]
    middle = ((x + end_x) / 2, max(y, end_y) + 0.25)
    cable = []
    for t in np.linspace(0.0, 1.0, 25):
        a, b, c = (1 - t) ** 2, 2 * t * (1 - t), t**2
        cable.append((float(a * x + b * middle[0] + c * end_x), float(a * y + b * middle[1] + c * end_y)))
    snap = Stroke([(x - 0.009, y), (x + 0.009, y)], 0.022, 1.0)
    return [Stroke(cable, 0.010, 0.45), Stroke(ring, 0.010, 0.35), snap]


def _collimate(margins: tuple[float, float, float, float], size: int) -> FloatArray:
    """1 where the collimator is open, 0 where it is closed, with a short penumbra."""
    axis = (np.arange(size, dtype=np.float32) + _F(0.5)) * _F(2 / size) - _F(1)
    left, right, top, bottom = margins

    def opening(low: float, high: float) -> FloatArray:
        lower = np.clip((axis + _F(1 - low)) * _F(60), 0, 1) if low > 0 else np.ones_like(axis)
        upper = np.clip((_F(1 - high) - axis) * _F(60), 0, 1) if high > 0 else np.ones_like(axis)
        result: FloatArray = np.minimum(lower, upper)
        return result

    return opening(top, bottom)[:, None] * opening(left, right)[None, :]
