"""What a comparison looks into beside the scores of its methods, each study in files of its own.

Knows the studies; every one of them goes on where an interrupted one stopped.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from .plan import Plan
from .removal_shift import RemovalShiftRow, study_removal_shift
from .sensitivity import SensitivityGrid, SensitivityTables, plan_sensitivity, study_sensitivity
from .summary import Summary

__all__ = ["Studies", "StudyTables"]


@dataclass(frozen=True)
class Studies:
    """The studies of one comparison.

    Parameters
    ----------
    sensitivity : SensitivityGrid, optional
        Settings over which the methods are ranked; None for no such study.
    """

    sensitivity: SensitivityGrid | None = None

    def check(self, plan: Plan) -> None:
        """Refuse now what would fail after hours of work.

        Raises
        ------
        ValueError, TypeError
            Settings that do not fit the comparison; the message says which.
        """
        if self.sensitivity is not None:
            plan_sensitivity(plan, self.sensitivity)

    def run(self, folder: Path, plan: Plan, quiet: bool, report_only: bool) -> StudyTables:
        """Run the studies, or with ``report_only`` take what they have found.

        Parameters
        ----------
        folder : Path
            Result folder of the comparison.
        plan : Plan
        quiet : bool
            No progress bar.
        report_only : bool
        """
        shift, found = [], None
        if plan.protocol.removal_shift:
            shift = study_removal_shift(folder, plan, plan.protocol.removal_shift, report_only)
        if self.sensitivity is not None:
            found = study_sensitivity(folder, plan, self.sensitivity, quiet, report_only)
        return StudyTables(found, shift)


@dataclass(frozen=True)
class StudyTables:
    """What the studies found; nothing for what was not asked for, or has no result yet."""

    sensitivity: SensitivityTables | None = None
    removal_shift: list[RemovalShiftRow] = field(default_factory=list)

    def into(self, summary: Summary) -> Summary:
        """The tables of a run with those of the studies."""
        return replace(summary, sensitivity=self.sensitivity, removal_shift=self.removal_shift)
