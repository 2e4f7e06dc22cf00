"""Metrics of this package, as metrics of Quantus: called, aggregated and evaluated as Quantus' own.

Knows Quantus' public ``Metric`` and the engine's token removal; it knows no method, data set or protocol.
"""

from __future__ import annotations

from .completeness import CompletenessError
from .explained_again import NoiseRetest, PrecisionError, RandomModelSimilarity, ShiftError
from .localisation import AveragePrecision, MaskIoU, TolerantPointingGame
from .removal import REMOVALS, RemovalSpec
from .removal_curve import RemovalCurve
from .saco import SaCo, saco

__all__ = [
    "REMOVALS",
    "AveragePrecision",
    "CompletenessError",
    "MaskIoU",
    "NoiseRetest",
    "PrecisionError",
    "RandomModelSimilarity",
    "RemovalCurve",
    "RemovalSpec",
    "SaCo",
    "ShiftError",
    "TolerantPointingGame",
    "saco",
]
