"""Bones of the phantom's thorax: ribs, clavicles, spine, shoulder blades and upper arms.

Knows the canvas and the proportions of the anatomy; returns attenuation to add. All ribs of a side are one periodic
function of a "rib phase": a rib is the outline of a tilted hoop seen from the front, posterior half above, anterior
half below.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .anatomy import Anatomy, Lung
from .canvas import Canvas, FloatArray, bump, ellipse_radius, soft_step

__all__ = ["Skeleton", "draw_bones"]

_F = np.float32
_RIBS = 10


@dataclass(frozen=True)
class Skeleton:
    """The bony proportions of one person."""

    first_rib: float
    """Height of the first rib at the spine."""
    spacing: float
    """Distance between neighbouring ribs at the spine."""
    posterior_drop: float
    """How far a rib descends from the spine to the side of the thorax."""
    anterior_drop: float
    """How far it descends further until it ends in front."""
    rib_width: float
    """Share of the rib spacing that bone takes."""
    density: float
    """Mineral content: a factor on every bone."""
    clavicle: tuple[float, float]
    """Height of its inner end, and its rise to the outer one."""
    scapula_s: float
    vertebra: float
    """Height of one vertebra with its disc."""
    rib_phase: tuple[float, float]
    """A small shift of each side's ribs, in ribs."""

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Skeleton:
        """Draw a skeleton."""
        return cls(
            first_rib=rng.uniform(-0.74, -0.68),
            spacing=rng.uniform(0.116, 0.134),
            posterior_drop=rng.uniform(0.22, 0.32),
            anterior_drop=rng.uniform(0.26, 0.40),
            rib_width=rng.uniform(0.40, 0.50),
            density=rng.uniform(0.75, 1.2),
            clavicle=(rng.uniform(-0.62, -0.54), rng.uniform(0.12, 0.26)),
            scapula_s=rng.uniform(0.62, 0.78),
            vertebra=rng.uniform(0.088, 0.104),
            rib_phase=(rng.uniform(-0.12, 0.12), rng.uniform(-0.12, 0.12)),
        )


def draw_bones(skeleton: Skeleton, anatomy: Anatomy, canvas: Canvas) -> FloatArray:
    """Attenuation of all bones, ``(size, size)``."""
    x, y = canvas.coordinates()
    bones = _draw_spine(skeleton, x, y)
    for lung, shift in zip(anatomy.lungs, skeleton.rib_phase, strict=True):
        s = x * _F(lung.side)
        columns = np.flatnonzero(s.max(axis=0) > 0)
        near = slice(int(columns[0]), int(columns[-1]) + 1)
        half = _draw_ribs(skeleton, lung, shift, s[:, near], y[:, near])
        half += _draw_shoulder(skeleton, anatomy, s[:, near], y[:, near])
        bones[:, near] += half
    result: FloatArray = bones * _F(skeleton.density)
    return result


def _draw_ribs(skeleton: Skeleton, lung: Lung, shift: float, s: FloatArray, y: FloatArray) -> FloatArray:
    """Posterior and anterior arcs of one side; where they cross, both add up."""
    top = lung.apex_y - 0.06
    up = np.clip((_F(lung.wall_y) - y) * _F(1 / (lung.wall_y - top)), 0, 1)
    chest = _F(lung.wall + 0.025) * np.sqrt(np.maximum(_F(1) - up * up, _F(1e-4)))
    chest += _F(lung.flare) * np.maximum(y - _F(lung.wall_y), _F(0))
    q = s / chest
    inside = soft_step((_F(1) - q) * chest, 0.012) * soft_step(s - _F(0.05), 0.05)
    turn = np.sqrt(bump(q))
    posterior = y - _F(skeleton.posterior_drop) * (_F(1) - turn)
    reach = _F(0.45) * turn + _F(0.55) * (_F(1) - np.clip(q, 0, 1))
    anterior = y - _F(skeleton.posterior_drop) - _F(skeleton.anterior_drop) * reach
    cartilage = soft_step(q - _F(0.42), 0.25)
    ribs = _F(0.062) * _rib_profile(skeleton, posterior, shift) * (_F(0.8) + _F(0.4) * q * q)
    ribs += _F(0.036) * _rib_profile(skeleton, anterior, shift) * cartilage
    covered = _F(1) - _F(0.72) * soft_step(y - lung.diaphragm(s), 0.06)
    # Along the side of the thorax the beam runs through the ribs lengthwise.
    rim = (
        _F(0.05)
        * bump((q - _F(0.985)) * _F(1 / 0.035))
        * soft_step(_F(0.75) - y, 0.2)
        * soft_step(y - _F(top + 0.1), 0.2)
    )
    result: FloatArray = ribs * inside * covered + rim
    return result


