"""A normal thorax as seen from the front: random proportions, and the attenuation of its soft tissue and air.

Knows the canvas only. "Right" and "left" are the patient's: the right lung lies on the left of the image. Attenuation
is in arbitrary units in which the mid-torso is about 0.6 and air 0; proportions follow a normal PA film at full
inspiration (cardiothoracic ratio about 0.5 at most, left hemidiaphragm lower than the right, left hilum higher).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .canvas import Canvas, FloatArray, Stroke, bump, ellipse_radius, smooth_minimum, soft_step

__all__ = ["Anatomy", "Lung", "Thorax", "draw_thorax", "vessel_tree"]

_F = np.float32


@dataclass(frozen=True)
class Lung:
    """Outline of one lung; ``s`` is the distance from the midline, so both sides share formulas."""

    side: int
    """-1: the patient's right (left in the image); +1: the patient's left."""
    apex_s: float
    apex_y: float
    wall: float
    """Half-width of the thorax at ``wall_y``, where the wall becomes vertical."""
    wall_y: float
    flare: float
    """Widening below ``wall_y``, per unit of height."""
    medial: float
    dome_s: float
    dome_y: float
    lateral_drop: float
    """How far the costophrenic angle lies below the dome."""
    medial_drop: float

    def distance(self, s: FloatArray, y: FloatArray) -> FloatArray:
        """Approximate distance to the pleura, positive inside; the heart is not yet taken out."""
        s = s - _F(self.flare) * np.maximum(y - _F(self.wall_y), _F(0))
        lateral = s >= self.apex_s
        half = np.where(lateral, _F(self.wall - self.apex_s), _F(self.apex_s - self.medial))
        height = np.where(lateral, _F(self.wall_y - self.apex_y), _F(0.28))
        across = np.abs(s - _F(self.apex_s)) / half
        up = np.maximum(_F(self.apex_y) + height - y, _F(0)) / height
        pleura = (_F(1) - np.sqrt(across * across + up * up)) * half
        result: FloatArray = np.minimum(pleura, self.diaphragm(s) - y)
        return result

    def diaphragm(self, s: FloatArray) -> FloatArray:
        """Height of the diaphragm's dome at ``s``."""
        outward = np.maximum(s - _F(self.dome_s), _F(0)) * _F(1 / (self.wall - self.dome_s))
        inward = np.maximum(_F(self.dome_s) - s, _F(0)) * _F(1 / (self.dome_s - self.medial))
        drop = _F(self.lateral_drop) * outward * outward * (_F(0.4) + _F(0.6) * outward)
        result: FloatArray = _F(self.dome_y) + drop + _F(self.medial_drop) * inward * inward
        return result


@dataclass(frozen=True)
class Anatomy:
    """The proportions of one person."""

    lungs: tuple[Lung, Lung]
    heart_centre: tuple[float, float]
    heart_radii: tuple[float, float]
    heart_angle: float
    atrium_centre: tuple[float, float]
    atrium_radii: tuple[float, float]
    knob: tuple[float, float, float]
    """Aortic arch: x, y, radius."""
    trachea: float
    """Half-width of the trachea."""
    torso: float
    """Half-width of the torso below the arms."""
    shoulder_y: float
    neck: float
    arms: bool
    breast: tuple[float, float, float]
    """Strength (0 for none), distance from the midline and height of the breast shadows."""
    stomach: tuple[float, float, float]
    """Gas bubble under the left dome: x, y, radius."""
    thickness: float
    """How much the body attenuates: build, and tube voltage."""

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Anatomy:
        """Draw a person."""
        lungs = _sample_lungs(rng)
        wall = lungs[1].wall
        heart = rng.uniform(0.88, 1.12)
        return cls(
            lungs=lungs,
            heart_centre=(rng.uniform(0.11, 0.16) * heart, lungs[1].dome_y - rng.uniform(0.15, 0.21)),
            heart_radii=(rng.uniform(0.34, 0.38) * heart, rng.uniform(0.21, 0.25) * heart),
            heart_angle=rng.uniform(0.55, 0.95),
            atrium_centre=(-0.04, lungs[0].dome_y - rng.uniform(0.16, 0.22)),
            atrium_radii=(rng.uniform(0.14, 0.18), rng.uniform(0.24, 0.29)),
            knob=(rng.uniform(0.085, 0.12), rng.uniform(-0.37, -0.30), rng.uniform(0.07, 0.095)),
            trachea=rng.uniform(0.035, 0.048),
            torso=wall + rng.uniform(0.09, 0.22),
            shoulder_y=rng.uniform(-1.0, -0.86),
            neck=rng.uniform(0.22, 0.30),
            arms=bool(rng.random() < 0.35),
            breast=(max(0.0, rng.uniform(-0.9, 1.0)), rng.uniform(0.40, 0.50), rng.uniform(0.22, 0.40)),
            stomach=(rng.uniform(0.28, 0.48), lungs[1].dome_y + rng.uniform(0.12, 0.18), rng.uniform(0.0, 0.12)),
            thickness=rng.uniform(0.92, 1.10),
        )


