"""What a study of removals says in words. Knows its rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

from .measure import RemovalShiftRow

__all__ = ["removal_shift_findings"]


def removal_shift_findings(rows: Sequence[RemovalShiftRow], share: float = 0.5) -> list[str]:
    """Sentences on which removals stay near the data."""
    known = [row for row in rows if row.share == share and row.n]
    if not known:
        return []
    value: Callable[[RemovalShiftRow], float] = partial(_shown, features=not math.isnan(known[0].feature_shift))
    known.sort(key=value)
    what = "last features" if not math.isnan(known[0].feature_shift) else "logits"
    order = ", ".join(f"{row.removal} {value(row):.2f}" for row in known)
    sentences = [
        f"How far a removal puts the model off: without a random {share:.0%} of the patches its {what} move by, in "
        f"distances between two images: {order} ({known[0].n} images)."
    ]
    far = [row.removal for row in known if row.outlying > 1]
    if far:
        sentences.append(
            f"Under {', '.join(far)} the features then lie farther from every whole image than these from each other: "
            "scores by such a removal also measure how the model fails on pictures unlike any that it has seen."
        )
    refused = [row.removal for row in rows if row.share == share and not row.n]
    if refused:
        sentences.append(f"This model does not allow the removal {', '.join(refused)}.")
    return sentences


def _shown(row: RemovalShiftRow, features: bool) -> float:
    return row.feature_shift if features else row.logit_shift
