"""A data set that a user's own code returns: ``FILE.py:NAME`` or ``package.module:NAME``."""

from __future__ import annotations

from typing import Any

from ..user_code import load_callable
from .base import XrayDataset
from .datasets import DatasetSpec

__all__ = ["PYTHON"]


def _open(place: str, split: str, /, **options: Any) -> XrayDataset:
    """Call ``NAME(split=split, **options)``."""
    dataset = load_callable(place)(split=split, **options)
    if not isinstance(dataset, XrayDataset):
        raise TypeError(f"{place!r} must return a quantus_vit.data.XrayDataset, got {type(dataset).__name__}")
    return dataset


PYTHON = DatasetSpec(
    name="python",
    summary="a callable that returns a data set; called with split= and the options",
    usage="FILE.py:NAME",
    open=_open,
    options=None,
)
