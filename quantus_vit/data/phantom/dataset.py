"""Synthetic frontal chest X-rays with known lesions: a data set for examples, tests and sanity checks of explanations.

Every picture is drawn by code from a seed; nothing is learned from or copied out of a real film. Because the lesion's
place is known, a phantom answers what a real film cannot: whether a relevance map lies on the cause of the label, and
what the same film looks like without it (:meth:`Phantom.twin`). Phantoms are no medical material.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from ..base import Annotation, Record, XrayDataset
from ..conventions import CLASS_NAMES, SPLITS, XraySample, check_split, normalize_image
from ..datasets import DatasetSpec
from .film import Film, render_film

__all__ = ["PHANTOM", "DrawnMask", "Phantom"]

_MIN_SIZE = 32
_NORMAL = CLASS_NAMES.index("Normal")


class Phantom(XrayDataset, Dataset[XraySample]):
    """Synthetic chest X-rays of the three classes, drawn when they are asked for.

    Item ``i`` depends on ``(seed, split, i)`` and the image size alone, not on ``count``; its label is ``i % 3``. It is
    drawn in some 15 ms at 224 pixels.

    Parameters
    ----------
    count : int
        Number of images, at least 1.
    seed : int
        Any non-negative integer; other seeds give other people.
    split : str
        "Train", "Val" or "Test": three disjoint streams of the same seed.
    image_size : int
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
    ``lesions.INFECTION_THRESHOLD`` (0.12), inside the lungs. The lung mask is the lung field that is free of
    heart and mediastinum, as annotators draw it.

    Examples
    --------
    >>> from quantus_vit.data import Phantom
    >>> item = Phantom(count=3, seed=0, split="Test", image_size=64)[0]
    >>> item["image"].shape, item["label"], bool(item["infection_mask"].any())
    (torch.Size([3, 64, 64]), 0, True)
    """

    class_names: tuple[str, ...] = CLASS_NAMES

    def __init__(self, count: int, seed: int = 0, split: str = "Train", image_size: int = 224) -> None:
        self.count = _check_integer("count", count, 1)
        self.seed = _check_integer("seed", seed, 0)
        self.image_size = _check_integer("image_size", image_size, _MIN_SIZE)
        split = check_split(split)
        self._latest: tuple[tuple[int, int], Film] | None = None
        records = [self._record(split, index) for index in range(self.count)]
        super().__init__("phantom", CLASS_NAMES, "multiclass", split, records)

    def _record(self, split: str, index: int) -> Record:
        return Record(
            identity=f"phantom/{self.seed}/{split}/{index:06d}",
            path=f"phantom/{split}/{index:06d}.png",
            patient=f"{self.seed}/{split}/{index}",
            labels=(CLASS_NAMES[index % len(CLASS_NAMES)],),
            annotations={
                "lung": Annotation("pixel", DrawnMask(self._labelled_film, index, "lungs")),
                "infection": Annotation("pixel", DrawnMask(self._labelled_film, index, "infection")),
            },
        )

    def __getitem__(self, index: int) -> XraySample:
        """Draw one image with its masks."""
        index = self._check_index(index)
        return self._item(index, self.labels[index])

    def twin(self, index: int) -> XraySample:
        """Draw the same film without its lesion: same person, position, noise and artefacts; label "Normal".

        Parameters
        ----------
        index : int
            Place in the data set.

        Returns
        -------
        XraySample
            As ``phantom[index]``.
        """
        return self._item(self._check_index(index), _NORMAL)

    def _check_index(self, index: int) -> int:
        number = operator.index(index)
        if not -self.count <= number < self.count:
            raise IndexError(f"index {number} is out of range for {self.count} phantoms")
        return number % self.count

    def grey(self, index: int) -> npt.NDArray[np.float32]:
        """Draw the picture alone, float32 ``(image_size, image_size)`` in [0, 1].

        Parameters
        ----------
        index : int
            Place in the data set.

        Returns
        -------
        numpy.ndarray
            float32 ``(image_size, image_size)``, 0 is black.
        """
        return _grey(self._labelled_film(self._check_index(index)))

    def _labelled_film(self, index: int) -> Film:
        return self._film(index, self.labels[index])

    def _film(self, index: int, label: int) -> Film:
        """Draw a film, or take the latest one: a picture and its masks are asked for one after the other."""
        latest = self._latest
        if latest is None or latest[0] != (index, label):
            latest = self._latest = ((index, label), self._draw(index, label))
        return latest[1]

    def _draw(self, index: int, label: int) -> Film:
        seed = np.random.SeedSequence((self.seed, SPLITS.index(self.split), index))
        return render_film(seed, label, self.image_size)

    def _item(self, index: int, label: int) -> XraySample:
        film = self._film(index, label)
        return XraySample(
            image=normalize_image(torch.from_numpy(_grey(film))),
            label=label,
            lung_mask=torch.from_numpy(film.lungs.copy())[None],
            infection_mask=torch.from_numpy(film.infection.copy())[None],
            has_lung_mask=True,
            has_infection_mask=True,
            path=self.records[index].path,
        )


def _grey(film: Film) -> npt.NDArray[np.float32]:
    grey: npt.NDArray[np.float32] = film.grey.astype(np.float32) / np.float32(255)
    return grey


@dataclass(frozen=True)
class DrawnMask:
    """Reads one mask of a film, by the name of its part."""

    film: Callable[[int], Film]
    index: int
    part: str

    def __call__(self) -> npt.NDArray[np.bool_]:
        """Bool ``(image_size, image_size)``."""
        mask: npt.NDArray[np.bool_] = getattr(self.film(self.index), self.part).copy()
        return mask


def _open(place: str, split: str, count: int = 60, seed: int = 0, image_size: int = 224) -> Phantom:
    return Phantom(count, seed=seed, split=split, image_size=image_size)


PHANTOM = DatasetSpec(
    name="phantom",
    summary="synthetic chest X-rays with known lesions, drawn by code",
    usage="phantom",
    open=_open,
    options={
        "count": "number of images (60)",
        "seed": "other seeds give other people (0)",
        "image_size": "side in pixels at which they are drawn (224)",
    },
)


def _check_integer(name: str, value: int, minimum: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if number < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {number}")
    return number
