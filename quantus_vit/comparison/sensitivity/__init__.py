"""Whether a ranking of methods holds when the settings change that nobody can call right or wrong.

Grid of settings -> one run over all of them -> rank of every method in every setting, and how far the settings agree.
"""

from __future__ import annotations

from .agreement import AgreementRow, SensitivityRow, agreement, sensitivity_rows
from .grid import GridPoint, SensitivityGrid
from .study import SensitivityTables, plan_sensitivity, study_sensitivity
from .words import sensitivity_findings

__all__ = [
    "AgreementRow",
    "GridPoint",
    "SensitivityGrid",
    "SensitivityRow",
    "SensitivityTables",
    "agreement",
    "plan_sensitivity",
    "sensitivity_findings",
    "sensitivity_rows",
    "study_sensitivity",
]
