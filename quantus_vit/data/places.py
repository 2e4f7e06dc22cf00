"""Names of files as tables and reports may hold them, whatever bytes the file system has."""

from __future__ import annotations

import os

__all__ = ["identity_below", "printable"]


def printable(name: str | os.PathLike[str]) -> str:
    r"""Spell a file name so that any UTF-8 file can hold it.

    Bytes that are not UTF-8 become an escape such as ``\xe9``: a name for people and for keys, no longer for opening.
    """
    text = os.fspath(name)
    return text if text.isascii() else os.fsencode(text).decode("utf-8", errors="backslashreplace")


def identity_below(path: str | os.PathLike[str], root: str | os.PathLike[str]) -> str:
    """Place of a file below a folder, parts joined by "/"; the same however either of them was typed.

    A file elsewhere keeps its absolute path.
    """
    base, full = os.path.join(root, ""), os.fspath(path)
    if full.startswith(base):
        below = full[len(base) :]
        if _is_plain(below):
            return printable(below.replace(os.sep, "/"))
    base, full = os.path.join(os.path.abspath(root), ""), os.path.abspath(path)
    return printable(full.removeprefix(base).replace(os.sep, "/"))


def _is_plain(place: str) -> bool:
    """Whether no part of a relative path is "", "." or ".."."""
    return not place.startswith(("/", "./", "../")) and "//" not in place and "/./" not in place and "/../" not in place
