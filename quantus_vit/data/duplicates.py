"""Finds files that are in data sets more than once, within a set or across sets and splits."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable

from .base import XrayDataset

__all__ = ["find_duplicates"]


def find_duplicates(*datasets: XrayDataset) -> list[tuple[str, ...]]:
    """Groups of image files with the same content, under whatever names.

    Public sets overlap, and a film that is in the training and the test images makes a model look better than it is.
    Only files of one size are read. A film that was saved anew, in another format or size, is not found.

    Parameters
    ----------
    *datasets : XrayDataset
        For example the three splits.

    Returns
    -------
    list of tuple of str
        Paths of each group of two or more, sorted. A file that two of the data sets list is a group of one path, twice.
        Pictures without a file, such as phantoms, are passed over.
    """
    paths = sorted(record.path for dataset in datasets for record in dataset.records if os.path.isfile(record.path))
    groups = [tuple(same) for alike in _grouped(paths, os.path.getsize) for same in _grouped(alike, _digest)]
    return sorted(groups)


def _grouped(paths: Iterable[str], key: Callable[[str], object]) -> list[list[str]]:
    """Paths with the same key, where there are two or more."""
    groups: dict[object, list[str]] = defaultdict(list)
    for path in paths:
        groups[key(path)].append(path)
    return [group for group in groups.values() if len(group) > 1]


def _digest(path: str) -> bytes:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.digest()