def _rib_profile(skeleton: Skeleton, height: FloatArray, shift: float) -> FloatArray:
    """Brightness across all ribs, given how high above the spine's end of its rib each pixel lies."""
    below = height - _F(skeleton.first_rib)
    phase = below * _F(1 / skeleton.spacing) * (_F(1.06) - _F(0.05) * below) + _F(shift)
    number = np.floor(phase + _F(0.5))
    across = np.abs(phase - number) * _F(2 / skeleton.rib_width)
    # Cortical bone: the borders are denser than the marrow between them.
    density = _F(0.72) + _F(0.38) * np.minimum(across, _F(1)) ** 4
    present = (number >= 0) & (number < _RIBS)
    result: FloatArray = np.where(present, soft_step(_F(1) - across, 0.34) * density, _F(0))
    return result


def _draw_spine(skeleton: Skeleton, x: FloatArray, y: FloatArray) -> FloatArray:
    """Vertebral bodies with discs, pedicles and spinous processes."""
    width = _F(0.082) + _F(0.025) * np.clip(y + _F(0.2), _F(-0.6), _F(1))
    body = soft_step(width - np.abs(x), 0.03)
    phase = y * _F(1 / skeleton.vertebra)
    phase = phase - np.floor(phase)
    disc = bump((phase - _F(0.5)) * _F(1 / 0.16))
    along = (phase - np.where(phase > 0.5, _F(1), _F(0))) * _F(skeleton.vertebra)
    pedicle = bump((np.abs(x) - _F(0.055)) * _F(1 / 0.018)) * bump((along + _F(0.012)) * _F(1 / 0.024))
    process = bump(x * _F(1 / 0.014)) * bump((along - _F(0.022)) * _F(1 / 0.03))
    # The heart and the liver hide it: less is seen below.
    seen = _F(1) - _F(0.35) * soft_step(y - _F(0.05), 0.5)
    result: FloatArray = (body * (_F(0.085) - _F(0.035) * disc) + _F(0.035) * pedicle + _F(0.035) * process) * seen
    return result


def _draw_shoulder(skeleton: Skeleton, anatomy: Anatomy, s: FloatArray, y: FloatArray) -> FloatArray:
    """Clavicle, shoulder blade and the head of the humerus of one side."""
    inner, rise = skeleton.clavicle
    along = np.clip((s - _F(0.08)) * _F(1 / 0.66), 0, 1)
    # A flat S: it bends back in its outer third.
    centre = _F(inner) - _F(rise) * along + _F(0.018) * np.sin(along * _F(6.0))
    half = _F(0.026) + _F(0.016) * bump(along * _F(4)) + _F(0.008) * along
    across = np.abs(y - centre) / half
    cortex = _F(0.65) + _F(0.45) * np.minimum(across, _F(1)) ** 4
    clavicle = _F(0.115) * soft_step(_F(1) - across, 0.30) * cortex
    clavicle *= soft_step(s - _F(0.075), 0.025) * soft_step(_F(0.84) - s, 0.10)
    border = _F(skeleton.scapula_s) + _F(0.16) * (y + _F(0.45)) + _F(0.35) * (y + _F(0.45)) ** 2
    extent = soft_step(y + _F(0.72), 0.15) * soft_step(_F(-0.20) - y, 0.25)
    blade = _F(0.03) * soft_step(s - border, 0.015) * soft_step(_F(0.22) - (s - border), 0.12)
    edge = _F(0.04) * bump((s - border - _F(0.01)) * _F(1 / 0.018))
    spine = _F(0.045) * bump((y - _F(inner - rise) - _F(0.06) + _F(0.22) * (s - _F(0.75))) * _F(1 / 0.02))
    spine *= soft_step(s - _F(skeleton.scapula_s - 0.02), 0.05)
    outline = ellipse_radius(s, y, (anatomy.torso + 0.16, inner - rise + 0.13), (0.115, 0.125))
    head = _F(0.06) * np.sqrt(bump(outline)) + _F(0.05) * bump((outline - _F(0.95)) * _F(1 / 0.09))
    shaft_offset = (s - _F(anatomy.torso + 0.18) - _F(0.12) * (y - _F(inner - rise))) * _F(1 / 0.055)
    shaft = bump(shaft_offset) * _F(0.05) + _F(0.05) * bump((np.abs(shaft_offset) - _F(0.85)) * _F(1 / 0.2))
    shaft *= soft_step(y - _F(inner - rise + 0.2), 0.08)
    result: FloatArray = clavicle + (blade + edge) * extent + spine + head + shaft
    return result
