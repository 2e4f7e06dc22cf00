"""The images of a run: read ahead, predicted, recorded, and handed over by groups. Knows the plan and the ledger."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType

import numpy as np

from ..data import Sample
from .cases import Case
from .failures import is_of_the_machine
from .ledger import Entry, Ledger
from .pictures import PictureStore
from .plan import Plan
from .prediction import predict
from .protocol import image_seed
from .reading import ReadAhead
from .scoring import ScoredImage

__all__ = ["Image", "ImageReader", "record_picture"]


@dataclass(frozen=True)
class Image:
    """A case whose image has been read and predicted.

    Parameters
    ----------
    case : Case
    sample : Sample
    predicted : str
        As in the case's row of ``predictions.csv``.
    target : int
        The explained output.
    scored : ScoredImage
    """

    case: Case
    sample: Sample
    predicted: str
    target: int
    scored: ScoredImage


class ImageReader:
    """Reads the images of groups of cases, the next group's beside the work on one; a context.

    Parameters
    ----------
    plan : Plan
    ledger : Ledger
        Gets predictions, and the failures of images that lack a score; its logs keep the pictures.
    groups : sequence of sequence of Case
    """

    def __init__(self, plan: Plan, ledger: Ledger, groups: Sequence[Sequence[Case]]) -> None:
        self.plan = plan
        self.ledger = ledger
        self._groups = groups
        self._next = 0
        self._reading = ReadAhead(
            lambda index: plan.dataset.sample(index, plan.classifier.preprocessing),
            [[case.index for case in group] for group in groups],
        )

    def __enter__(self) -> ImageReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._reading.__exit__(kind, error, traceback)

    def next_group(self) -> list[Image]:
        """The images of the next group; those that cannot be read or predicted are booked and left out."""
        number, self._next = self._next, self._next + 1
        samples = self._reading.group(number)
        images = (self._image(case, samples[case.index]) for case in self._groups[number])
        return [image for image in images if image is not None]

    def _image(self, case: Case, read: Callable[[], Sample]) -> Image | None:
        plan = self.plan
        known = self.ledger.prediction(case)
        try:
            sample = read()
            prediction = known or predict(plan.classifier, sample.image, case, plan.device)
        except Exception as error:  # a file may break a reader in any way; it is not worth the run
            if self.ledger.wants(case):
                self._book(case, error)
            return None
        masks = plan.masks_for(case, sample)
        if known is None:
            areas = {name: float(mask.float().mean()) for name, mask in masks.items()}
            self.ledger.add_prediction(case, prediction, areas)
        if self.ledger.logs.pictures is not None:
            record_picture(self.ledger.logs.pictures, plan, case, sample)
        predicted = int(np.argmax(prediction.values()))
        target = case.target if plan.protocol.target == "label" else predicted
        scored = ScoredImage(sample.image, target, masks, image_seed(case.identity))
        return Image(case, sample, prediction.predicted, target, scored)

    def _book(self, case: Case, error: Exception) -> None:
        self.ledger.book(case, "", "", error)
        if not is_of_the_machine(error):
            self.ledger.write(
                [
                    Entry(case, call, scorer, [math.nan])
                    for call in self.plan.methods
                    for scorer in self.plan.scorers
                    if scorer.mask is None and self.ledger.lacks(case, call, scorer)
                ]
            )


def record_picture(store: PictureStore, plan: Plan, case: Case, sample: Sample) -> None:
    """Write the picture of a case with its masks, for figures and the report, where the store has none.

    Raises
    ------
    OSError
        The disk is full, read-only, or the like.
    """
    if store.has(*case.key):
        return
    grey = plan.classifier.preprocessing.grey(sample.image).numpy()
    masks = {name: mask[0].numpy() for name, mask in plan.masks_for(case, sample).items()}
    kinds = {name: sample.mask_kinds[name] for name in masks}
    store.save(*case.key, np.rint(grey * 255).astype(np.uint8), masks, kinds)
