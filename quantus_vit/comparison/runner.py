"""Runs a protocol: every map once, every score written as it comes, and a rerun goes on where the last one stopped.

Cases are worked on in groups, so that a metric's maps of several images fill the model's batches. Knows the protocol,
calls of methods and metrics, and the ledger; tables and figures are made from what it leaves.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy.typing as npt
import torch
from tqdm import tqdm

from ..batch_size import BatchSize
from .cases import Case
from .expected import expectation
from .folder import Logs
from .group_scoring import GroupScorer
from .grouping import groups_of
from .images import Image, ImageReader
from .ledger import Ledger
from .mapping import MapMaker
from .plan import Plan
from .progress import map_bar
from .rows import scores_of, tie_breaks_of
from .scores import Prediction, Score, TieBreak
from .scoring import maps_at_once

__all__ = ["ComparisonRun"]

Array = npt.NDArray[Any]


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
        self.ledger = Ledger(plan, logs)

    def scores(self) -> list[Score]:
        """The scores of this run's cases, methods and metrics, each once, in the protocol's order."""
        return scores_of(self.plan, self.logs)

    def tie_breaks(self) -> list[TieBreak]:
        """The orders of ties behind :meth:`scores`, in their order."""
        return tie_breaks_of(self.scores(), self.logs)

    def predictions(self) -> list[Prediction]:
        """What the model says of this run's cases."""
        known = (self.ledger.prediction(case) for case in self.plan.cases)
        return [prediction for prediction in known if prediction is not None]

    def foreign_rows(self) -> int:
        """How many rows of the file :meth:`scores` leaves out."""
        return len(self.logs.scores.rows) - len(self.scores())

    def cases_left(self) -> list[Case]:
        """The cases that lack a score, in the plan's order."""
        return [case for case in self.plan.cases if self.ledger.wants(case)]

    def groups(self) -> list[tuple[Case, ...]]:
        """The plan's cases in the groups that are scored together.

        Scores are those of single images but for the rounding of products in batches. Whoever deals cases out to
        several processes deals whole groups, and all have the scores of one process to the digit.
        """
        return groups_of(self.plan)

    def run(self, quiet: bool = False, cases: Sequence[Case] | None = None) -> None:
        """Say how long it will take, from a timed probe of the first case, and compute what is missing.

        Parameters
        ----------
        quiet : bool
            No progress bar, and no word on the time.
        cases : sequence of Case, optional
            Those of the plan that are this process's share, best whole :meth:`groups`; None for all.

        Raises
        ------
        ValueError
            A method or metric fails on the first three images: then it is the method or the model, not an image.
        OSError
            There is no room on the disk, or it cannot be written.
        UnsupportedOperationError, ImportError
            A method cannot work with this model or installation.
        """
        share = {case.key for case in (self.plan.cases if cases is None else cases)}
        groups = [[case for case in group if case.key in share] for group in self.groups()]
        left = [group for group in groups if any(self.ledger.wants(case) for case in group)]
        # What is there already is not begun with, and so no part of the estimate of the time that is left.
        cases_left = sum(map(len, left))
        total = cases_left * len(self.plan.methods)
        with (
            map_bar("compare", total, quiet, smoothing=0.05) as bar,
            ImageReader(self.plan, self.ledger, left) as reader,
        ):
            size = self._batch_size() if left else BatchSize(1)
            for number, group in enumerate(left):
                images = reader.next_group()
                if images and not bar.disable and number == 0 and cases_left > 1:
                    said = expectation(self.plan, self.ledger, images[0], size, cases_left)
                    bar.write(said, file=sys.stderr)
                self._run_group(group, images, size, bar)

    def is_complete(self) -> bool:
        """Whether every case has the scores that need no mask."""
        return self.ledger.is_complete()

    def maps_of(self, case: Case, label: str, targets: Sequence[int]) -> list[Array] | None:
        """A method's maps ``(1, H, W)`` of a case for any outputs, for figures: from the store, else computed now.

        The image is read where a map is missing; None where it cannot be read any more.
        """
        stored = [self.logs.maps.load(case.identity, target, label) for target in targets]
        known = [relevance for relevance in stored if relevance is not None]
        size = tuple(self.plan.protocol.image_size)
        if len(known) == len(targets) and all(relevance.shape[1:] == size for relevance in known):
            return known
        with ImageReader(self.plan, self.ledger, [[case]]) as reader:
            images = reader.next_group()
        maker = MapMaker(self.plan, self.ledger)
        return [maker.map(images[0], label, target) for target in targets] if images else None

    def _run_group(self, group: Sequence[Case], images: Sequence[Image], size: BatchSize, bar: tqdm[Any]) -> None:
        maker = MapMaker(self.plan, self.ledger)
        for call in self.plan.methods:
            bar.set_postfix_str(call.label, refresh=False)
            maker.make(images, call)
            bar.update(len(group))
        scorers = GroupScorer(self.plan, self.ledger, maker, size)
        for scorer in self.plan.scorers:
            scorers.score(images, scorer)

    def _batch_size(self) -> BatchSize:
        plan = self.plan
        image = torch.zeros(plan.classifier.preprocessing.channels, *plan.protocol.image_size)
        return BatchSize(maps_at_once(plan.classifier.module, image, plan.device))
