"""How far out of distribution each removal puts the model: the shift of its logits and features, in a few images."""

from __future__ import annotations

from .measure import RemovalShiftRow, Responses, respond, shift_row
from .study import SHARES, study_removal_shift
from .words import removal_shift_findings

__all__ = [
    "SHARES",
    "RemovalShiftRow",
    "Responses",
    "removal_shift_findings",
    "respond",
    "shift_row",
    "study_removal_shift",
]
