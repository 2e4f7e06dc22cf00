"""The settings of a comparison: everything that changes a score, explicit, and saved beside the scores.

Knows nothing of models, data or metrics; the other files of this room take their settings from here.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeAlias

from ..files import write_whole
from .calls import Call

__all__ = [
    "VAL_SAMPLES", "Baseline", "ExplainOptions", "Protocol", "default_features_in_step", "image_seed",
    "load_config", "parse_baseline", "save_config",
]  # fmt: skip

Baseline: TypeAlias = "float | str"
"""What a perturbed value is replaced by: a number in normalised units, or a name that Quantus knows."""

NAMED_BASELINES = ("black", "white", "mean")
"""Quantus' names that are the same on every call ("black" is the image's own minimum *after* normalisation)."""

TARGETS = ("label", "predicted")
PRECISIONS = ("float32", "bfloat16")
VAL_SAMPLES = 30
"""Most cases of the Val split by which options of metrics are chosen."""

_STEPS_AT_LEAST = 14
# Where files lie, and how the settings came about: no score depends on it.
_NO_SETTINGS = frozenset({"data", "model", "protocol", "protocol_version", "overrides", "removal_shift"})


@dataclass(frozen=True)
class ExplainOptions:
    """The settings that change maps; a part of :class:`Protocol`, which says what each means.

    ``baseline`` is the first of the protocol's, ``seed`` its ``sample_seed``. ``link`` is the model's: how its logits
    become probabilities; None where no model is known yet.
    """

    lime_samples: int = 1000
    lime_seed: int = 0
    lime_replacement: Baseline = "mean"
    baseline: Baseline = 0.0
    precision: str = "float32"
    seed: int = 0
    link: str | None = None


@dataclass(frozen=True)
class Protocol:
    """Settings of one comparison.

    Parameters
    ----------
    data, data_digest : str
        SPEC of the data, and a digest of its records' identities and labels. A rerun compares the digest alone: the
        files may have moved.
    model, model_digest : str
        SPEC of the model, and a digest of its weights and preprocessing; a rerun compares the digest.
    image_size : tuple of int
        Height and width of the images in pixels, as the model takes them.
    features_in_step : int
        Quantus' ``features_in_step``; must divide the pixels.
    quantus : str
        Version of Quantus: FaithfulnessEstimate's unit changed in 0.6.0, so scores of two versions never mix.
    protocol, protocol_version, overrides
        Name and version of the entry of :data:`~quantus_vit.comparison.protocols.PROTOCOLS` that the settings come
        from, and the names of the settings that were given otherwise.
    split : str
        As ``--split``.
    data_options : tuple of str
        "KEY=VALUE" for each option of the kind of data that was set, such as its subset or the range of its pixels.
    findings : tuple of str
        Classes or findings of the data that are compared; all if empty.
    classes : tuple of str
        "MODEL=DATA": which output of the model is which class of the data, where the names differ.
    samples, sample_seed : int
        How many cases, balanced over the classes, and the seed of the draw.
    target : str
        Which class is explained: the case's "label", or the "predicted" one.
    methods, metrics : tuple of str
        Names, with options in brackets where they differ from the defaults; see :class:`~.calls.Call`.
    primary : str
        The one of ``metrics`` that was declared to decide before the scores were known; "" if none was.
    truth : str
        The one of ``methods`` whose map is right by construction, as a phantom's lesion is: then the metrics are judged
        by it, see :mod:`.meta_evaluation`; "" for a comparison of methods.
    lime_samples, lime_seed : int
        Size of LimeCXR's neighbourhood, and the seed it is drawn with.
    lime_replacement : float or str
        What LimeCXR replaces superpixels by: "baseline" for the first of ``baselines``, so that its removal and the
        metrics' are the same; or a number or name of its own option.
    precision : str
        Number format of the forward passes of methods that need many (LimeCXR); all others, the metrics' too, are
        float32.
    baselines : tuple of float or str
        One or more values of Quantus' ``perturb_baseline``; each gives a row of the table. 0.0 is the mean that the
        model's preprocessing subtracts.
    softmax, normalise, abs : bool
        As in Quantus: score probabilities in place of logits; divide a map by its maximum; take absolute values.
    tie_breaks, tie_seed : int
        Over how many random tie-breaking orders a score is averaged, where ties decide it (superpixels), and their
        seed.
    chosen : tuple of str
        "ROW=VALUE" for each row of a metric with an option that was chosen on the Val split before the run, such as
        "MaskIoU[share=Val,mask=lung]=0.2"; see :func:`~.val_choice.choose_on_val`.
    removal_shift : int
        On how many images it is measured how far each removal puts the model off, see :mod:`.removal_shift`; 0 for
        none.

    Raises
    ------
    ValueError
        A value is out of range or a list is empty; the message names the value.
    """

    data: str
    data_digest: str
    model: str
    model_digest: str
    image_size: tuple[int, int]
    features_in_step: int
    quantus: str
    protocol: str = "custom"
    protocol_version: int = 1
    overrides: tuple[str, ...] = ()
    split: str = "Test"
    data_options: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    samples: int = 87
    sample_seed: int = 0
    target: str = "label"
    methods: tuple[str, ...] = ("TransformerLRP", "AttnLRP", "LimeCXR", "Random")
    metrics: tuple[str, ...] = ("FaithfulnessEstimate",)
    primary: str = ""
    truth: str = ""
    lime_samples: int = 1000
    lime_seed: int = 0
    lime_replacement: Baseline = "baseline"
    precision: str = "float32"
    baselines: tuple[Baseline, ...] = (0.0,)
    softmax: bool = False
    normalise: bool = True
    abs: bool = False
    tie_breaks: int = 3
    tie_seed: int = 0
    chosen: tuple[str, ...] = ()
    removal_shift: int = 0

    def __post_init__(self) -> None:
        for name in ("samples", "features_in_step", "lime_samples", "tie_breaks"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
        for name in ("sample_seed", "lime_seed", "tie_seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)!r}")
        if self.removal_shift < 0 or self.removal_shift == 1:
            raise ValueError(f"removal_shift must be 0, or 2 images or more, got {self.removal_shift}")
        for name, allowed in (("target", TARGETS), ("precision", PRECISIONS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}")
        for name in ("methods", "metrics", "baselines"):
            values = getattr(self, name)
            if not values:
                raise ValueError(f"{name} is empty; give at least one")
            if len({_identity(value) for value in values}) != len(values):
                raise ValueError(f"{name} holds a name twice: {', '.join(map(str, values))}")
        for name, among in (("primary", self.metrics), ("truth", self.methods)):
            if getattr(self, name) and getattr(self, name) not in among:
                raise ValueError(f"{name} must be one of {', '.join(among)}, got {getattr(self, name)!r}")
        for baseline in self.baselines:
            parse_baseline(str(baseline))
        height, width = self.image_size
        if height * width % self.features_in_step:
            raise ValueError(
                f"features_in_step must divide the image's {height}x{width} pixels, got {self.features_in_step}; "
                f"{default_features_in_step(self.image_size)} does"
            )

    def explain_options(self) -> ExplainOptions:
        """The settings that change maps."""
        return ExplainOptions(
            self.lime_samples,
            self.lime_seed,
            self.lime_replacement,
            self.baselines[0],
            self.precision,
            self.sample_seed,
        )

    def chosen_values(self) -> dict[str, float]:
        """Row of a metric -> the value that was chosen for it on the Val split."""
        return {row: float(value) for row, _, value in (entry.rpartition("=") for entry in self.chosen)}

    def differences(self, other: Protocol) -> list[str]:
        """Settings that differ, as "name: mine here, theirs there"; where files lie is no setting."""
        return [
            f"{field.name}: {getattr(self, field.name)!r} here, {getattr(other, field.name)!r} there"
            for field in fields(self)
            if field.name not in _NO_SETTINGS and getattr(self, field.name) != getattr(other, field.name)
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
            A setting is missing or unknown, as in a file of another version.
        """
        known = {field.name for field in fields(cls)}
        values = {"chosen": (), **values}  # files from before this setting: nothing was chosen then
        if set(values) != known:
            wrong = ", ".join(sorted(set(values) ^ known))
            raise ValueError(f"these settings are missing or unknown, was the file written by another version? {wrong}")
        settings: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        return cls(**settings)


