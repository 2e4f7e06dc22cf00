"""Names of files as tables and reports may hold them, whatever bytes the file system has."""

from __future__ import annotations

import os
from pathlib import PurePath

__all__ = ["identity_below", "printable"]


def printable(name: str | os.PathLike[str]) -> str:
    r"""Spell a file name so that any UTF-8 file can hold it.

    Bytes that are not UTF-8 become an escape such as ``\xe9``: a name for people and for keys, no longer for opening.
    """
    return os.fsencode(name).decode("utf-8", errors="backslashreplace")


def identity_below(path: str | os.PathLike[str], root: str | os.PathLike[str]) -> str:
    """Place of a file below a folder, parts joined by "/"; the same however either of them was typed.

    A file elsewhere keeps its absolute path.
    """
    absolute = os.path.abspath(path)
    base = os.path.abspath(root)
    inside = (
        os.path.commonpath([absolute, base]) == base if PurePath(absolute).anchor == PurePath(base).anchor else False
    )
    return printable(PurePath(os.path.relpath(absolute, base) if inside else absolute).as_posix())
