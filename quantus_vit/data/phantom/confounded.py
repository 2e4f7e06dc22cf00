"""Phantoms with a planted confounder: an artefact that goes with one class, and its mask.

A model that is trained on them can take the artefact for the disease. Whether an explanation shows that is known here,
and hardly ever on real films.

References
----------
Adebayo et al., "Post hoc explanations may be ineffective for detecting unknown spurious correlation", ICLR 2022. Sun et
al., "Right for the wrong reason: can interpretable ML techniques detect spurious correlations?", MICCAI 2023.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from ..base import Annotation, Record
from ..conventions import CLASS_NAMES, SPLITS
from ..datasets import DatasetSpec
from .canvas import Canvas, FloatArray, Stroke
from .dataset import DrawnMask, Phantom
from .film import Film

__all__ = ["ARTEFACTS", "CONFOUNDED", "ConfoundedPhantom"]

_STREAM = 7
"""Sets the artefact's random numbers apart from those that draw the film."""
_HIDDEN_STREAM = 8
"""The same for the decision whose lesion does not show."""

_HEALTHY = CLASS_NAMES.index("Normal")

_VISIBLE = 0.25
"""Brightness that an artefact must add (of 1) for a pixel to count as its own."""


def _letter(rng: np.random.Generator, size: int) -> FloatArray:
    """A name plate over the left shoulder, white, with a dark letter "P" for portable."""
    x, y = rng.uniform(0.61, 0.71), rng.uniform(-0.74, -0.66)
    width, height = 0.60, 0.50
    plate = Canvas(size).strokes([Stroke([(x - width / 2, y), (x + width / 2, y)], height, 1.0)])
    tall = 0.62 * height
    left, top = x - 0.15 * tall, y - tall / 2
    bowl = [
        (left + 0.4 * tall * math.sin(angle), top + 0.27 * tall * (1 - math.cos(angle)))
        for angle in np.linspace(0, math.pi, 9)
    ]
    stem = [(left, top + tall), (left, top)]
    letter = Canvas(size).strokes([Stroke(line, 0.14 * tall, 1.0) for line in (stem, bowl)])
    result: FloatArray = np.clip(plate - letter, 0, 1)
    return result


def _corner(rng: np.random.Generator, size: int) -> FloatArray:
    """Fogged film: a bright upper left corner with a soft border; light lies best on the dark beside the neck."""
    axis = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size)
    reach = rng.uniform(0.29, 0.37)
    distance = np.hypot(axis[None], axis[:, None])
    found: FloatArray = np.clip((reach - distance) / 0.06, 0, 1).astype(np.float32)
    return found