def save_config(path: Path, protocol: Protocol, environment: Mapping[str, Any]) -> None:
    """Write the settings, and what they ran on, as JSON; a crash leaves the file of before."""
    text = json.dumps({"protocol": protocol.to_dict(), "environment": dict(environment)}, indent=2)
    write_whole(path, lambda file: file.write(f"{text}\n".encode()))


def load_config(path: Path) -> Protocol:
    """Read the settings that :func:`save_config` wrote.

    Raises
    ------
    ValueError
        The file is no such JSON; the message names it.
    """
    try:
        return Protocol.from_dict(json.loads(path.read_text(encoding="utf-8"))["protocol"])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{str(path)!r} does not hold the settings of a comparison: {error}") from error


def default_features_in_step(image_size: tuple[int, int]) -> int:
    """Largest step that divides the pixels and leaves 14 steps of them or more (3584 values at 224 x 224 pixels).

    Quantus 0.6.0 counts values, so a step is a third as many pixels of a three-channel image: 42 steps at 224 pixels.
    """
    pixels = image_size[0] * image_size[1]
    return next(step for step in range(max(1, pixels // _STEPS_AT_LEAST), 0, -1) if pixels % step == 0)


def parse_baseline(text: str) -> Baseline:
    """Read a baseline from the command line.

    Raises
    ------
    ValueError
        The text is neither a finite number nor one of Quantus' deterministic names.
    """
    if text in NAMED_BASELINES:
        return text
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(
            f"a baseline is a finite number in normalised units (0.0 is the mean of the model's preprocessing) or one "
            f"of {', '.join(NAMED_BASELINES)}, got {text!r}"
        )
    return value


def _identity(value: Baseline) -> Any:
    """What two spellings of the same method, metric or baseline share: the order of options is no difference."""
    if not isinstance(value, str):
        return value
    call = Call.parse(value)
    return call.name, frozenset((name, repr(option)) for name, option in call.options.items())


def image_seed(identity: str) -> int:
    """A seed of the image's own: of its class, folder and file name, so that a set may lie anywhere."""
    return zlib.crc32("/".join(identity.split("/")[-3:]).encode(errors="backslashreplace"))
