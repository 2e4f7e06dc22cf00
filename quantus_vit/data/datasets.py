"""The open table of kinds of data, and how a SPEC such as ``csv:FILE`` names one of them.

Knows what a data set is; no particular one. The package's own kinds are entered by :mod:`quantus_vit.data`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..tables import Table
from ..user_code import names_callable
from .base import XrayDataset

__all__ = ["DATASETS", "DatasetSpec", "find_dataset", "open_data"]


@dataclass(frozen=True)
class DatasetSpec:
    """A kind of data set, as ``--data`` and :func:`open_data` know it.

    Parameters
    ----------
    name : str
        What stands before the colon.
    summary : str
        One line for help and documentation.
    usage : str
        How it is typed: "phantom", "folder:DIR". Without a colon the kind takes no place.
    open : callable
        ``open(place, split, **options)`` returns an :class:`XrayDataset`; ``place`` is what stands after the colon.
    options : mapping of str to str, or None
        Names of the keywords that ``open`` takes, with what they mean; None if it checks them itself.
    """

    name: str
    summary: str
    usage: str
    open: Callable[..., XrayDataset]
    options: Mapping[str, str] | None = field(default_factory=dict)


DATASETS: Table[DatasetSpec] = Table("kind of data", DatasetSpec, "quantus_vit.datasets")
"""Every kind of data set, other packages' too; filled by :mod:`quantus_vit.data`."""


def find_dataset(text: str) -> tuple[DatasetSpec, str]:
    """Say which kind of data a SPEC names, without opening it.

    Parameters
    ----------
    text : str
        "phantom", "folder:DIR", ...; a folder alone is COVID-QU-Ex, "FILE.py:NAME" and "package.module:NAME" name a
        callable.

    Returns
    -------
    spec : DatasetSpec
    place : str
        What ``spec.open`` takes first: a folder, a file, a name; "" where the kind takes none.

    Raises
    ------
    ValueError
        ``text`` is none of the kinds, or lacks its place; the message lists them all.
    FileNotFoundError
        ``text`` can only be a folder, and there is none.
    """
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"no data named: {text!r}; {_kinds()}")
    name, colon, place = text.partition(":")
    if name in DATASETS:
        spec = DATASETS[name]
        takes_place = spec.usage != spec.name
        if takes_place and not place:
            raise ValueError(f"{text!r} lacks its place; it is typed {spec.usage}")
        if colon and not takes_place:
            raise ValueError(f"{spec.name!r} takes nothing after a colon, got {text!r}")
        return spec, os.path.expanduser(place)  # a shell leaves "csv:~/films.csv" as it is
    text = os.path.expanduser(text)
    if Path(text).is_dir():
        return DATASETS["covid_qu_ex"], text
    if names_callable(text):
        return DATASETS["python"], text
    if colon:
        raise ValueError(f"unknown data {text!r}; {_kinds()}")
    raise FileNotFoundError(f"no folder {text!r}; {_kinds()}")


def _kinds() -> str:
    return f"data are {', '.join(spec.usage for spec in DATASETS)}"


def open_data(text: str, split: str = "Test", **options: Any) -> XrayDataset:
    """Open a data set by its SPEC.

    Parameters
    ----------
    text : str
        See :func:`find_dataset`, and the table in ``docs/data.md``.
    split : str
        "Train", "Val" or "Test", in any case.
    **options
        Those of the kind, see ``DATASETS[name].options``.

    Returns
    -------
    XrayDataset

    Raises
    ------
    ValueError, FileNotFoundError
        As :func:`find_dataset`, for an option that the kind does not have, and as the kind itself.

    Examples
    --------
    >>> data = open_data("phantom", split="Test", count=3, image_size=64)
    >>> data.records[1].labels, data.grey(1).shape
    (('Non-COVID',), (64, 64))
    """
    spec, place = find_dataset(text)
    if spec.options is not None:
        unknown = sorted(options.keys() - spec.options.keys())
        if unknown:
            known = ", ".join(spec.options) or "none"
            raise ValueError(f"data of the kind {spec.name!r} have no option {unknown[0]!r}; their options: {known}")
    return spec.open(place, split, **options)
