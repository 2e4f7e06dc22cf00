"""Which methods show that a model has learnt an artefact: phantoms with a planted one, and models trained on them.

Knows phantoms, models and methods; the models are trained by ``quantus-vit confounders train``.
"""

from __future__ import annotations

from .measure import (
    ConfounderMap,
    ConfounderRow,
    ReliancePair,
    RelianceRow,
    artefact_share,
    confounder_rows,
    reliance_rows,
)
from .study import ConfounderSettings, ConfounderTables, is_confounder_study, study_confounders
from .words import confounder_findings

__all__ = [
    "ConfounderMap",
    "ConfounderRow",
    "ConfounderSettings",
    "ConfounderTables",
    "ReliancePair",
    "RelianceRow",
    "artefact_share",
    "confounder_findings",
    "confounder_rows",
    "is_confounder_study",
    "reliance_rows",
    "study_confounders",
]
