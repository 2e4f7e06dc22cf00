"""Parts data into training, validation and test images so that no patient is in two of them.

Knows records and names of splits; reads no file.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

from .base import Record
from .conventions import SPLITS, check_split
from .places import printable

__all__ = ["Fractions", "check_patients", "part_by_patient", "refuse_fractions", "select_split", "split_named"]

Fractions = tuple[float, float, float]

_OTHER_NAMES = {"training": "Train", "validation": "Val", "valid": "Val", "dev": "Val", "testing": "Test"}


def split_named(text: str) -> str | None:
    """The split that a folder or a cell names, in any case: also "training", "validation", "valid", "testing"."""
    lowered = text.strip().lower()
    return _OTHER_NAMES.get(lowered) or next((name for name in SPLITS if name.lower() == lowered), None)


def check_patients(name: str, records: Mapping[str, Sequence[Record]]) -> None:
    """Refuse splits that share a patient.

    Parameters
    ----------
    name : str
        What messages call the data.
    records : mapping of str to sequence of Record
        By split.

    Raises
    ------
    ValueError
        A patient is in two splits; the message names both, and how many more there are.
    """
    seen: dict[str, str] = {}
    shared: dict[str, tuple[str, str]] = {}
    for split, entries in records.items():
        for record in entries:
            if record.patient is not None and seen.setdefault(record.patient, split) != split:
                shared.setdefault(record.patient, (seen[record.patient], split))
    if shared:
        patient, (first, second) = next(iter(shared.items()))
        more = f" (and {len(shared) - 1} more patients)" if len(shared) > 1 else ""
        raise ValueError(
            f"{name}: the patient {patient!r}{more} is in {first!r} and in {second!r}; a model would be tested on "
            "people it knows. Put each patient into one split"
        )


def select_split(name: str, records: Sequence[Record], split: str, fractions: Fractions | None) -> list[Record]:
    """Images of one split of data that do not say what belongs to which.

    Without ``fractions`` all images are "Test". With them, each patient (each image where patients are unknown) falls
    into a split by a hash of the name: the same on every machine, whatever else is in the data.

    Parameters
    ----------
    name : str
        What messages call the data.
    records : sequence of Record
        All images.
    split : str
    fractions : tuple of float, optional
        Shares of "Train", "Val" and "Test", which sum to 1.

    Raises
    ------
    ValueError
        "Train" or "Val" of data without splits; ``fractions`` that are no shares, or that leave the split empty.
    """
    wanted = check_split(split)
    if fractions is None:
        if wanted != "Test":
            raise ValueError(
                f"{name} has no splits, so that all its images are 'Test', and there is no {wanted!r}; "
                "fractions=(0.7, 0.1, 0.2) parts it by patient"
            )
        return list(records)
    chosen = part_by_patient(records, fractions)[wanted]
    if not chosen:
        raise ValueError(
            f"fractions={fractions!r} leave no image of {name} to {wanted!r}; it has {len(records)} images"
        )
    return chosen


def refuse_fractions(name: str, fractions: Fractions | None) -> None:
    """Refuse to part data anew that have splits of their own.

    Raises
    ------
    ValueError
        ``fractions`` are given.
    """
    if fractions is not None:
        raise ValueError(f"{name} has splits of its own; leave out fractions={fractions!r}")


def part_by_patient(records: Sequence[Record], fractions: Fractions) -> dict[str, list[Record]]:
    """Part images as :func:`select_split` does; a split may be left empty."""
    bounds = _bounds(fractions)
    parts: dict[str, list[Record]] = {split: [] for split in SPLITS}
    for record in records:
        parts[_split_of(record, bounds)].append(record)
    return parts


def _bounds(fractions: Fractions) -> tuple[float, float]:
    try:
        train, val, test = (float(share) for share in fractions)
        usable = min(train, val, test) >= 0 and math.isclose(train + val + test, 1.0, abs_tol=1e-6)
    except (TypeError, ValueError):
        usable = False
    if not usable:
        raise ValueError(f"fractions must be three shares of Train, Val and Test that sum to 1, got {fractions!r}")
    return train, train + val


def _split_of(record: Record, bounds: tuple[float, float]) -> str:
    key = record.identity if record.patient is None else f"patient {printable(record.patient)}"
    position = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
    return SPLITS[sum(position >= bound for bound in bounds)]
