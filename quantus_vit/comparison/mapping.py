"""The maps of a group of images: from the store, or made now, each once. Knows methods, the ledger and the store."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from .explaining import ExplainedImage, MethodCall
from .failures import is_of_the_machine, stops_the_run
from .images import Image
from .ledger import Entry, Ledger
from .metrics import Scorer
from .plan import Plan
from .protocol import image_seed

__all__ = ["MapMaker"]

Array = npt.NDArray[Any]


class MapMaker:
    """Makes the maps of a group of images and keeps them for all metrics.

    Parameters
    ----------
    plan : Plan
    ledger : Ledger
        Gets the failures of methods, and their warnings.
    """

    def __init__(self, plan: Plan, ledger: Ledger) -> None:
        self.plan = plan
        self.ledger = ledger
        self._maps: dict[tuple[tuple[str, str], str], Array] = {}

    def made(self, image: Image, call: MethodCall) -> Array | None:
        """The map of an image, if :meth:`make` has made it."""
        return self._maps.get((image.case.key, call.label))

    def make(self, images: Sequence[Image], call: MethodCall) -> None:
        """Make one method's maps of the images that lack a score by it.

        Maps of the others come from the store, if they are there: whatever a metric is to score together is the same
        in a run that was cut.
        """
        wanted = [bool(self.lacking(image, call)) for image in images]
        if len(images) > 1 and call.takes_batches(self.plan.device):
            pairs = zip(images, wanted, strict=True)
            if any(is_wanted and self._stored(image, call, image.target) is None for image, is_wanted in pairs):
                self._make_together(images, call)
        for image, is_wanted in zip(images, wanted, strict=True):
            found = self._map_or_failure(image, call) if is_wanted else self._stored(image, call, image.target)
            if found is not None:
                self._maps[image.case.key, call.label] = found

    def lacking(self, image: Image, call: MethodCall) -> list[Scorer]:
        """The metrics whose score of a method's map of an image is still to be made; none where there is no map."""
        if not self.plan.applies(call, image.scored.masks):
            return []
        return [s for s in self.plan.scorers if self.ledger.lacks(image.case, call, s) and image.scored.suits(s)]

    def map(self, image: Image, label: str, target: int) -> Array:
        """A method's map of an image for any output, ``(1, H, W)``."""
        call = self._call(label)
        stored = self._stored(image, call, target)
        if stored is not None:
            return stored
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            relevance = call.explain(self.plan.classifier, self.explained(image, target), self.plan.device)
        self._keep(image, call, target, relevance, caught)
        return relevance

    def rehearse(self, image: Image, call: MethodCall) -> Array:
        """A map for an estimate of the time; kept for the run only where the run would make it alone, too."""
        if not call.takes_batches(self.plan.device):
            return self.map(image, call.label, image.target)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return call.explain(self.plan.classifier, self.explained(image, image.target), self.plan.device)

    def explained(self, image: Image, target: int) -> ExplainedImage:
        """What methods are given of an image."""
        seed = (self.plan.protocol.sample_seed, image_seed(image.case.identity))
        masks = {name: mask.numpy() for name, mask in image.scored.masks.items()}
        return ExplainedImage(
            image.sample.image, target, seed, masks, lambda label, other: self.map(image, label, other)
        )

    def _map_or_failure(self, image: Image, call: MethodCall) -> Array | None:
        """Map of a case; None where there is none: then the failure is booked, and its scores where it is lasting."""
        try:
            return self.map(image, call.label, image.target)
        except Exception as error:  # an odd image may break a method in any way; it is not worth the run
            self.ledger.book(image.case, call.label, "", error)
            if not is_of_the_machine(error):
                target = self.plan.classifier.class_names[image.target]
                self.ledger.write(
                    [
                        Entry(image.case, call, scorer, [math.nan], image.predicted, target)
                        for scorer in self.lacking(image, call)
                    ]
                )
        return None

    def _make_together(self, images: Sequence[Image], call: MethodCall) -> None:
        """Put the maps of all images into the store; where that fails it is left to single images to say why."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                explained = [self.explained(image, image.target) for image in images]
                maps = call.explain_all(self.plan.classifier, explained, self.plan.device)
            except Exception as error:
                if stops_the_run(error):
                    raise
                return
        for number, (image, relevance) in enumerate(zip(images, maps, strict=True)):
            if self._stored(image, call, image.target) is None:
                # A warning that names an image of the batch belongs to it, any other to all of them.
                own = [w for w in caught if getattr(w.message, "index", number) == number]
                self._keep(image, call, image.target, relevance, own)

    def _keep(self, image: Image, call: MethodCall, target: int, relevance: Array, caught: Sequence[Any]) -> None:
        self.ledger.add_map(call.label)
        self.ledger.logs.maps.save(image.case.identity, target, call.label, relevance)
        notes = [f"{w.category.__name__}: {' '.join(str(w.message).split())}" for w in caught]
        self.ledger.add_notes(image.case, call.label, notes)

    def _stored(self, image: Image, call: MethodCall, target: int) -> Array | None:
        if target == image.target and (image.case.key, call.label) in self._maps:
            return self._maps[image.case.key, call.label]
        stored = self.ledger.logs.maps.load(image.case.identity, target, call.label)
        return stored if stored is not None and stored.shape[1:] == image.sample.image.shape[1:] else None

    def _call(self, label: str) -> MethodCall:
        for call in self.plan.methods:
            if call.label == label:
                return call
        raise ValueError(f"{label!r} is none of the compared methods: {', '.join(c.label for c in self.plan.methods)}")
