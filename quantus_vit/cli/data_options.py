"""``KEY=VALUE`` arguments, and data opened with those of its kind, the same for all subcommands.

Knows kinds of data by their table alone.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["drawn_options", "is_drawn", "parse_items"]


def parse_items(option: str, items: Sequence[str], reserved: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Read ``KEY=VALUE`` pairs; values are Python literals, anything else a string.

    Parameters
    ----------
    option : str
        As the user typed it, for messages.
    items : sequence of str
    reserved : mapping of str to str, optional
        Keys that have an option of their own, with what to do instead.

    Raises
    ------
    ValueError
        If an item has no ``=``, a key comes twice, or an item sets what has an option of its own.
    """
    result: dict[str, Any] = {}
    for item in items:
        key, equals, text = item.partition("=")
        if not equals or not key.isidentifier():
            raise ValueError(f"{option} takes KEY=VALUE, got {item!r}")
        if reserved and key in reserved:
            raise ValueError(f"{option} cannot set {key}; {reserved[key]}")
        if key in result:
            raise ValueError(f"{option} sets {key} twice")
        try:
            result[key] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            result[key] = text
    return result


def drawn_options(data: str, **values: Any) -> dict[str, Any]:
    """The given options where the kind of data draws its images (phantoms) and so takes them; else none.

    Parameters
    ----------
    data : str
        A SPEC of data.
    **values
        Options of kinds that draw: ``count``, ``image_size``, ``seed``.
    """
    return values if is_drawn(data) else {}


def is_drawn(data: str) -> bool:
    """Whether a SPEC of data names a kind that draws its images, at any size and in any number."""
    from ..data import find_dataset

    spec, _ = find_dataset(data)
    return spec.options is not None and {"count", "seed", "image_size"} <= spec.options.keys()