def _sample_lungs(rng: np.random.Generator) -> tuple[Lung, Lung]:
    """Draw both lungs: similar, not mirrored."""
    wall, apex_y, dome_y = rng.uniform(0.64, 0.75), rng.uniform(-0.76, -0.68), rng.uniform(0.34, 0.50)
    apex_s, wall_y, flare = rng.uniform(0.28, 0.33), rng.uniform(-0.12, 0.06), rng.uniform(0.06, 0.18)
    lungs = []
    for side in (-1, 1):
        lungs.append(
            Lung(
                side=side,
                apex_s=apex_s + rng.uniform(-0.015, 0.015),
                apex_y=apex_y + rng.uniform(-0.02, 0.02),
                wall=wall + rng.uniform(-0.02, 0.02),
                wall_y=wall_y,
                flare=flare,
                medial=rng.uniform(0.11, 0.14) if side < 0 else rng.uniform(0.09, 0.12),
                dome_s=rng.uniform(0.34, 0.42),
                dome_y=dome_y + (rng.uniform(0.02, 0.07) if side > 0 else 0.0),
                lateral_drop=rng.uniform(0.17, 0.28),
                medial_drop=rng.uniform(0.05, 0.11),
            )
        )
    return lungs[0], lungs[1]


@dataclass(frozen=True)
class Thorax:
    """What was drawn; every array is ``(size, size)``."""

    attenuation: FloatArray
    air: tuple[FloatArray, FloatArray]
    """For each lung (right, left), how much attenuation its air removed: what a filled lung would give back."""
    depth: tuple[FloatArray, FloatArray]
    """Distance to the border of each lung field (heart and mediastinum taken out), positive inside."""


def draw_thorax(anatomy: Anatomy, canvas: Canvas) -> Thorax:
    """Attenuation of body, mediastinum, heart, diaphragm and lungs; bones and vessels come on top of it."""
    x, y = canvas.coordinates()
    s = np.abs(x)
    body = _draw_body(anatomy, s, y)
    heart, central = _draw_mediastinum(anatomy, x, y)
    attenuation = body + central
    airs, depths = [], []
    for lung in anatomy.lungs:
        pleura = lung.distance(x * _F(lung.side), y)
        depth = np.minimum(pleura, heart)
        # Near the pleura the lung is thin in the beam's direction, at the heart's border it is not.
        thickness = _F(1) - _F(0.42) * np.exp(np.minimum(-pleura, _F(0)) * _F(9.0))
        air = _F(0.43) * soft_step(depth, 0.022) * thickness
        # The lung behind the heart and the dome still lets some light through.
        hidden = _F(0.07) * soft_step(pleura, 0.03) * (_F(1) - soft_step(depth, 0.022))
        attenuation = attenuation - air - hidden
        airs.append(air)
        depths.append(depth)
    abdomen = _draw_below_diaphragm(anatomy, x, y)
    # Dense tissue saturates the film: a breast shows over the lung more than over the liver.
    attenuation += abdomen + _draw_breasts(anatomy, s, y) * (_F(1) - _F(7) * np.clip(abdomen, 0, 0.12))
    return Thorax(attenuation * _F(anatomy.thickness), (airs[0], airs[1]), (depths[0], depths[1]))


