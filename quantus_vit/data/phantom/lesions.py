"""Lesions of the phantom: which part of a lung is filled, and how much of it.

Knows the anatomy and the canvas. *Opacity* is the share of a lung's air that is replaced by fluid: 0 is a healthy
lung, 1 makes the lung as dense as the soft tissue around it. Patterns follow the usual description of the two diseases
on a plain film:

* COVID-19: multifocal ground-glass opacities in both lungs, peripheral, mostly in the lower zones (Wong et al.,
  Radiology 2020, "Frequency and distribution of chest radiographic findings in patients positive for COVID-19").
* other pneumonia: one consolidation of a lobe or a segment on one side, denser, perhaps with an air bronchogram and a
  straight border along a fissure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .anatomy import Anatomy, Lung, Thorax
from .canvas import Canvas, FloatArray, Stroke, ellipse_radius, smooth_noise, soft_step

__all__ = ["INFECTION_THRESHOLD", "draw_lesions"]

INFECTION_THRESHOLD = 0.12
"""Opacity from which a pixel belongs to the infection mask: about where a reader would start to draw the border."""

_F = np.float32


@dataclass(frozen=True)
class _Patch:
    """One elliptic focus; centre in body units, ``s`` away from the midline."""

    s: float
    y: float
    radii: tuple[float, float]
    angle: float
    peak: float
    softness: float
    """Width of the border as a share of the radius: 1 is a haze, 0.3 an almost sharp edge."""


def draw_lesions(
    label: int, anatomy: Anatomy, thorax: Thorax, canvas: Canvas, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Opacity of the right and the left lung, each ``(size, size)`` in [0, 1] and 0 outside its lung field.

    Parameters
    ----------
    label : int
        0 COVID-19, 1 another pneumonia, 2 no lesion.
    """
    x, y = canvas.coordinates()
    if label == 0:
        severity = rng.uniform(0.20, 0.46)
        foci = [_ground_glass(lung, severity, rng) for lung in anatomy.lungs]
        opacities = [_draw_patches(patches, lung, x, y, rng) for patches, lung in zip(foci, anatomy.lungs, strict=True)]
    elif label == 1:
        affected = int(rng.integers(2))
        opacities = [np.zeros_like(x), np.zeros_like(x)]
        opacities[affected] = _consolidation(anatomy, anatomy.lungs[affected], canvas, rng)
    else:
        opacities = [np.zeros_like(x), np.zeros_like(x)]
    inside = [soft_step(depth, 0.02) for depth in thorax.depth]
    return opacities[0] * inside[0], opacities[1] * inside[1]


def _ground_glass(lung: Lung, severity: float, rng: np.random.Generator) -> list[_Patch]:
    """Two to five faint foci along the outer border of one lung; the first one always in the lower zone."""
    patches = []
    side = rng.uniform(0.75, 1.15)
    for number in range(int(rng.integers(2, 6))):
        reach = rng.beta(3.0, 1.6) if number else rng.uniform(0.66, 0.92)
        y = lung.apex_y + 0.22 + reach * (lung.dome_y - lung.apex_y - 0.20)
        up = max(0.0, (lung.wall_y - y) / (lung.wall_y - lung.apex_y))
        wall = lung.apex_s + (lung.wall - lung.apex_s) * math.sqrt(max(0.0, 1 - up * up))
        wall += lung.flare * max(0.0, y - lung.wall_y)
        inward = rng.uniform(0.03, 0.14) if number < 2 else rng.uniform(0.03, 0.24)
        patches.append(
            _Patch(
                s=wall - inward,
                y=y,
                radii=(rng.uniform(0.10, 0.19), rng.uniform(0.12, 0.25)),
                angle=lung.side * rng.uniform(-0.5, 0.2),
                peak=min(0.65, severity * side * rng.uniform(0.8, 1.25)),
                softness=rng.uniform(0.9, 1.3),
            )
        )
    return patches


def _draw_patches(
    patches: list[_Patch], lung: Lung, x: FloatArray, y: FloatArray, rng: np.random.Generator
) -> FloatArray:
    """Patches with ragged borders and a reticular texture; where they overlap, each fills what air is left."""
    size = x.shape[0]
    ragged = smooth_noise(rng, size, 14)
    texture = _F(1) + _F(0.16) * smooth_noise(rng, size, 40) + _F(0.12) * ragged
    air = np.ones_like(x)
    for patch in patches:
        radius = ellipse_radius(x, y, (lung.side * patch.s, patch.y), patch.radii, patch.angle)
        edge = _F(1) - radius + _F(0.16) * ragged
        air *= _F(1) - _F(patch.peak) * soft_step(edge, patch.softness)
    result: FloatArray = np.clip((_F(1) - air) * texture, 0, 1)
    return result


def _consolidation(anatomy: Anatomy, lung: Lung, canvas: Canvas, rng: np.random.Generator) -> FloatArray:
    """One dense focus in a zone of one lung, perhaps cut by a fissure, perhaps with an air bronchogram."""
    x, y = canvas.coordinates()
    zone = int(rng.integers(3))
    height = lung.dome_y - lung.apex_y
    centre_y = lung.apex_y + height * (0.30, 0.60, 0.85)[zone] + rng.uniform(-0.05, 0.05)
    patch = _Patch(
        s=rng.uniform(0.30, 0.46) + (0.0, 0.03, 0.02)[zone],
        y=centre_y,
        radii=(rng.uniform(0.15, 0.26), rng.uniform(0.13, 0.24)),
        angle=rng.uniform(-0.6, 0.6),
        peak=rng.uniform(0.36, 0.85),
        softness=rng.uniform(0.45, 0.85),
    )
    opacity = _draw_patches([patch], lung, x, y, rng)
    if rng.random() < 0.5:
        # A lobe ends at its fissure: below an upper lobe, above a middle or lower one.
        side = 1.0 if zone == 0 else -1.0
        tilt = rng.uniform(-0.1, 0.3)
        line = patch.y + side * rng.uniform(0.05, 0.11) + tilt * (x * _F(lung.side) - _F(patch.s))
        opacity = opacity * soft_step((line - y) * _F(side), 0.03)
    if rng.random() < 0.6:
        bronchi = canvas.strokes(_air_bronchogram(anatomy, lung, patch, rng))
        opacity = opacity * (_F(1) - _F(0.45) * bronchi)
    return opacity


def _air_bronchogram(anatomy: Anatomy, lung: Lung, patch: _Patch, rng: np.random.Generator) -> list[Stroke]:
    """Bronchi that stay full of air: dark lines from the hilum into the focus."""
    hilum_y = anatomy.knob[1] + 0.28
    away = math.atan2(patch.y - hilum_y, patch.s - 0.16)
    strokes = []
    for offset in np.linspace(-0.28, 0.28, int(rng.integers(2, 4))):
        direction = away + float(offset) + rng.uniform(-0.06, 0.06)
        reach = math.hypot(patch.y - hilum_y, patch.s - 0.16) + rng.uniform(0.02, 0.10)
        points = []
        for step in range(6):
            along = 0.3 * reach + 0.7 * reach * step / 5
            turned = direction + rng.uniform(-0.03, 0.03)
            points.append((lung.side * (0.16 + along * math.cos(turned)), hilum_y + along * math.sin(turned)))
        strokes.append(Stroke(points, rng.uniform(0.014, 0.022), 1.0))
    return strokes
