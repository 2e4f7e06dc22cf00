"""Warnings as lines of the command, each said once, without the place in the code that gave it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["warnings_as_lines"]


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Let a warning that reaches the terminal be one line; filters, and who records warnings, stay as they are."""
    told: set[str] = set()
    before = warnings.formatwarning

    def as_line(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
    ) -> str:
        text = " ".join(str(message).split())
        if text in told:
            return ""
        told.add(text)
        return f"quantus-vit: warning: {text}\n"

    warnings.formatwarning = as_line
    try:
        yield
    finally:
        warnings.formatwarning = before
