"""Whether a metric measures anything: how often it prefers a map that is right by construction to one that is not.

On a phantom the lesion decides, so the lesion's outline is the truth, and edges, chance, the image's middle and the map
of another class are not. Knows rows of scores and scipy.

References
----------
Hedström et al., "The meta-evaluation problem in explainable AI", TMLR 2023 (MetaQuantus). Wilson, "Probable inference,
the law of succession, and statistical inference", JASA 1927.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy import stats

from .scores import Score
from .statistics import CONFIDENCE, grouped

__all__ = ["EVERY_CONTROL", "MetaRow", "meta_row", "meta_rows", "wilson_interval"]

EVERY_CONTROL = "every control"


@dataclass(frozen=True)
class MetaRow:
    """A row of ``meta_evaluation.csv``: how often a metric ranks the truth above a control.

    ``share`` is ``preferred`` / ``n`` with its 95 % Wilson interval; ``ties``, scores that are equal, are not
    preferred. ``nan`` counts cases without a score of either. ``control`` is "every control" in the row of the cases in
    which the truth comes before all of them. ``source`` says whose verdict it is where the run did not judge by itself.
    """

    metric: str
    control: str
    n: int
    preferred: int
    ties: int
    nan: int
    share: float
    ci_low: float
    ci_high: float
    source: str = ""


def meta_rows(
    scores: Sequence[Score],
    truth: str,
    controls: Sequence[str],
    higher_is_better: Mapping[str, bool],
    correct: Mapping[tuple[str, str], bool],
) -> list[MetaRow]:
    """Rows of every metric: one for each control, then one for all of them together.

    Parameters
    ----------
    scores : sequence of Score
    truth : str
        The method whose map is right.
    controls : sequence of str
        The methods whose maps are not.
    higher_is_better : mapping
        Metric -> its direction.
    correct : mapping
        (image, label) -> whether the model predicts it; other cases are left out: there the lesion did not decide.
    """
    kept = [row for row in scores if correct.get((row.path, row.label), False)]
    groups = grouped(kept)
    rows = []
    for metric in dict.fromkeys(metric for metric, _ in groups):
        sign = 1 if higher_is_better[metric] else -1
        leads = {
            control: _leads(groups.get((metric, truth), []), groups.get((metric, control), []), sign)
            for control in controls
        }
        rows += [_row(metric, control, list(by_case.values())) for control, by_case in leads.items()]
        cases = dict.fromkeys(case for by_case in leads.values() for case in by_case)
        # One that is nan makes the smallest nan, for nothing can be said of that case.
        smallest = [_smallest([by_case.get(case, math.nan) for by_case in leads.values()]) for case in cases]
        rows.append(_row(metric, EVERY_CONTROL, smallest))
    return rows


def _leads(true: Sequence[Score], other: Sequence[Score], sign: int) -> dict[Any, float]:
    """By case, how far the truth's score is ahead of a control's."""
    of_control = {(row.path, row.label): row.score for row in other}
    return {(row.path, row.label): sign * (row.score - of_control.get((row.path, row.label), math.nan)) for row in true}


def _smallest(values: Sequence[float]) -> float:
    return math.nan if any(map(math.isnan, values)) else min(values)


def _row(metric: str, control: str, leads: Sequence[float]) -> MetaRow:
    scored = [lead for lead in leads if not math.isnan(lead)]
    preferred, ties = sum(lead > 0 for lead in scored), sum(lead == 0 for lead in scored)
    return meta_row(metric, control, len(scored), preferred, ties, len(leads) - len(scored))


def meta_row(metric: str, control: str, n: int, preferred: int, ties: int, nan: int, source: str = "") -> MetaRow:
    """A row of its counts, with the share and its interval; see :class:`MetaRow`."""
    share = preferred / n if n else math.nan
    return MetaRow(metric, control, n, preferred, ties, nan, share, *wilson_interval(preferred, n), source)


def wilson_interval(successes: int, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Wilson's score interval of a share; nan without a trial."""
    if not n:
        return math.nan, math.nan
    interval = stats.binomtest(successes, n).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)
