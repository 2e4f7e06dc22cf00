"""What ``compare`` prints at its end."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..comparison.pipeline import Outcome

__all__ = ["describe"]


def describe(outcome: Outcome, seconds: float) -> str:
    """Table 1 as text, with the sample and where the files are."""
    shown = ("method", "metric", "mean", "ci_low", "ci_high", "median", "n", "nan", "mask_kind")
    header = [name for name in shown if name != "mask_kind" or any(row.mask_kind for row in outcome.table)]
    rows = [[_cell(dataclasses.asdict(row)[name]) for name in header] for row in outcome.table]
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = ["", *_missing(outcome), outcome.selection.describe()]
    for row in [header, *rows]:
        cells = (
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(cells).rstrip())
    page = outcome.folder / "report.html"
    lines += ["", f"{page} ({seconds / 60:.1f} min)" if page.exists() else f"no scores yet in {outcome.folder}"]
    return "\n".join(lines)


def _missing(outcome: Outcome) -> list[str]:
    """Which images of the sample the table is not about."""
    if outcome.interrupted and outcome.read < outcome.cases:
        return [f"So far {outcome.read} of the {outcome.cases} images."]
    if outcome.read < outcome.cases:
        told = outcome.folder / "errors.csv"
        return [f"{outcome.cases - outcome.read} of the {outcome.cases} images could not be read: {told}"]
    return []


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "nan" if math.isnan(value) else f"{value:.3f}"
    return str(value)
