"""Files that are whole or not there. Knows the standard library only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import IO

__all__ = ["write_whole"]


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file under another name first; a crash leaves the file of before.

    Parameters
    ----------
    path : pathlib.Path
    write : callable
        Writes into a binary file.
    """
    partial = path.with_name(f".{path.name}.new")
    try:
        with open(partial, "wb") as file:
            write(file)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
