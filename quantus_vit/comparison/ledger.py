"""What a run has written of its cases, and how a score, a prediction or a failure comes to the files.

Knows the plan, the rows and the logs; not how a score is made.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from .cases import Case
from .explaining import MethodCall
from .failures import is_of_the_machine, stops_the_run
from .folder import Logs
from .metrics import Scorer
from .plan import Plan
from .rows import scores_of
from .scores import Curve, Failure, MaskArea, Note, Prediction, Score, TieBreak

__all__ = ["Entry", "Ledger", "one_line"]

_HOPELESS_AFTER = 3


@dataclass(frozen=True)
class Entry:
    """A score to write.

    Parameters
    ----------
    case : Case
    call : MethodCall
    scorer : Scorer
    values : sequence of float
        One score, or one for each order of ties; their mean is the score. The mean of a nan is nan: an order without a
        score leaves the image without one.
    predicted, target : str
        See :class:`~.scores.Score`.
    curves : mapping of str to sequence of float
        The curves behind the score, where the metric draws some: order -> outputs.
    """

    case: Case
    call: MethodCall
    scorer: Scorer
    values: Sequence[float]
    predicted: str = ""
    target: str = ""
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def score(self) -> Score:
        """The row of ``scores.csv``."""
        mean = sum(self.values) / len(self.values)
        place = (self.case.identity, self.case.label, self.predicted, self.target)
        return Score(*place, self.call.label, self.scorer.name, mean)

    @property
    def _place(self) -> tuple[str, str, str, str]:
        return (*self.case.key, self.call.label, self.scorer.name)

    def tie_breaks(self) -> list[TieBreak]:
        """The rows of ``tie_breaks.csv``; none where no tie was broken."""
        return [TieBreak(*self._place, n, value) for n, value in enumerate(self.values)] if len(self.values) > 1 else []

    def curve_rows(self) -> list[Curve]:
        """The rows of ``curves.csv``."""
        return [
            Curve(*self._place, order, " ".join(f"{value:.6g}" for value in outputs))
            for order, outputs in self.curves.items()
        ]


class Ledger:
    """The books of a run: what is there, what is missing.

    Takes a byte for each score of the plan, whatever the files hold.

    Parameters
    ----------
    plan : Plan
    logs : Logs
    """

    def __init__(self, plan: Plan, logs: Logs) -> None:
        self.plan = plan
        self.logs = logs
        self._cases = {case.key: number for number, case in enumerate(plan.cases)}
        pairs = [(call.label, scorer.name) for call in plan.methods for scorer in plan.scorers]
        self._columns = {pair: number for number, pair in enumerate(pairs)}
        self._done = np.zeros((len(self._cases), len(pairs)), dtype=bool)
        for call in plan.methods:
            for scorer in plan.scorers:
                if plan.excluded(call, scorer):  # there is nothing to score
                    self._done[:, self._columns[call.label, scorer.name]] = True
        self._leave_out_what_lacks_a_mask()
        for row in scores_of(plan, logs):
            self._mark(row)
        self._predictions = {(row.path, row.label): row for row in logs.predictions.rows}
        self._worked = {(row.method, row.metric) for row in logs.scores.rows if not math.isnan(row.score)}
        self._working = {method for method, _ in self._worked}
        self._failures = Counter((row.method, row.metric) for row in logs.failures.rows)

    def lacks(self, case: Case, call: MethodCall, scorer: Scorer) -> bool:
        """Whether a score is still to be made."""
        return not self._done[self._cases[case.key], self._columns[call.label, scorer.name]]

    def wants(self, case: Case) -> bool:
        """Whether any score of a case is still to be made."""
        return not self._done[self._cases[case.key]].all()

    def is_complete(self) -> bool:
        """Whether every case has the scores that need no mask."""
        methods = [call.label for call in self.plan.methods if self.plan.mask_of(call) is None]
        metrics = [scorer.name for scorer in self.plan.scorers if scorer.mask is None]
        return bool(self._done[:, [self._columns[method, metric] for method in methods for metric in metrics]].all())

    def prediction(self, case: Case) -> Prediction | None:
        """What the model says of a case, if it has been asked."""
        return self._predictions.get(case.key)

    def add_prediction(self, case: Case, prediction: Prediction, areas: Mapping[str, float]) -> None:
        """Write what the model says of a case, and which share of the image each of its masks covers."""
        self.logs.mask_areas.append(MaskArea(*case.key, name, share) for name, share in areas.items())
        self.logs.predictions.append([prediction])
        self._predictions[case.key] = prediction

    def add_map(self, method: str) -> None:
        """Remember that a method has worked."""
        self._working.add(method)

    def add_notes(self, case: Case, method: str, notes: Sequence[str]) -> None:
        """Write the warnings of a method, each once."""
        self.logs.notes.append(Note(*case.key, method, note) for note in dict.fromkeys(notes))

    def write(self, entries: Sequence[Entry]) -> None:
        """Write scores, their orders of ties and curves first: a score that is there has all of them."""
        self.logs.curves.append(row for entry in entries for row in entry.curve_rows())
        self.logs.tie_breaks.append(row for entry in entries for row in entry.tie_breaks())
        rows = [entry.score() for entry in entries]
        self.logs.scores.append(rows)
        for row in rows:
            self._mark(row)
            if not math.isnan(row.score):
                self._worked.add((row.method, row.metric))

    def book(self, case: Case, method: str, metric: str, error: Exception) -> None:
        """Write why there is no score.

        Raises
        ------
        Exception
            The error, where nothing can go on, or a ``ValueError`` where the cause is not this image since the method
            or metric has never worked.
        """
        # A metric may raise a TypeError for an odd map; from a method it is the model or the installation.
        if stops_the_run(error) and (isinstance(error, OSError) or (method and not metric)):
            raise error
        cause = "machine" if is_of_the_machine(error) else "image"
        self.logs.failures.append([Failure(*case.key, method, metric, cause, one_line(error))])
        self._failures[method, metric] += 1
        if not method:
            return
        worked = (method, metric) in self._worked if metric else method in self._working
        failures = self._failures[method, metric]
        if not worked and failures >= min(_HOPELESS_AFTER, len(self.plan.cases)):
            what = f"method {method!r}" + (f" with metric {metric!r}" if metric else "")
            raise ValueError(f"{what} failed on {failures} images and worked on none: {one_line(error)}") from error

    def _leave_out_what_lacks_a_mask(self) -> None:
        """There is nothing to score where an image has no mask that the method or the metric needs."""
        needed = {
            self._columns[call.label, scorer.name]: {self.plan.mask_of(call), scorer.mask} - {None}
            for call in self.plan.methods
            for scorer in self.plan.scorers
        }
        for number, case in enumerate(self.plan.cases):
            there = self.plan.annotated(case)
            self._done[number, [column for column, masks in needed.items() if not masks <= there]] = True

    def _mark(self, row: Score) -> None:
        self._done[self._cases[row.path, row.label], self._columns[row.method, row.metric]] = True


def one_line(error: Exception) -> str:
    """Kind and text of an error, for a cell of a table."""
    return " ".join(f"{type(error).__name__}: {error}".split())
