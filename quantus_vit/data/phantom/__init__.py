"""Synthetic frontal chest X-rays with known lesions, and with planted confounders."""

from __future__ import annotations

from .confounded import ARTEFACTS, CONFOUNDED, ConfoundedPhantom
from .dataset import PHANTOM, Phantom

__all__ = ["ARTEFACTS", "CONFOUNDED", "PHANTOM", "ConfoundedPhantom", "Phantom"]
