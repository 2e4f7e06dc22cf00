"""A metric on the maps of a group of images: in one call, or one by one where it must be. Knows scoring and ledger."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..batch_size import BatchSize
from .explaining import MethodCall
from .failures import is_of_the_machine, stops_the_run
from .images import Image
from .ledger import Entry, Ledger, one_line
from .mapping import MapMaker
from .metrics import Scorer
from .plan import Plan
from .progress import say
from .scoring import score_maps

__all__ = ["GroupScorer"]

Array = npt.NDArray[Any]
Curves = Mapping[str, Sequence[float]]


class _Pair(NamedTuple):
    """An image and a method, with the map."""

    image: Image
    call: MethodCall
    relevance: Array


class GroupScorer:
    """Scores the maps of a group of images.

    Parameters
    ----------
    plan : Plan
    ledger : Ledger
    maker : MapMaker
        Has the group's maps.
    size : BatchSize
        Maps that Quantus takes at once.
    """

    def __init__(self, plan: Plan, ledger: Ledger, maker: MapMaker, size: BatchSize) -> None:
        self.plan = plan
        self.ledger = ledger
        self.maker = maker
        self.size = size

    def score(self, images: Sequence[Image], scorer: Scorer) -> None:
        """Write the missing scores of the maps by one metric.

        All maps of the group are scored together, though only some scores of a run that was cut may be missing: else
        these would be rounded in other batches than those of a run that was not.
        """
        pairs = [pair for image in images for pair in self._pairs(image, scorer)]
        missing = [pair for pair in pairs if self.ledger.lacks(pair.image.case, pair.call, scorer)]
        if not missing:
            return
        if len(pairs) > 1 and not _explains(scorer):
            try:
                scores, curves = self._scores(scorer, pairs)
            except Exception as error:  # an odd map may break a metric in any way: below it breaks its own score alone
                if stops_the_run(error) and isinstance(error, OSError):
                    raise
                say(f"{scorer.name} on {len(pairs)} maps: {one_line(error)}; scoring them one by one")
            else:
                entries = [self._entry(*found, scorer) for found in zip(pairs, scores, curves, strict=True)]
                self.ledger.write([entry for entry in entries if self.ledger.lacks(entry.case, entry.call, scorer)])
                return
        for pair in missing:
            self._score_one(pair, scorer)

    def rehearse(self, image: Image, call: MethodCall, relevance: Array, scorer: Scorer) -> Array:
        """Scores of one map that are not written, for an estimate of the time."""
        (values,), _ = self._scores(scorer, [_Pair(image, call, relevance)])
        return np.array(values)

    def _score_one(self, pair: _Pair, scorer: Scorer) -> None:
        curves: Curves = {}
        try:
            ((values,), (curves,)) = self._scores(scorer, [pair])
        except Exception as error:
            self.ledger.book(pair.image.case, pair.call.label, scorer.name, error)
            if is_of_the_machine(error):
                return
            values = [math.nan]
        self.ledger.write([self._entry(pair, values, curves, scorer)])

    def _pairs(self, image: Image, scorer: Scorer) -> list[_Pair]:
        if not image.scored.suits(scorer):
            return []
        maps = ((call, self.maker.made(image, call)) for call in self.plan.methods)
        return [_Pair(image, call, relevance) for call, relevance in maps if relevance is not None]

    def _scores(self, scorer: Scorer, pairs: Sequence[_Pair]) -> tuple[list[list[float]], Sequence[Curves]]:
        """Scores of the maps, and the curves behind them; of one map where the metric calls the method again."""
        plan = self.plan
        explain = None
        if _explains(scorer):
            (pair,) = pairs
            explain = pair.call.explain_func(self.maker.explained(pair.image, pair.image.target))
        kept: list[Sequence[Curves]] = [[{} for _ in pairs]]
        scores = score_maps(
            scorer,
            [pair.relevance for pair in pairs],
            [pair.image.scored for pair in pairs],
            plan.classifier.module,
            plan.protocol,
            plan.device,
            explain,
            kept.append,
            self.size,
        )
        return scores, kept[-1]

    def _entry(self, pair: _Pair, values: Sequence[float], curves: Curves, scorer: Scorer) -> Entry:
        target = self.plan.classifier.class_names[pair.image.target]
        return Entry(pair.image.case, pair.call, scorer, values, pair.image.predicted, target, curves)


def _explains(scorer: Scorer) -> bool:
    """Whether the metric calls the method again, which it can for one map alone."""
    return "explanations" in scorer.spec.needs
