"""One run over a grid of settings, in a folder of its own below the comparison's, and the tables of what it found.

Knows plan, runner and folder; a rerun goes on where the last one stopped, as any run does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from ...relevance import tokens_removed
from ..maps import MapStore
from ..plan import Plan
from ..planning import make_plan
from ..side_run import side_run
from ..statistics import write_table
from .agreement import AgreementRow, SensitivityRow, agreement, sensitivity_rows
from .grid import GridPlan, SensitivityGrid

__all__ = ["SensitivityTables", "plan_sensitivity", "study_sensitivity"]

SENSITIVITY_FOLDER = "sensitivity"


@dataclass(frozen=True)
class SensitivityTables:
    """What a study found.

    Parameters
    ----------
    rows : list of SensitivityRow
        Rows of ``sensitivity.csv``.
    agreement : list of AgreementRow
        Rows of ``sensitivity_agreement.csv``.
    complete : bool
        Whether every case has its scores.
    """

    rows: list[SensitivityRow]
    agreement: list[AgreementRow]
    complete: bool


def plan_sensitivity(plan: Plan, grid: SensitivityGrid) -> tuple[GridPlan, Plan]:
    """Check a grid against a comparison, before hours of work.

    Returns
    -------
    GridPlan
        The points, and the settings of the run.
    Plan
        The run.

    Raises
    ------
    ValueError, TypeError
        Nothing to rank, a setting that a metric refuses, or a removal of tokens that the model does not allow.
    """
    points = grid.plan(plan.protocol, {call.label: call.spec for call in plan.methods})
    run_plan, _, _ = make_plan(points.settings, plan.classifier, plan.dataset, plan.device)
    if "tokens" in {point.removal for point in points.points}:
        _check_tokens(plan)
    return points, run_plan


def study_sensitivity(
    folder: Path, plan: Plan, grid: SensitivityGrid, quiet: bool = False, report_only: bool = False
) -> SensitivityTables | None:
    """Score a comparison's methods in every setting of a grid, and write the tables.

    Parameters
    ----------
    folder : Path
        Result folder of the comparison. Scores go into its folder "sensitivity"; maps are shared with the comparison.
    plan : Plan
        Of the comparison.
    grid : SensitivityGrid
    quiet : bool
        No progress bar.
    report_only : bool
        Score nothing: take the scores that are there.

    Returns
    -------
    SensitivityTables or None
        None with ``report_only`` where nothing has been scored.

    Raises
    ------
    ValueError
        As :func:`plan_sensitivity`; or the folder holds scores of another grid.
    """
    place = folder / SENSITIVITY_FOLDER
    if report_only and not (place / "scores.csv").exists():
        return None
    points, run_plan = plan_sensitivity(plan, grid)
    with side_run(place, points.settings, run_plan, quiet, report_only, MapStore(folder / "maps")) as run:
        scores = run.scores()
    higher = {scorer.name: scorer.spec.higher_is_better for scorer in run_plan.scorers}
    found = SensitivityTables(
        sensitivity_rows(scores, points.points, points.roles, higher),
        agreement(scores, points.points, points.roles, higher, run_plan.patients()),
        run.is_complete(),
    )
    write_table(folder / "sensitivity.csv", SensitivityRow, found.rows)
    write_table(folder / "sensitivity_agreement.csv", AgreementRow, found.agreement)
    return found


def _check_tokens(plan: Plan) -> None:
    """Refuse a removal of tokens where the model does not allow it."""
    channels, (height, width) = plan.classifier.preprocessing.channels, plan.protocol.image_size
    image = torch.zeros(1, channels, height, width, device=plan.device)
    try:
        with torch.no_grad(), tokens_removed(plan.classifier.module, None):
            plan.classifier.module(image)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"--sensitivity: removals=tokens: {error}; leave it out, --sensitivity removals=mean,black,blur"
        ) from error