def _draw_body(anatomy: Anatomy, s: FloatArray, y: FloatArray) -> FloatArray:
    """Torso, neck, shoulders and (perhaps) arms as one soft outline with its thickness."""
    outward = np.maximum(s - _F(anatomy.neck), _F(0))
    shoulder = y - (_F(anatomy.shoulder_y) + outward * (_F(0.12) + _F(0.32) * outward * outward))
    above_arms = soft_step(_F(-0.02) - y, 0.75)
    flank = _F(anatomy.torso) + _F(0.32) * above_arms + _F(0.05) * y - s
    neck = np.minimum(_F(anatomy.neck) - s + _F(0.12) * (y + _F(1)), flank)
    inside = -smooth_minimum(-np.minimum(shoulder, flank), -neck, 0.15)
    # Square root of the distance: a rounded flank, dark only at its very edge.
    thickness = np.sqrt(np.clip(inside * _F(1 / 0.32), 0, 1))
    torso = (_F(0.30) + _F(0.34) * thickness) * soft_step(inside, 0.02)
    torso += _F(0.03) * bump(s * _F(1 / 0.55)) + _F(0.04) * np.clip(y, -1, 1)
    torso *= soft_step(inside, 0.05)
    if anatomy.arms:
        offset = (s - _F(anatomy.torso + 0.24) - _F(0.08) * y) * _F(1 / 0.15)
        arm = _F(0.40) * np.sqrt(bump(offset)) * soft_step(y + _F(0.5), 0.6)
        torso = np.maximum(torso, arm)
    result: FloatArray = torso
    return result