def _tube(rng: np.random.Generator, size: int) -> FloatArray:
    """A chest drain: a pale tube with a bright line, from the side of the chest up into the lung."""
    start = (-1.02, rng.uniform(0.25, 0.40))
    tip = (rng.uniform(-0.45, -0.35), rng.uniform(-0.40, -0.25))
    bend = (tip[0] - 0.05, start[1] - 0.15)
    line = [
        tuple((1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c for a, b, c in zip(start, bend, tip, strict=True))
        for t in np.linspace(0, 1, 16)
    ]
    points = [(float(x), float(y)) for x, y in line]
    return Canvas(size).strokes([Stroke(points, 0.06, 0.40), Stroke(points, 0.016, 0.9)])


ARTEFACTS: Mapping[str, Callable[[np.random.Generator, int], FloatArray]] = {
    "letter": _letter,
    "corner": _corner,
    "tube": _tube,
}
"""Artefacts by name: each draws the brightness that it adds, float32 ``(size, size)`` in [0, 1]."""


class ConfoundedPhantom(Phantom):
    """Phantoms in which an artefact goes with one class.

    The films are those of :class:`Phantom` to the grey level; the artefact is added on top. Each record has an
    annotation "artefact", empty where there is none.

    Parameters
    ----------
    artefact : {"letter", "corner", "tube"}
    share : float
        In [0, 1]: the part of that class's films that carry the artefact. No film of another class does.
    count, seed, split, image_size
        As for :class:`Phantom`.
    carrier : str
        The class.
    hidden : float
        In [0, 1]: the part of that class's films on which the disease does not show, as in mild cases; they keep their
        label. Where the lesion always decides, a model has no reason to look at an artefact.

    Raises
    ------
    ValueError
        Unknown artefact or class, or a share out of range.
    """

    def __init__(
        self,
        artefact: str,
        share: float,
        count: int,
        seed: int = 0,
        split: str = "Train",
        image_size: int = 224,
        carrier: str = "COVID-19",
        hidden: float = 0.0,
    ) -> None:
        if artefact not in ARTEFACTS:
            raise ValueError(f"artefact must be one of {', '.join(map(repr, ARTEFACTS))}, not {artefact!r}")
        for name, value in (("share", share), ("hidden", hidden)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be in [0, 1], not {value!r}")
        if carrier not in CLASS_NAMES:
            raise ValueError(f"carrier must be one of {', '.join(map(repr, CLASS_NAMES))}, not {carrier!r}")
        self.artefact, self.share, self.carrier, self.hidden = artefact, share, carrier, hidden
        super().__init__(count, seed, split, image_size)
        self.name = f"phantom with {artefact} on {share:.0%} of {carrier}"

    def carries(self, index: int) -> bool:
        """Whether that film has the artefact.

        Parameters
        ----------
        index : int
            Place in the data set.

        Returns
        -------
        bool
        """
        return self._is_carrier(index) and self._artefact_rng(index).random() < self.share

    def hides(self, index: int) -> bool:
        """Whether that film has the label and shows no lesion.

        Parameters
        ----------
        index : int
            Place in the data set.

        Returns
        -------
        bool
        """
        return self._is_carrier(index) and self._rng(index, _HIDDEN_STREAM).random() < self.hidden

    def _is_carrier(self, index: int) -> bool:
        return self.labels[index] == CLASS_NAMES.index(self.carrier)

    def _record(self, split: str, index: int) -> Record:
        plain = super()._record(split, index)
        mask = Annotation("pixel", DrawnMask(self._labelled_film, index, "artefact"))
        hidden = f",hidden={self.hidden:g}" if self.hidden else ""
        return replace(
            plain,
            identity=f"{plain.identity}/{self.artefact}@{self.share:g}{hidden}",
            annotations={**plain.annotations, "artefact": mask},
        )

    def _rng(self, index: int, *stream: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence((self.seed, SPLITS.index(self.split), index, *stream)))

    def _artefact_rng(self, index: int) -> np.random.Generator:
        return self._rng(index, _STREAM, list(ARTEFACTS).index(self.artefact))

    def _draw(self, index: int, label: int) -> Film:
        film = super()._draw(index, _HEALTHY if self.hides(index) else label)
        if not self.carries(index):
            return film
        rng = self._artefact_rng(index)
        rng.random()  # the draw that decided on it
        added = ARTEFACTS[self.artefact](rng, self.image_size)
        grey = film.grey.astype(np.float32)
        lit = np.rint(grey + (np.float32(255) - grey) * added).clip(0, 255).astype(np.uint8)
        return replace(film, grey=lit, artefact=added > _VISIBLE)


def _open(
    place: str,
    split: str,
    count: int = 60,
    seed: int = 0,
    image_size: int = 224,
    carrier: str = "COVID-19",
    hidden: float = 0.0,
) -> ConfoundedPhantom:
    artefact, at, percent = place.partition("@")
    try:
        share = float(percent) / 100 if at else 1.0
    except ValueError:
        raise ValueError(f"confounded:{place}: after the @ stands a percentage such as 80, not {percent!r}") from None
    return ConfoundedPhantom(artefact, share, count, seed, split, image_size, carrier, hidden)


CONFOUNDED = DatasetSpec(
    name="confounded",
    summary=f"phantoms with an artefact ({', '.join(ARTEFACTS)}) on PERCENT of one class",
    usage="confounded:ARTEFACT[@PERCENT]",
    open=_open,
    options={
        "count": "number of images (60)",
        "seed": "other seeds give other people (0)",
        "image_size": "side in pixels at which they are drawn (224)",
        "carrier": "class that goes with the artefact (COVID-19)",
        "hidden": "part of that class's films that show no lesion (0)",
    },
)
