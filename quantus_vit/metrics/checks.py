"""Checks of what users give to metrics. Knows no metric."""

from __future__ import annotations

import numpy as np

__all__ = ["check_choice", "check_count"]


def check_choice(name: str, value: str, allowed: tuple[str, ...]) -> str:
    """The value, if it is one of those allowed; else ``ValueError``."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, not {value!r}")
    return value


def check_count(name: str, value: int) -> int:
    """The value, if it is a whole number of 1 or more; else ``ValueError``."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be a whole number of 1 or more, not {value!r}")
    return int(value)
