"""One finished film of the phantom: anatomy, bones, lesion and artefacts, seen by a detector and put on a display.

Knows the drawing parts of the phantom and numpy; not data sets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .anatomy import Anatomy, draw_thorax, vessel_tree
from .artefacts import Artefacts, draw_artefacts
from .bones import Skeleton, draw_bones
from .canvas import Canvas, FloatArray, blur, smooth_noise, soft_step
from .lesions import INFECTION_THRESHOLD, draw_lesions

__all__ = ["Film", "render_film"]

_F = np.float32


@dataclass(frozen=True)
class Film:
    """A finished film: 8-bit grey values and its masks, each ``(size, size)``."""

    grey: npt.NDArray[np.uint8]
    lungs: npt.NDArray[np.bool_]
    infection: npt.NDArray[np.bool_]
    artefact: npt.NDArray[np.bool_]
    """A planted confounder; harmless artefacts are not marked."""


def render_film(seed: np.random.SeedSequence, label: int, size: int) -> Film:
    """Draw one film; every stage has a random stream of its own, so that a lesion changes nothing else."""
    streams = [np.random.default_rng(child) for child in seed.spawn(5)]
    person, lesion, position, film, noise = streams
    canvas = Canvas(
        size,
        angle=float(np.clip(position.normal(0.0, 0.03), -0.09, 0.09)),
        scale=position.uniform(0.94, 1.14),
        shift=(position.uniform(-0.07, 0.07), position.uniform(-0.06, 0.10)),
    )
    anatomy, skeleton = Anatomy.sample(person), Skeleton.sample(person)
    thorax = draw_thorax(anatomy, canvas)
    opacities = draw_lesions(label, anatomy, thorax, canvas, lesion)
    attenuation = thorax.attenuation + draw_bones(skeleton, anatomy, canvas)
    attenuation += _lung_markings(anatomy, canvas, thorax.depth, person)
    for opacity, air in zip(opacities, thorax.air, strict=True):
        attenuation += opacity * air
    lungs = (thorax.depth[0] > 0) | (thorax.depth[1] > 0)
    infection = lungs & (np.maximum(opacities[0], opacities[1]) > INFECTION_THRESHOLD)
    metal, exposure = draw_artefacts(Artefacts.sample(film), size)
    return Film(_expose(attenuation + metal, exposure, film, noise), lungs, infection, np.zeros_like(lungs))


def _lung_markings(
    anatomy: Anatomy, canvas: Canvas, depth: tuple[FloatArray, FloatArray], rng: np.random.Generator
) -> FloatArray:
    """Vessels and the fine interstitial texture of the lungs."""
    strength = rng.uniform(0.06, 0.12)
    vessels = blur(canvas.strokes(vessel_tree(anatomy, rng)), 0.0025 * canvas.size)
    texture = _F(0.011) * smooth_noise(rng, canvas.size, 46) + _F(0.010) * smooth_noise(rng, canvas.size, 18)
    inside = soft_step(np.maximum(depth[0], depth[1]), 0.02)
    markings: FloatArray = (_F(strength) * vessels + texture) * inside
    return markings


def _expose(
    attenuation: FloatArray, exposure: FloatArray, rng: np.random.Generator, noise: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Detector and display: blur, scatter, quantum noise, and a window that differs from hospital to hospital."""
    size = attenuation.shape[0]
    sharp = blur(attenuation, rng.uniform(0.0018, 0.0042) * size)
    scatter = _F(rng.uniform(0.008, 0.022)) * smooth_noise(noise, size, 4)
    # Fewer quanta arrive behind dense tissue: noise grows with attenuation.
    grain = blur(noise.standard_normal((size, size), dtype=np.float32), 0.6)
    signal = sharp + scatter + _F(rng.uniform(0.006, 0.022)) * grain * (_F(0.4) + sharp)
    low, span = rng.uniform(-0.06, 0.12), rng.uniform(0.84, 1.08)
    grey = np.clip((signal - _F(low)) * _F(1 / span), 0.0, None)
    # A film saturates in the bright parts: 1 - exp(-x), scaled so that 1 stays about 1.
    knee = _F(rng.uniform(0.9, 1.7))
    grey = (_F(1) - np.exp(-knee * grey)) / (_F(1) - np.exp(-knee))
    levels: npt.NDArray[np.uint8] = np.clip(np.rint(grey * exposure * _F(255)), 0, 255).astype(np.uint8)
    return levels
