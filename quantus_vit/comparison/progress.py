"""What a long run says on the terminal: lines, and a bar of the maps that are done. Knows stderr only."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm

__all__ = ["map_bar", "say"]


def say(text: str) -> None:
    """Print a line to stderr, where there is one."""
    if sys.stderr is not None:
        print(text, file=sys.stderr)


def map_bar(name: str, total: int, hidden: bool, **options: Any) -> tqdm[Any]:
    """A progress bar that counts maps: it moves on a terminal, and gives a line each half minute in a log file.

    Parameters
    ----------
    name : str
        Stands before the bar.
    total : int
        Maps.
    hidden : bool
        No bar, as where there is no stderr.
    **options
        Further ones of tqdm.
    """
    interval = 0.5 if sys.stderr is not None and sys.stderr.isatty() else 30.0
    disable = hidden or sys.stderr is None
    return tqdm(total=total, unit="map", disable=disable, mininterval=interval, desc=name, **options)
