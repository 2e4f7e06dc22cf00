"""Synthetic frontal chest X-rays with known lesions."""

from __future__ import annotations

from .dataset import PHANTOM, Phantom

__all__ = ["PHANTOM", "Phantom"]
