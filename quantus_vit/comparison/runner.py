"""Runs a protocol: every map once, every score written as it comes, and a rerun goes on where the last one stopped.

Knows the protocol, calls of methods and metrics, and the logs; tables and figures are made from what it leaves.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from ..data import Sample
from .cases import Case
from .expected import expectation, probed
from .explaining import ExplainedImage, MethodCall
from .failures import is_of_the_machine, stops_the_run
from .folder import Logs
from .metrics import Scorer
from .plan import Plan
from .prediction import predict
from .protocol import image_seed
from .rows import scores_of, tie_breaks_of
from .scores import Failure, Note, Prediction, Score, TieBreak
from .scoring import ScoredImage, score_maps

__all__ = ["ComparisonRun"]

Array = npt.NDArray[Any]

_HOPELESS_AFTER = 3


@dataclass(frozen=True)
class _Image:
    """A case whose image has been read and predicted."""

    case: Case
    sample: Sample
    predicted: str
    target: int
    scored: ScoredImage


class ComparisonRun:
    """One run of a plan.

    Parameters
    ----------
    plan : Plan
    logs : Logs
        Of the result folder; what :func:`~.rows.forget_failures` took out is tried again.
    """

    def __init__(self, plan: Plan, logs: Logs) -> None:
        self.plan = plan
        self.logs = logs
        self._done = {row.key for row in self.scores()}
        self._predictions = {(row.path, row.label): row for row in logs.predictions.rows}

    def scores(self) -> list[Score]:
        """The scores of this run's cases, methods and metrics, each once, in the protocol's order."""
        return scores_of(self.plan, self.logs)

    def tie_breaks(self) -> list[TieBreak]:
        """The orders of ties behind :meth:`scores`, in their order."""
        return tie_breaks_of(self.scores(), self.logs)

    def predictions(self) -> list[Prediction]:
        """What the model says of this run's cases."""
        return [self._predictions[case.key] for case in self.plan.cases if case.key in self._predictions]

    def foreign_rows(self) -> int:
        """How many rows of the file :meth:`scores` leaves out."""
        return len(self.logs.scores.rows) - len(self.scores())

    def cases_left(self) -> list[Case]:
        """The cases that lack a score, in the plan's order."""
        return [case for case in self.plan.cases if self._wanted(case)]

    def run(self, quiet: bool = False, cases: Sequence[Case] | None = None) -> None:
        """Compute what is missing; after the first case say how long the others will take.

        Parameters
        ----------
        quiet : bool
            No progress bar, and no word on the time.
        cases : sequence of Case, optional
            Those of the plan that are this process's share; None for all.

        Raises
        ------
        ValueError
            A method or metric fails on the first three images: then it is the method or the model, not an image.
        OSError
            There is no room on the disk, or it cannot be written.
        UnsupportedOperationError, ImportError
            A method cannot work with this model or installation.
        """
        # A log file gets a line each half minute, a terminal a bar that moves.
        interval = 0.5 if sys.stderr is not None and sys.stderr.isatty() else 30.0
        share = self.plan.cases if cases is None else cases
        total = len(share) * len(self.plan.methods)
        hidden = quiet or sys.stderr is None
        with tqdm(total=total, unit="map", disable=hidden, mininterval=interval, desc="compare", smoothing=0.05) as bar:
            left = [case for case in share if self._wanted(case)]
            for case in share:
                if hidden or len(left) < 2 or case != left[0]:
                    self._run_case(case, bar)
                    continue
                with probed(self.plan.classifier.module) as probe:
                    self._run_case(case, bar)
                bar.write(expectation(probe, len(self.plan.methods), len(left) - 1), file=sys.stderr)

    def is_complete(self) -> bool:
        """Whether every case has the scores that need no mask."""
        everywhere = [scorer.name for scorer in self.plan.scorers if scorer.mask is None]
        return all(
            (*case.key, call.label, name) in self._done
            for case in self.plan.cases
            for call in self.plan.methods
            for name in everywhere
        )

    def map_of(self, case: Case, label: str, target: int) -> Array:
        """Map ``(1, H, W)`` of a case for any output, from the store or computed now; for figures."""
        image = self._read(case)
        if image is None:
            raise ValueError(f"{case.identity} cannot be read any more")
        return self._map(image, self._call(label), target)

    def _call(self, label: str) -> MethodCall:
        for call in self.plan.methods:
            if call.label == label:
                return call
        raise ValueError(f"{label!r} is none of the compared methods: {', '.join(c.label for c in self.plan.methods)}")

    def _missing(self, case: Case, call: MethodCall, scorer: Scorer) -> bool:
        return (*case.key, call.label, scorer.name) not in self._done

    def _wanted(self, case: Case) -> bool:
        return any(self._missing(case, call, s) for call in self.plan.methods for s in self.plan.scorers)

    def _run_case(self, case: Case, bar: tqdm[Any]) -> None:
        image = self._read(case) if self._wanted(case) else None
        maps: dict[str, Array] = {}
        for call in self.plan.methods:
            scorers = [s for s in self.plan.scorers if self._missing(case, call, s) and image and image.scored.suits(s)]
            if image is not None and scorers:
                bar.set_postfix_str(call.label, refresh=False)
                relevance = self._map_or_failure(image, call, scorers)
                if relevance is not None:
                    maps[call.label] = relevance
            elif not bar.disable:
                bar.initial += 1  # nothing was computed: keep it out of the estimate of the time that is left
            bar.update()
        if image is None:
            return
        for scorer in self.plan.scorers:
            calls = [
                call
                for call in self.plan.methods
                if call.label in maps and image.scored.suits(scorer) and self._missing(case, call, scorer)
            ]
            self._score_all(image, scorer, calls, maps)

    def _read(self, case: Case) -> _Image | None:
        """Read and predict the image of a case; None where that fails, and then the failure is booked."""
        plan = self.plan
        try:
            sample = plan.dataset.sample(case.index, plan.classifier.preprocessing)
            known = self._predictions.get(case.key)
            prediction = known or predict(plan.classifier, sample.image, case, plan.device)
        except Exception as error:  # a file may break a reader in any way; it is not worth the run
            self._book(case, "", "", error)
            if not is_of_the_machine(error):
                for call in plan.methods:
                    for scorer in plan.scorers:
                        if scorer.mask is None and self._missing(case, call, scorer):
                            self._write(case, "", "", call, scorer, [math.nan])
            return None
        if known is None:
            self.logs.predictions.append([prediction])
            self._predictions[case.key] = prediction
        predicted = int(np.argmax(prediction.values()))
        target = case.target if plan.protocol.target == "label" else predicted
        scored = ScoredImage(sample.image, target, plan.masks_for(case, sample), image_seed(case.identity))
        return _Image(case, sample, prediction.predicted, target, scored)

    def _map_or_failure(self, image: _Image, call: MethodCall, scorers: Sequence[Scorer]) -> Array | None:
        """Map of a case; None where there is none: then the failure is booked, and its scores where it is lasting."""
        try:
            return self._map(image, call, image.target)
        except Exception as error:  # an odd image may break a method in any way; it is not worth the run
            self._book(image.case, call.label, "", error)
            if not is_of_the_machine(error):
                for scorer in scorers:
                    self._write_scores(image, call, scorer, [math.nan])
        return None

    def _map(self, image: _Image, call: MethodCall, target: int) -> Array:
        stored = self.logs.maps.load(image.case.identity, target, call.label)
        if stored is not None and stored.shape[1:] == image.sample.image.shape[1:]:
            return stored
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            relevance = call.explain(self.plan.classifier, self._explained(image, target), self.plan.device)
        self.logs.maps.save(image.case.identity, target, call.label, relevance)
        self.logs.notes.append(
            Note(*image.case.key, call.label, f"{kind}: {text}")
            for kind, text in dict.fromkeys((w.category.__name__, " ".join(str(w.message).split())) for w in caught)
        )
        return relevance

    def _explained(self, image: _Image, target: int) -> ExplainedImage:
        seed = (self.plan.protocol.sample_seed, image_seed(image.case.identity))
        masks = {name: mask.numpy() for name, mask in image.scored.masks.items()}
        return ExplainedImage(
            image.sample.image,
            target,
            seed,
            masks,
            lambda label, other: self._map(image, self._call(label), other),
        )

    def _score_all(self, image: _Image, scorer: Scorer, calls: Sequence[MethodCall], maps: dict[str, Array]) -> None:
        """Score the maps of several methods in one call, or one by one where the metric needs it or the call fails."""
        explains = "explanations" in scorer.spec.needs
        if len(calls) > 1 and not explains:
            try:
                scores = self._scores(image, scorer, calls, maps)
            except Exception as error:  # an odd map may break a metric in any way: below it breaks its own score alone
                if stops_the_run(error) and isinstance(error, OSError):
                    raise
                if sys.stderr is not None:
                    print(f"{image.case.identity}: {_one_line(error)}; scoring its maps one by one", file=sys.stderr)
            else:
                for call, values in zip(calls, scores, strict=True):
                    self._write_scores(image, call, scorer, values)
                return
        for call in calls:
            explain = call.explain_func(self._explained(image, image.target)) if explains else None
            try:
                (values,) = self._scores(image, scorer, [call], maps, explain)
            except Exception as error:
                self._book(image.case, call.label, scorer.name, error)
                if is_of_the_machine(error):
                    continue
                values = [math.nan]
            self._write_scores(image, call, scorer, values)

    def _scores(
        self, image: _Image, scorer: Scorer, calls: Sequence[MethodCall], maps: dict[str, Array], explain: Any = None
    ) -> list[list[float]]:
        plan, labels = self.plan, [call.label for call in calls]
        keep = partial(self.logs.keep_curves, image.case.key, labels, scorer.name)
        module, relevance = plan.classifier.module, [maps[label] for label in labels]
        return score_maps(scorer, relevance, image.scored, module, plan.protocol, plan.device, explain, keep)

    def _book(self, case: Case, method: str, metric: str, error: Exception) -> None:
        """Write why there is no score; stop where the cause is not this image, since nothing has ever worked."""
        # A metric may raise a TypeError for an odd map; from a method it is the model or the installation.
        if stops_the_run(error) and (isinstance(error, OSError) or (method and not metric)):
            raise error
        cause = "machine" if is_of_the_machine(error) else "image"
        self.logs.failures.append([Failure(*case.key, method, metric, cause, _one_line(error))])
        if not method:
            return
        worked = any(
            row.method == method and metric in ("", row.metric) and not math.isnan(row.score)
            for row in self.logs.scores.rows
        )
        failures = sum((row.method, row.metric) == (method, metric) for row in self.logs.failures.rows)
        if not worked and failures >= min(_HOPELESS_AFTER, len(self.plan.cases)):
            what = f"method {method!r}" + (f" with metric {metric!r}" if metric else "")
            raise ValueError(f"{what} failed on {failures} images and worked on none: {_one_line(error)}") from error

    def _write_scores(self, image: _Image, call: MethodCall, scorer: Scorer, values: list[float]) -> None:
        self._write(image.case, image.predicted, self.plan.classifier.class_names[image.target], call, scorer, values)

    def _write(
        self, case: Case, predicted: str, target: str, call: MethodCall, scorer: Scorer, values: list[float]
    ) -> None:
        if len(values) > 1:
            self.logs.tie_breaks.append(
                TieBreak(*case.key, call.label, scorer.name, number, value) for number, value in enumerate(values)
            )
        # The mean of a nan is nan: an order without a score leaves the image without one.
        mean = sum(values) / len(values)
        row = Score(case.identity, case.label, predicted, target, call.label, scorer.name, mean)
        self.logs.scores.append([row])
        self._done.add(row.key)


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
