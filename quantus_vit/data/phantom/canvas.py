"""Drawing tools of the phantom: a coordinate frame, soft edges, smooth noise, blur and thin strokes.

Knows numpy and Pillow, nothing of chests. Lengths are in *body units*: the frame spans [-1, 1] in both directions, x
grows to the right of the image (the patient's left), y downwards.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

__all__ = [
    "Canvas",
    "FloatArray",
    "Stroke",
    "blur",
    "bump",
    "ellipse_radius",
    "smooth_minimum",
    "smooth_noise",
    "soft_step",
]

FloatArray = npt.NDArray[np.float32]

_SUPERSAMPLING = 3


@dataclass(frozen=True)
class Stroke:
    """A polyline of one width and brightness, to be drawn by :meth:`Canvas.strokes`."""

    points: Sequence[tuple[float, float]]
    width: float
    value: float
    """Brightness in [0, 1]; a later stroke covers an earlier one."""


@dataclass(frozen=True)
class Canvas:
    """A square pixel grid that looks at the body through a similarity transform.

    Parameters
    ----------
    size : int
        Side in pixels.
    angle : float
        Rotation of the body in the image, in radians.
    scale : float
        Size of the body in the image; 1 maps [-1, 1] to the full image.
    shift : tuple of float
        Position of the body's origin in the image, in units of half the image.
    """

    size: int
    angle: float = 0.0
    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)

    def coordinates(self) -> tuple[FloatArray, FloatArray]:
        """Body coordinates x and y of every pixel centre, each ``(size, size)``."""
        axis = ((np.arange(self.size, dtype=np.float32) + 0.5) * (2.0 / self.size) - 1.0).astype(np.float32)
        u, v = axis[None, :] - np.float32(self.shift[0]), axis[:, None] - np.float32(self.shift[1])
        cosine = np.float32(math.cos(self.angle) / self.scale)
        sine = np.float32(math.sin(self.angle) / self.scale)
        return cosine * u + sine * v, cosine * v - sine * u

    def to_pixels(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the body lies in the image, in pixels from the top left corner."""
        cosine, sine = self.scale * math.cos(self.angle), self.scale * math.sin(self.angle)
        u = cosine * x - sine * y + self.shift[0]
        v = sine * x + cosine * y + self.shift[1]
        return (u + 1.0) * self.size / 2, (v + 1.0) * self.size / 2

    def strokes(self, strokes: Iterable[Stroke]) -> FloatArray:
        """Draw anti-aliased polylines in body coordinates; returns brightness in [0, 1], ``(size, size)``.

        A stroke thinner than the drawing grid keeps the grid's width and is dimmed instead, so that pictures of
        different sizes look alike.
        """
        fine = self.size * _SUPERSAMPLING
        layer = Image.new("L", (fine, fine), 0)
        draw = ImageDraw.Draw(layer)
        for stroke in strokes:
            points = [self.to_pixels(x, y) for x, y in stroke.points]
            width = stroke.width * self.scale * fine / 2
            value = round(255 * min(1.0, stroke.value) * min(1.0, width))
            line = [(x * _SUPERSAMPLING, y * _SUPERSAMPLING) for x, y in points]
            draw.line(line, fill=value, width=max(1, round(width)), joint="curve")
        result: FloatArray = np.asarray(layer.reduce(_SUPERSAMPLING), dtype=np.float32) / np.float32(255.0)
        return result


def soft_step(distance: FloatArray, edge: float) -> FloatArray:
    """Rise smoothly from 0 to 1 while ``distance`` goes from ``-edge / 2`` to ``edge / 2``."""
    ramp = np.clip(distance * np.float32(1.0 / edge) + np.float32(0.5), 0.0, 1.0)
    result: FloatArray = ramp * ramp * (np.float32(3.0) - np.float32(2.0) * ramp)
    return result


def smooth_minimum(first: FloatArray, second: FloatArray, reach: float) -> FloatArray:
    """Minimum of two distances with the crease between them filled over ``reach``: two shapes melt into one outline."""
    near = np.maximum(np.float32(reach) - np.abs(first - second), np.float32(0))
    result: FloatArray = np.minimum(first, second) - near * near * np.float32(1 / (4 * reach))
    return result


def bump(offset: FloatArray) -> FloatArray:
    """``max(0, 1 - offset**2)``: the thickness of a round body seen from the side, without its infinite slope."""
    result: FloatArray = np.maximum(np.float32(1.0) - offset * offset, np.float32(0.0))
    return result


def ellipse_radius(
    x: FloatArray, y: FloatArray, centre: tuple[float, float], radii: tuple[float, float], angle: float = 0.0
) -> FloatArray:
    """Distance from an ellipse's centre as a multiple of its radius in that direction: 1 on the outline."""
    dx, dy = x - np.float32(centre[0]), y - np.float32(centre[1])
    cosine, sine = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    along = (cosine * dx + sine * dy) * np.float32(1.0 / radii[0])
    across = (cosine * dy - sine * dx) * np.float32(1.0 / radii[1])
    result: FloatArray = np.sqrt(along * along + across * across)
    return result


def smooth_noise(rng: np.random.Generator, size: int, cells: int) -> FloatArray:
    """Random field with about ``cells`` independent cells a side; mean 0, standard deviation near 1."""
    knots = rng.standard_normal((cells + 3, cells + 3)).astype(np.float32)
    weights = _spline_weights(size, cells)
    field: FloatArray = (weights @ knots) @ weights.T
    # A cubic B-spline averages neighbouring knots: the variance it leaves is (sum of squared weights) squared.
    result: FloatArray = field / np.float32(np.mean(np.sum(weights * weights, axis=1)))
    return result


def _spline_weights(size: int, cells: int) -> FloatArray:
    """Uniform cubic B-spline basis, ``(size, cells + 3)``."""
    position = (np.arange(size) + 0.5) * (cells / size)
    cell = np.minimum(position.astype(np.int64), cells - 1)
    t = position - cell
    basis = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], axis=1) / 6.0
    weights = np.zeros((size, cells + 3), dtype=np.float32)
    rows = np.arange(size)
    for offset in range(4):
        weights[rows, cell + offset] = basis[:, offset]
    return weights


def blur(image: FloatArray, sigma: float) -> FloatArray:
    """Gaussian blur with ``sigma`` in pixels; the border is repeated by renormalising the kernel."""
    position = np.arange(image.shape[0], dtype=np.float32)
    offsets = (position[:, None] - position[None, :]) * np.float32(1.0 / sigma)
    kernel = np.exp(np.float32(-0.5) * offsets * offsets)
    kernel /= kernel.sum(axis=1, keepdims=True)
    result: FloatArray = (kernel @ image) @ kernel.T
    return result
