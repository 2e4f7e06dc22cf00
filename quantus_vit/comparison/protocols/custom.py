"""``custom``: methods and metrics as given, other settings by their defaults."""

from __future__ import annotations

from .base import ProtocolSpec

__all__ = ["SPECS"]

SPECS = (
    ProtocolSpec(
        name="custom",
        summary="methods, metrics and settings as given",
        version=1,
        settings={},
        required=("methods", "metrics"),
    ),
)
