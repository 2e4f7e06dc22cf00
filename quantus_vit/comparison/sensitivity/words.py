"""What a study of sensitivity says in words. Knows its rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .agreement import AXES, HOLDS_SHARE, HOLDS_W, AgreementRow
from .study import SensitivityTables

__all__ = ["sensitivity_findings"]

CRITERION = (
    f"a ranking is said to hold where the 95 % bootstrap interval of Kendall's W of the methods, without the control, "
    f"starts at {HOLDS_W} or more, and one method comes first in {HOLDS_SHARE:.0%} of the settings or more"
)


def sensitivity_findings(tables: SensitivityTables) -> list[str]:
    """Sentences on whether the ranking holds: over all settings, for each metric, and what it hangs on."""
    groups = {row.group: row for row in tables.agreement}
    if "all" not in groups:
        return ["Sensitivity: there is one setting alone, or no score, so nothing is said of the ranking."]
    sentences = [f"{_verdict(groups['all'])} Here {CRITERION}."]
    sentences += [_verdict(row) for name, row in groups.items() if name.startswith("metric=")]
    sentences += _leaders(groups)
    sentences += _not_varied(tables)
    if not tables.complete:
        sentences.append("The sensitivity is not finished: some of its cases have no score yet.")
    return sentences


def _verdict(row: AgreementRow) -> str:
    where = f"over all {row.settings} settings" if row.group == "all" else f"over the {row.settings} of {row.group}"
    if math.isnan(row.kendall_w):
        return f"Sensitivity {where}: nothing can be ranked."
    verdict = "holds" if row.holds else "does not hold"
    leader = (
        f"{row.winner} comes first in {row.winner_share:.0%} of them"
        if row.winner
        else f"none leads: several methods come first equally often, in {row.winner_share:.0%} of them"
    )
    return (
        f"Sensitivity: the ranking {verdict} {where}: Kendall's W = {row.kendall_w:.2f} ({row.ci_low:.2f} to "
        f"{row.ci_high:.2f}); {leader}."
    )


def _leaders(groups: dict[str, AgreementRow]) -> list[str]:
    """For each setting whose values have different leaders, who leads where."""
    sentences = []
    axes: dict[str, list[AgreementRow]] = {}
    for name, row in groups.items():
        axis, equals, _ = name.partition("=")
        if equals and row.winner:
            axes.setdefault(axis, []).append(row)
    for axis, rows in axes.items():
        if len({row.winner for row in rows}) > 1:
            sentences.append(f"The leader depends on the {axis.replace('_', ' ')}: {_listed(rows)}.")
    return sentences


def _not_varied(tables: SensitivityTables) -> list[str]:
    """What had one value in all settings: of that a verdict says nothing, good or bad."""
    alone = []
    for axis in AXES:
        values = {getattr(row, axis) for row in tables.rows}
        if len(values) == 1:
            alone.append(f"{axis.replace('_', ' ')} ({values.pop()})")
    return [f"Not varied, so that nothing is said of it: {', '.join(alone)}."] if alone else []


def _listed(rows: Sequence[AgreementRow]) -> str:
    return "; ".join(
        f"{row.winner} with {row.group.partition('=')[2]} (first in {row.winner_share:.0%} of {row.settings})"
        for row in rows
    )
