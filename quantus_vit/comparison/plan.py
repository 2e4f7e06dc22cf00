"""What a run does, decided and checked: settings, model, data, cases, methods and metrics together."""

from __future__ import annotations

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
    """

    protocol: Protocol
    classifier: Classifier
    dataset: XrayDataset
    cases: tuple[Case, ...]
    methods: tuple[MethodCall, ...]
    scorers: tuple[Scorer, ...]
    device: str

    def excluded(self, call: MethodCall, scorer: Scorer) -> str:
        """Why a metric means nothing for a method, so that there is no score; "" where it does."""
        return scorer.spec.excludes(call.spec)

    def masks_for(self, case: Case, sample: Sample) -> dict[str, torch.Tensor]:
        """Masks that a case may be compared with: of its own finding, and of what is no class (lungs, "infection")."""
        classes = {name.casefold() for name in self.dataset.class_names} - {case.label.casefold()}
        return {name: mask for name, mask in sample.masks.items() if name.casefold() not in classes}

    def patients(self) -> dict[str, str]:
        """Image -> its patient, for the images whose patient is known."""
        records = {case.identity: self.dataset.records[case.index] for case in self.cases}
        return {identity: record.patient for identity, record in records.items() if record.patient is not None}
