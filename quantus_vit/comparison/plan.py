"""What a run does, decided and checked: settings, model, data, cases, methods and metrics together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch

from ..data import Sample, XrayDataset
from ..models import Classifier
from .cases import Case
from .explaining import MethodCall
from .metrics import Scorer
from .protocol import Protocol

__all__ = ["Plan"]


@dataclass(frozen=True)
class Plan:
    """All that a run needs; :func:`~.planning.make_plan` makes and checks it before anything is written.

    Parameters
    ----------
    protocol : Protocol
    classifier : Classifier
        On ``device``.
    dataset : XrayDataset
    cases : tuple of Case
        What is explained, in this order.
    methods : tuple of MethodCall
    scorers : tuple of Scorer
    device : str
    left_out : tuple of str
        Methods and metrics of the named protocol that model or data cannot serve.
    """

    protocol: Protocol
    classifier: Classifier
    dataset: XrayDataset
    cases: tuple[Case, ...]
    methods: tuple[MethodCall, ...]
    scorers: tuple[Scorer, ...]
    device: str
    left_out: tuple[str, ...] = ()

    def excluded(self, call: MethodCall, scorer: Scorer) -> str:
        """Why a metric means nothing for a method, so that there is no score; "" where it does."""
        return scorer.spec.excludes(call.spec)

    def mask_of(self, call: MethodCall) -> str | None:
        """Finding or organ whose mask a method's map is made of, itself or by another's map; None for no mask."""
        if call.spec.of_another:
            return next((self.mask_of(one) for one in self.methods if one.label == call.options.get("method")), None)
        return call.spec.mask(call.options)

    def applies(self, call: MethodCall, masks: Mapping[str, torch.Tensor]) -> bool:
        """Whether a method can make a map of an image with these masks: one that needs a mask needs it not empty."""
        name = self.mask_of(call)
        return name is None or (name in masks and bool(masks[name].any()))

    def annotated(self, case: Case) -> set[str]:
        """Names of the masks that a case may be compared with, which may turn out to be empty; reads no pixel."""
        return self._comparable(case, self.dataset.records[case.index].annotations)

    def masks_for(self, case: Case, sample: Sample) -> dict[str, torch.Tensor]:
        """Masks that a case may be compared with: of its own finding, and of what is no class (lungs, "infection")."""
        names = self._comparable(case, sample.masks)
        return {name: mask for name, mask in sample.masks.items() if name in names}

    def _comparable(self, case: Case, names: Iterable[str]) -> set[str]:
        classes = {name.casefold() for name in self.dataset.class_names} - {case.label.casefold()}
        return {name for name in names if name.casefold() not in classes}

    def patients(self) -> dict[str, str]:
        """Image -> its patient, for the images whose patient is known."""
        records = {case.identity: self.dataset.records[case.index] for case in self.cases}
        return {identity: record.patient for identity, record in records.items() if record.patient is not None}
