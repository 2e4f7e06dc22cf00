"""Synthetic frontal chest X-rays with known lesions: a data set for examples, tests and sanity checks of explanations.

Every picture is drawn by code from a seed; nothing is learned from or copied out of a real film. Because the lesion's
place is known, a phantom answers what a real film cannot: whether a relevance map lies on the cause of the label, and
what the same film looks like without it (:meth:`Phantom.twin`). Phantoms are no medical material.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from .conventions import CLASS_NAMES, SPLITS, XraySample, check_split, normalize_image
from .phantom_anatomy import Anatomy, draw_thorax, vessel_tree
from .phantom_artefacts import Artefacts, draw_artefacts
from .phantom_bones import Skeleton, draw_bones
from .phantom_canvas import Canvas, FloatArray, blur, smooth_noise, soft_step
from .phantom_lesions import INFECTION_THRESHOLD, draw_lesions

__all__ = ["Phantom"]

_F = np.float32
_MIN_SIZE = 32
_NORMAL = CLASS_NAMES.index("Normal")


class Phantom(Dataset[XraySample]):
    """Synthetic chest X-rays of the three classes, drawn when they are asked for.

    Item ``i`` depends on ``(seed, split, i)`` and the image size alone, not on ``count``; its label is ``i % 3``. It is
    drawn in some 15 ms at 224 pixels.

    Parameters
    ----------
    count
        Number of images, at least 1.
    seed
        Any non-negative integer; other seeds give other people.
    split
        "Train", "Val" or "Test": three disjoint streams of the same seed.
    image_size
        Side in pixels, at least 32.

    Raises
    ------
    TypeError
        If ``count``, ``seed`` or ``image_size`` is no integer.
    ValueError
        If one of them is out of range, or ``split`` is unknown.

    Notes
    -----
    The random numbers come from numpy's ``PCG64``, seeded through ``SeedSequence``; grey values are rounded to 8 bits
    as in a PNG, so that machines agree up to single grey levels where their floating-point libraries round differently.

    The infection mask holds the pixels whose *opacity*, the share of the lung's air that is replaced by fluid, exceeds
    ``phantom_lesions.INFECTION_THRESHOLD`` (0.12), inside the lungs. The lung mask is the lung field that is free of
    heart and mediastinum, as annotators draw it.

    Examples
    --------
    >>> from quantus_vit.data import Phantom
    >>> item = Phantom(count=3, seed=0, split="Test", image_size=64)[0]
    >>> item["image"].shape, item["label"], bool(item["infection_mask"].any())
    (torch.Size([3, 64, 64]), 0, True)
    """

    class_names = CLASS_NAMES

    def __init__(self, count: int, seed: int = 0, split: str = "Train", image_size: int = 224) -> None:
        self.count = _check_integer("count", count, 1)
        self.seed = _check_integer("seed", seed, 0)
        self.split = check_split(split)
        self.image_size = _check_integer("image_size", image_size, _MIN_SIZE)
        self.labels: list[int] = [index % len(CLASS_NAMES) for index in range(self.count)]

    def __len__(self) -> int:
        """Number of images."""
        return self.count

    def __getitem__(self, index: int) -> XraySample:
        """Draw one image with its masks."""
        index = self._check_index(index)
        return self._item(index, self.labels[index])

    def twin(self, index: int) -> XraySample:
        """Draw the same film without its lesion: same person, position, noise and artefacts; label "Normal"."""
        return self._item(self._check_index(index), _NORMAL)

    def _check_index(self, index: int) -> int:
        number = operator.index(index)
        if not -self.count <= number < self.count:
            raise IndexError(f"index {number} is out of range for {self.count} phantoms")
        return number % self.count

    def _item(self, index: int, label: int) -> XraySample:
        film = _render(np.random.SeedSequence((self.seed, SPLITS.index(self.split), index)), label, self.image_size)
        return XraySample(
            image=normalize_image(torch.from_numpy(film.gray.astype(np.float32) / _F(255))),
            label=label,
            lung_mask=torch.from_numpy(film.lungs)[None],
            infection_mask=torch.from_numpy(film.infection)[None],
            has_lung_mask=True,
            has_infection_mask=True,
            path=f"phantom/{self.split}/{index:06d}.png",
        )


@dataclass(frozen=True)
class _Film:
    """A finished film: 8-bit grey values and both masks, each ``(size, size)``."""

    gray: npt.NDArray[np.uint8]
    lungs: npt.NDArray[np.bool_]
    infection: npt.NDArray[np.bool_]


def _render(seed: np.random.SeedSequence, label: int, size: int) -> _Film:
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
    return _Film(_expose(attenuation + metal, exposure, film, noise), lungs, infection)


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
    gray = np.clip((signal - _F(low)) * _F(1 / span), 0.0, None)
    # A film saturates in the bright parts: 1 - exp(-x), scaled so that 1 stays about 1.
    knee = _F(rng.uniform(0.9, 1.7))
    gray = (_F(1) - np.exp(-knee * gray)) / (_F(1) - np.exp(-knee))
    levels: npt.NDArray[np.uint8] = np.clip(np.rint(gray * exposure * _F(255)), 0, 255).astype(np.uint8)
    return levels


def _check_integer(name: str, value: int, minimum: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if number < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {number}")
    return number
