"""``KEY=VALUE`` arguments, and data opened with those of its kind, the same for all subcommands.

Knows kinds of data by their table alone.
"""

from __future__ import annotations

import argparse
import ast
import os
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["absolute_spec", "drawn_options", "is_drawn", "options_of", "parse_items"]


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


def options_of(args: argparse.Namespace) -> dict[str, Any]:
    """What the user set of the data: ``--data-options``, and ``--subset``, which is one of them."""
    options = parse_items("--data-options", args.data_options or (), {"split": "--split does"})
    if args.subset is not None and "subset" in options:
        raise ValueError("--subset and --data-options both set the subset; give it once")
    return options if args.subset is None else {"subset": args.subset, **options}


def absolute_spec(spec: str) -> str:
    """A SPEC whose place is a file or folder, by its absolute path, so that it can be found again from elsewhere."""
    kind, colon, place = spec.partition(":")
    if os.path.exists(spec):
        return os.path.abspath(spec)
    return f"{kind}:{os.path.abspath(place)}" if colon and place and os.path.exists(place) else spec
