"""Options of metrics that are chosen on the Val split before a run, such as the share of pixels of ``MaskIoU``.

A threshold that is chosen on the images that are reported flatters the method it suits. Knows the run and the table of
metrics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from ..data import XrayDataset
from ..models import Classifier
from .calls import Call
from .cases import data_digest
from .methods import METHODS
from .metrics import METRICS
from .plan import Plan
from .planning import make_plan, try_first_image
from .protocol import VAL_SAMPLES, Protocol
from .scores import Score, finite
from .side_run import side_run
from .statistics import grouped

__all__ = ["VAL_FOLDER", "VAL_SPLIT", "choose_on_val", "is_left_to_val"]

VAL_FOLDER = "val"
"""Folder of the run on the Val split, inside the comparison's; a rerun goes on there."""

VAL_SPLIT = "Val"


def is_left_to_val(protocol: Protocol) -> bool:
    """Whether a metric has an option that is to be chosen on the Val split."""
    return bool(_asked(protocol))


def choose_on_val(
    folder: Path,
    protocol: Protocol,
    classifier: Classifier,
    val: XrayDataset,
    device: str = "cpu",
    quiet: bool = False,
    report_only: bool = False,
) -> Protocol:
    """Choose what metrics leave to the Val split, and write it into the settings.

    For each mask the value with the best mean over cases and methods is taken, the same for all methods; controls have
    no say where there is a method.

    Parameters
    ----------
    folder : Path
        Result folder of the comparison; scores and maps of this run go into its folder "val".
    protocol : Protocol
        Of the comparison; its methods and settings hold here too, on at most :data:`~.protocol.VAL_SAMPLES` cases.
    classifier : Classifier
        On ``device``.
    val : XrayDataset
        The Val split of the same data.
    device : str
    quiet : bool
        No progress bar.
    report_only : bool
        Score nothing: take the scores that are there.

    Returns
    -------
    Protocol
        With ``chosen``; the same where nothing is to be chosen.

    Raises
    ------
    ValueError
        The split is the one that is compared, it has no mask, or with ``report_only`` there are no scores.
    """
    asked = _asked(protocol)
    if not asked:
        return protocol
    digest = data_digest(val)
    if digest == protocol.data_digest:
        raise ValueError(
            f"{asked[0].label} is chosen on other images than those that are compared, but these are of the split "
            f"{val.split!r}, too; compare another split, or give a value"
        )
    place = folder / VAL_FOLDER
    if report_only and not (place / "scores.csv").exists():
        raise ValueError(f"{str(place)!r} holds no scores by which {asked[0].label} was chosen; run the comparison")
    trial = replace(
        protocol,
        data_digest=digest, split=val.split, samples=min(protocol.samples, VAL_SAMPLES),
        methods=_with_a_say(protocol.methods),
        metrics=tuple(one.label for call in asked for one, _ in _candidates(call)),
        primary="", truth="", removal_shift=0, chosen=(),
    )  # fmt: skip
    plan, _, _ = make_plan(trial, classifier, val, device)
    if not report_only:
        try_first_image(plan)
    with side_run(place, plan.protocol, plan, quiet, report_only) as run:
        return replace(protocol, chosen=_choices(asked, plan, run.scores()))


def _asked(protocol: Protocol) -> list[Call]:
    calls = [Call.parse(text) for text in protocol.metrics]
    return [call for call in calls if METRICS[call.name].left_to_val(call.options)]


def _with_a_say(methods: Sequence[str]) -> tuple[str, ...]:
    names = {text: Call.parse(text).name for text in methods}
    own = tuple(text for text, name in names.items() if name not in METHODS or METHODS[name].role == "method")
    return own or tuple(methods)


def _candidates(call: Call) -> list[tuple[Call, float]]:
    """The metric with each of the values, and that value."""
    spec = METRICS[call.name]
    option = str(spec.left_to_val(call.options))
    return [(Call(call.name, {**call.options, option: value}), value) for value in spec.choices[option]]


def _choices(asked: Sequence[Call], plan: Plan, scores: Sequence[Score]) -> tuple[str, ...]:
    """Entries "ROW=VALUE" for each metric and mask that has a score."""
    by_row: dict[str, list[float]] = {}
    for (metric, _), rows in grouped(scores).items():
        known = finite(rows)
        if known:
            by_row.setdefault(metric, []).append(fmean(known))
    chosen = []
    for call in asked:
        best_of = max if METRICS[call.name].higher_is_better else min
        for mask in dict.fromkeys(scorer.mask for scorer in plan.scorers):
            row = f"mask={mask}" if mask else ""
            candidates = {value: by_row.get(one.labelled(row)) for one, value in _candidates(call)}
            means = {value: fmean(of_methods) for value, of_methods in candidates.items() if of_methods}
            if means:
                chosen.append(f"{call.labelled(row)}={best_of(means, key=means.__getitem__)!r}")
    return tuple(chosen)