def _draw_mediastinum(anatomy: Anatomy, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Distance from heart and great vessels (positive outside them), and their attenuation with the airways'."""
    ventricle = ellipse_radius(x, y, anatomy.heart_centre, anatomy.heart_radii, anatomy.heart_angle)
    atrium = ellipse_radius(x, y, anatomy.atrium_centre, anatomy.atrium_radii)
    knob_x, knob_y, knob_radius = anatomy.knob
    knob = ellipse_radius(x, y, (knob_x, knob_y), (knob_radius, knob_radius * 1.1))
    trunk = ellipse_radius(x, y, (knob_x - 0.01, knob_y + 0.19), (knob_radius * 0.85, knob_radius * 1.6), -0.25)
    # Vena cava, vessels of the neck and oesophagus: a band that widens upwards, and downwards to the crura.
    width = _F(0.115) + _F(0.05) * np.maximum(_F(-0.45) - y, _F(0)) + _F(0.5) * np.maximum(y - _F(0.30), _F(0))
    band = np.abs(x + _F(0.015)) - width
    heart = smooth_minimum((ventricle - _F(1)) * _F(anatomy.heart_radii[1]), (atrium - _F(1)) * _F(0.16), 0.06)
    outside = smooth_minimum(heart, band, 0.07)
    vessels = smooth_minimum((knob - _F(1)) * _F(knob_radius), (trunk - _F(1)) * _F(knob_radius), 0.05)
    outside = smooth_minimum(outside, vessels, 0.05)
    # The heart is thick almost up to its border, then falls off quickly.
    attenuation = _F(0.09) * soft_step(-heart - _F(0.05), 0.16)
    attenuation += _F(0.04) * bump(knob) + _F(0.06) * bump(x * _F(1 / 0.2)) * soft_step(y + _F(0.75), 0.5)
    attenuation -= _draw_airways(anatomy, x, y)
    return outside, attenuation


def _draw_airways(anatomy: Anatomy, x: FloatArray, y: FloatArray) -> FloatArray:
    """Air in the trachea and both main bronchi, as attenuation to take away."""
    carina = anatomy.knob[1] + 0.13
    width = _F(1 / anatomy.trachea)
    trachea = bump((x + _F(0.012)) * width) * soft_step(_F(carina) - y, 0.08)
    below = np.maximum(y - _F(carina), _F(0))
    right = bump((x + _F(0.02) + _F(0.62) * below) * width * _F(1.25)) * soft_step(_F(0.13) - below, 0.06)
    left = bump((x + _F(0.0) - _F(0.95) * below) * width * _F(1.25)) * soft_step(_F(0.14) - below, 0.06)
    bronchi = np.maximum(right, left) * soft_step(y - _F(carina), 0.02)
    result: FloatArray = _F(0.13) * trachea + _F(0.07) * bronchi
    return result


def _draw_below_diaphragm(anatomy: Anatomy, x: FloatArray, y: FloatArray) -> FloatArray:
    """Liver, spleen and the stomach's gas."""
    right, left = anatomy.lungs
    # The domes continue behind the heart at one height; the liver is a little denser than what lies on the left.
    side = soft_step(x, 0.2)
    dome = right.diaphragm(np.maximum(-x, _F(right.medial))) * (_F(1) - side)
    dome += left.diaphragm(np.maximum(x, _F(left.medial))) * side
    abdomen = (_F(0.12) - _F(0.03) * side) * soft_step(y - dome, 0.03)
    abdomen *= soft_step(_F(anatomy.torso - 0.04) - np.abs(x), 0.2) * (
        _F(0.75) + _F(0.25) * soft_step(y - dome - _F(0.1), 0.3)
    )
    gas_x, gas_y, gas_radius = anatomy.stomach
    if gas_radius > 0.04:
        gas = ellipse_radius(x, y, (gas_x, gas_y), (gas_radius * 1.35, gas_radius * 0.8), 0.2)
        gas += _F(0.25) * np.sin(x * _F(23.0) + _F(gas_x * 40)) * np.sin(y * _F(19.0))
        abdomen -= _F(0.10) * soft_step(_F(1) - gas, 0.5)
    result: FloatArray = abdomen
    return result


def _draw_breasts(anatomy: Anatomy, s: FloatArray, y: FloatArray) -> FloatArray:
    """Soft shadows over the lower lungs whose lower edge is sharp: a harmless haze that is no lesion."""
    strength, centre_s, centre_y = anatomy.breast
    if strength < 0.15:
        return np.zeros_like(s)
    radius = ellipse_radius(s, y, (centre_s, centre_y), (0.30, 0.26 + 0.06 * strength))
    edge = _F(0.05) + _F(0.25) * soft_step(_F(centre_y) - y, 0.3)
    soft = np.clip((_F(1) - radius) / edge, 0, 1)
    result: FloatArray = _F(0.06 * strength) * soft * soft_step(y + _F(0.05), 0.5)
    return result


def vessel_tree(anatomy: Anatomy, rng: np.random.Generator) -> list[Stroke]:
    """Pulmonary vessels of both lungs as strokes, thin ones first: they fan out from the hila, branch and taper."""
    strokes: list[Stroke] = []
    for lung in anatomy.lungs:
        hilum_y = anatomy.knob[1] + (0.30 if lung.side < 0 else 0.26)
        for branch in range(8):
            # From almost straight up to almost straight down; 0 points away from the midline.
            direction = -1.25 + 2.5 * (branch + rng.uniform(-0.4, 0.4)) / 7
            start = (rng.uniform(0.13, 0.18), hilum_y + rng.uniform(-0.07, 0.09) + 0.05 * direction)
            _grow_vessel(strokes, rng, lung.side, start, direction, rng.uniform(0.022, 0.034), 0)
    strokes.sort(key=lambda stroke: stroke.value)
    return strokes


def _grow_vessel(
    strokes: list[Stroke],
    rng: np.random.Generator,
    side: int,
    start: tuple[float, float],
    direction: float,
    width: float,
    generation: int,
) -> None:
    """Add one vessel and, through its end, its two daughters."""
    bend, length, ratio, fork = rng.random(4)
    length = 0.06 + 0.08 * length
    points = [start]
    for _ in range(3):
        direction += 0.55 * (bend - 0.5)
        s, y = points[-1]
        points.append((s + math.cos(direction) * length / 3, y + math.sin(direction) * length / 3))
    brightness = 0.9 * 0.72**generation
    strokes.append(Stroke([(side * s, y) for s, y in points], width, brightness))
    if generation < 3:
        spread = 0.35 + 0.55 * fork
        share = 0.25 + 0.5 * ratio
        for turn, daughter in ((spread * (1 - share), 0.80), (-spread * share, 0.80 - 0.15 * ratio)):
            _grow_vessel(strokes, rng, side, points[-1], direction + turn, width * daughter * 0.9, generation + 1)
