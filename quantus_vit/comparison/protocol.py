"""The settings of a comparison: everything that changes a score, explicit, and saved beside the scores.

Knows nothing of models, data or metrics; the other files of this room take their settings from here.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeAlias

__all__ = ["Baseline", "Protocol", "default_features_in_step", "file_digest", "image_seed", "parse_baseline"]

Baseline: TypeAlias = "float | str"
"""What a perturbed value is replaced by: a number in normalised units, or a name that Quantus knows."""

NAMED_BASELINES = ("black", "white", "mean")
"""Quantus' names that are the same on every call ("black" is the image's own minimum *after* normalisation)."""

TARGETS = ("label", "predicted")
PRECISIONS = ("float32", "bfloat16")
_STEPS_AT_LEAST = 14


@dataclass(frozen=True)
class Protocol:
    """Settings of one comparison.

    Parameters
    ----------
    data
        "phantom", or the folder of COVID-QU-Ex.
    split, part
        As in :class:`quantus_vit.data.CovidQuEx`; a phantom has no parts and ignores ``part``.
    image_size
        Side of the images in pixels, as the model takes them.
    checkpoint, checkpoint_digest
        The model's file, and its SHA-256. A rerun compares the digest alone: the file may have moved.
    samples, sample_seed
        How many images, class-balanced, and the seed that picks them.
    target
        Which class is explained: the image's "label", or the "predicted" one.
    methods, metrics
        Names, see :mod:`.explanations` and :mod:`.metrics`.
    lime_samples, lime_seed
        Size of LimeCXR's neighbourhood, and the seed it is drawn with.
    precision
        Number format of LimeCXR's forward passes; all other passes, the metrics' too, are float32.
    baselines
        One or more values of Quantus' ``perturb_baseline``; each gives a row of the table. 0.0 is the ImageNet mean.
    features_in_step
        Quantus' ``features_in_step``; must divide ``image_size ** 2``.
    softmax, normalise, abs
        As in Quantus: score probabilities in place of logits; divide a map by its maximum; take absolute values.
    tie_breaks
        Over how many seeded orders of equal values a score is averaged, where ties decide it (superpixels).
    tie_seed
        Seed of those orders.
    quantus
        Version of Quantus: FaithfulnessEstimate's unit changed in 0.6.0, so scores of two versions never mix.

    Raises
    ------
    ValueError
        If a value is out of range or a list is empty; the message names the value.
    """

    data: str
    checkpoint: str
    checkpoint_digest: str
    image_size: int
    features_in_step: int
    quantus: str
    split: str = "Test"
    part: str = "lung"
    samples: int = 87
    sample_seed: int = 0
    target: str = "label"
    methods: tuple[str, ...] = ("TransformerLRP", "LimeCXR", "Random")
    metrics: tuple[str, ...] = ("FaithfulnessEstimate",)
    lime_samples: int = 1000
    lime_seed: int = 0
    precision: str = "float32"
    baselines: tuple[Baseline, ...] = (0.0,)
    softmax: bool = False
    normalise: bool = True
    abs: bool = False
    tie_breaks: int = 3
    tie_seed: int = 0

    def __post_init__(self) -> None:
        for name in ("samples", "image_size", "features_in_step", "lime_samples", "tie_breaks"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
        for name in ("sample_seed", "lime_seed", "tie_seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)!r}")
        for name, allowed in (("target", TARGETS), ("precision", PRECISIONS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}")
        for name in ("methods", "metrics", "baselines"):
            values = getattr(self, name)
            if not values:
                raise ValueError(f"{name} is empty; give at least one")
            if len(set(values)) != len(values):
                raise ValueError(f"{name} holds a name twice: {', '.join(map(str, values))}")
        if self.image_size**2 % self.features_in_step:
            raise ValueError(
                f"features_in_step must divide the image's {self.image_size}x{self.image_size} pixels, got "
                f"{self.features_in_step}; {default_features_in_step(self.image_size)} does"
            )

    def differences(self, other: Protocol) -> list[str]:
        """Settings that differ, as "name: mine, theirs"; where the checkpoint's file lies is no setting."""
        return [
            f"{field.name}: {getattr(self, field.name)!r} here, {getattr(other, field.name)!r} there"
            for field in fields(self)
            if field.name != "checkpoint" and getattr(self, field.name) != getattr(other, field.name)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; :meth:`from_dict` reads them back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Protocol:
        """Protocol of a saved dictionary.

        Raises
        ------
        ValueError
            If a setting is missing or unknown, as in a file of another version.
        """
        known = {field.name for field in fields(cls)}
        if set(values) != known:
            wrong = ", ".join(sorted(set(values) ^ known))
            raise ValueError(f"these settings are missing or unknown, was the file written by another version? {wrong}")
        settings: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        return cls(**settings)


def save_config(path: Path, protocol: Protocol, environment: Mapping[str, Any]) -> None:
    """Write the settings, and what they ran on, as JSON."""
    text = json.dumps({"protocol": protocol.to_dict(), "environment": dict(environment)}, indent=2)
    path.write_text(text + "\n", encoding="utf-8")


def load_config(path: Path) -> Protocol:
    """Read the settings that :func:`save_config` wrote.

    Raises
    ------
    ValueError
        If the file is no such JSON; the message names it.
    """
    try:
        return Protocol.from_dict(json.loads(path.read_text(encoding="utf-8"))["protocol"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{str(path)!r} does not hold the settings of a comparison: {error}") from error


def default_features_in_step(image_size: int) -> int:
    """Largest step that divides the pixels and leaves 14 steps of them or more (3584 values at 224 pixels).

    Quantus 0.6.0 counts values, so a step is a third as many pixels of a three-channel image: 42 steps at 224 pixels.
    """
    pixels = image_size**2
    return next(step for step in range(max(1, pixels // _STEPS_AT_LEAST), 0, -1) if pixels % step == 0)


def parse_baseline(text: str) -> Baseline:
    """Read a baseline from the command line.

    Raises
    ------
    ValueError
        If the text is neither a number nor one of Quantus' deterministic names.
    """
    if text in NAMED_BASELINES:
        return text
    try:
        return float(text)
    except ValueError:
        raise ValueError(
            f"a baseline is a number in normalised units (0.0 is the ImageNet mean) or one of "
            f"{', '.join(NAMED_BASELINES)}, got {text!r}"
        ) from None


def image_seed(path: str) -> int:
    """A seed of the image's own: of its class, folder and file name, so that a set may lie anywhere."""
    return zlib.crc32("/".join(Path(path).parts[-3:]).encode())


def file_digest(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, in hexadecimal.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    try:
        with open(path, "rb") as file:
            digest = hashlib.sha256()
            while block := file.read(1 << 20):
                digest.update(block)
    except (FileNotFoundError, IsADirectoryError):
        raise FileNotFoundError(f"no checkpoint file {os.fspath(path)!r}") from None
    return digest.hexdigest()
