"""From settings, model and data to a plan: everything that can be refused is refused here, before anything is written.

Knows protocol, cases, methods and metrics.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import torch

from ..data import XrayDataset
from ..models import Classifier, weights_digest
from ..quantus_plugin.model_state import precision
from .calls import Call
from .cases import cases_of, data_digest, match_labels
from .explaining import MethodCall, method_calls
from .methods import METHODS
from .metrics import METRICS, Scorer, build_scorers
from .plan import Plan
from .prediction import predict
from .protocol import Protocol, default_features_in_step
from .protocols import PROTOCOLS
from .sampling import Selection, select

__all__ = ["make_plan", "mask_kinds", "model_digest", "protocol_for", "try_first_image", "with_facts"]


def protocol_for(name: str, classifier: Classifier, dataset: XrayDataset, **settings: Any) -> Protocol:
    """Settings of a named protocol for a model and a data set.

    Parameters
    ----------
    name : str
        An entry of :data:`~quantus_vit.comparison.protocols.PROTOCOLS`, such as "fair".
    classifier : Classifier
    dataset : XrayDataset
    **settings
        Fields of :class:`~quantus_vit.comparison.protocol.Protocol` in place of the protocol's own; it marks them.

    Returns
    -------
    Protocol

    Raises
    ------
    ValueError
        An unknown protocol, a required setting is missing, or a value is out of range.
    TypeError
        A setting does not exist.
    """
    return with_facts(PROTOCOLS[name].with_overrides(settings), classifier, dataset)


def with_facts(settings: Mapping[str, Any], classifier: Classifier, dataset: XrayDataset, **further: Any) -> Protocol:
    """Protocol of settings and of what model, data and installation say by themselves.

    Parameters
    ----------
    settings : mapping
        As :meth:`~.protocols.ProtocolSpec.with_overrides` gives them.
    classifier : Classifier
    dataset : XrayDataset
    **further
        Facts that these do not know, or know otherwise, such as where the data lie.
    """
    size = classifier.preprocessing.size
    facts = {
        "data": dataset.name,
        "data_digest": data_digest(dataset),
        "split": dataset.split,
        "model": classifier.source,
        "model_digest": model_digest(classifier),
        "image_size": size,
        "quantus": version("quantus"),
    }
    return Protocol(**{"features_in_step": default_features_in_step(size), **settings, **facts, **further})


def make_plan(
    protocol: Protocol, classifier: Classifier, dataset: XrayDataset, device: str
) -> tuple[Plan, Selection, tuple[str, ...]]:
    """Check the settings and choose the cases.

    Parameters
    ----------
    protocol : Protocol
    classifier : Classifier
        On ``device``.
    dataset : XrayDataset
    device : str

    Returns
    -------
    plan : Plan
        Of ``protocol``, without those methods and metrics of a named protocol that model and data cannot serve.
    selection : Selection
        The sample, for reports.
    labels : tuple of str
        The compared classes of the data, in order.

    Raises
    ------
    ValueError, TypeError, ImportError
        Something is unknown, missing, or does not fit together; the message says what.
    """
    if protocol.softmax and classifier.task != "multiclass":
        raise ValueError(
            f"softmax=True scores the softmax of the logits, but the model's task is {classifier.task!r}; score its "
            "logits, without --softmax"
        )
    dtype = precision(classifier.module)
    if dtype != torch.float32:
        raise ValueError(
            f"the model {protocol.model} computes in {dtype}, and the metrics give it images of float32; compare "
            "model.float()"
        )
    matching = match_labels(classifier, dataset, protocol.classes, protocol.findings)
    selection = select(cases_of(dataset, matching), matching.labels, protocol.samples, protocol.sample_seed)
    records = [dataset.records[case.index] for case in selection.cases]
    masks = tuple(sorted({name for record in records for name in record.annotations}))
    served = _without_unserved(protocol, classifier, masks)
    left_out = tuple(
        name for name in (*protocol.methods, *protocol.metrics) if name not in (*served.methods, *served.metrics)
    )
    protocol = served
    methods = method_calls(protocol.methods, protocol.explain_options(), classifier)
    _check_methods_of_another(methods)
    scorers = build_scorers(protocol, masks)
    for scorer in scorers:
        _check_settings(scorer)
    _check_masks(protocol, scorers)
    _check_masks_of_methods(methods, masks)
    plan = Plan(protocol, classifier, dataset, selection.cases, tuple(methods), tuple(scorers), device, left_out)
    return plan, selection, matching.labels


def _without_unserved(protocol: Protocol, classifier: Classifier, masks: tuple[str, ...]) -> Protocol:
    """The protocol without what model and data cannot serve.

    What a user names is never left out: it is refused.
    """
    if protocol.protocol == "custom":
        return protocol
    methods, metrics = protocol.methods, protocol.metrics
    if "methods" not in protocol.overrides:
        methods = tuple(name for name in methods if _served(name, classifier, masks))
    if "metrics" not in protocol.overrides and not masks:
        metrics = tuple(name for name in metrics if "mask" not in METRICS[Call.parse(name).name].needs)
    return replace(protocol, methods=methods, metrics=metrics)


def _served(name: str, classifier: Classifier, masks: tuple[str, ...]) -> bool:
    call = Call.parse(name)
    if call.name not in METHODS:
        return True
    spec = METHODS[call.name]
    mask = spec.mask(call.options)
    return ("other class" not in spec.needs or len(classifier.class_names) > 1) and (mask is None or mask in masks)


def _check_settings(scorer: Scorer) -> None:
    """Build the metric once: what it refuses, it refuses now."""
    try:
        scorer.build()
    except (TypeError, ValueError, AssertionError) as error:
        raise ValueError(f"metric {scorer.name} cannot be made: {error}") from error


def _check_masks(protocol: Protocol, scorers: list[Scorer]) -> None:
    """Refuse metrics that compare with masks where no image of the sample has one."""
    have = {scorer.spec.name for scorer in scorers}
    lacking = [text for text in protocol.metrics if text.split("[")[0].strip() not in have]
    if lacking:
        raise ValueError(
            f"{', '.join(lacking)}: these metrics compare maps with masks, but no image of the sample has one; take "
            "data with masks (a table with columns mask:FINDING or box:FINDING, a folder with DIR/masks/FINDING, "
            "phantoms, COVID-QU-Ex with --subset infection; docs/data.md), or other metrics"
        )


def _check_methods_of_another(methods: list[MethodCall]) -> None:
    """Refuse controls that are made of the map of a method that is not compared."""
    labels = [call.label for call in methods]
    for call in methods:
        if call.spec.of_another and call.options.get("method") not in labels:
            raise ValueError(
                f"{call.label} is made of another method's map: give [method=NAME] with one of the compared methods, "
                f"{', '.join(labels)}"
            )


def _check_masks_of_methods(methods: list[MethodCall], masks: tuple[str, ...]) -> None:
    """Refuse methods that are made of a mask where no image of the sample has it."""
    for call in methods:
        mask = call.spec.mask(call.options)
        if mask is not None and mask not in masks:
            there = f"they have {', '.join(masks)}: {call.spec.name}[mask=NAME]" if masks else "they have no masks"
            raise ValueError(f"{call.label} is made of the mask {mask!r}, which no image of the sample has; {there}")


def try_first_image(plan: Plan) -> None:
    """Predict the first image that can be read, so that a model that does not fit is told before the work.

    Raises
    ------
    ValueError
        The model fails on it, or no image has a mask that is not empty though a metric needs one.
    """
    needed = [scorer for scorer in plan.scorers if scorer.mask is not None]
    predicted, suited = False, not needed
    for case in plan.cases:
        if predicted and suited:
            return
        try:
            sample = plan.dataset.sample(case.index, plan.classifier.preprocessing)
        except (OSError, ValueError):
            continue  # the run says so
        if not predicted:
            try:
                predict(plan.classifier, sample.image, case, plan.device)
            except Exception as error:  # whatever a model raises for an image that it does not take
                first = " ".join(str(error).split())
                raise ValueError(
                    f"the model {plan.protocol.model} fails on {case.identity}, an image of the shape "
                    f"{tuple(sample.image.shape)}: {type(error).__name__}: {first}"
                ) from error
            predicted = True
        masks = plan.masks_for(case, sample)
        suited = suited or any(scorer.mask in masks and bool(masks[scorer.mask].any()) for scorer in needed)
    if predicted and not suited:
        names = ", ".join(dict.fromkeys(scorer.spec.name for scorer in needed))
        size = "x".join(map(str, plan.protocol.image_size))
        raise ValueError(
            f"{names}: these metrics compare maps with masks, but all masks of the sample are empty at the model's "
            f"{size} pixels; take other metrics"
        )


def mask_kinds(plan: Plan) -> dict[str, str]:
    """How the masks behind each scorer were drawn: "pixel", "box", or "pixel+box"; "" for metrics without masks."""
    kinds: dict[str, set[str]] = {}
    for case in plan.cases:
        for name, annotation in plan.dataset.records[case.index].annotations.items():
            kinds.setdefault(name, set()).add(annotation.kind)
    return {
        scorer.name: "" if scorer.mask is None else "+".join(sorted(kinds.get(scorer.mask, ()), reverse=True))
        for scorer in plan.scorers
    }


def model_digest(classifier: Classifier) -> str:
    """Identify a model together with what its images go through: its weights, preprocessing, task and classes.

    The weights are those of now: a module that was trained further after its classifier was made is another model.
    """
    settings = [classifier.preprocessing.to_dict(), classifier.task, list(classifier.class_names)]
    further = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    return f"{weights_digest(classifier.module)}-{further}"
