"""The verdict on metrics that the package ships, for reports of runs that have not judged their metrics themselves.

``assets/meta_evaluation.json`` has the counts of ``quantus-vit compare --protocol meta``. They are of metrics with
exact settings on one release of Quantus: any other is not judged by them. Knows plans, scorers and the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import astuple, replace
from typing import Any

from ..assets import shipped_verdict_path
from .meta_evaluation import MetaRow, meta_row
from .metrics import Scorer, build_scorers
from .plan import Plan
from .protocol import Protocol, default_features_in_step
from .protocols import PROTOCOLS

__all__ = ["describe_verdict", "shipped_rows", "verdict_of"]

_COUNTS = ("metric", "control", "n", "preferred", "ties", "nan")


def shipped_rows(plan: Plan) -> list[MetaRow]:
    """Rows of the shipped verdict for the metrics of a run that have the settings that were judged.

    Parameters
    ----------
    plan : Plan
        Of a comparison.

    Returns
    -------
    list of MetaRow
        In the order of the run's metrics, under its names of them; ``source`` says whose verdict it is.
    """
    verdict = json.loads(shipped_verdict_path().read_text(encoding="utf-8"))
    judged_with = PROTOCOLS[verdict["protocol"]].settings
    # Softmax is given to a metric's call, so that its own settings do not have it.
    if plan.protocol.quantus != verdict["quantus"] or plan.protocol.softmax != judged_with["softmax"]:
        return []
    judged = {row: _settings(scorer) for row, scorer in _judged_scorers(plan.protocol, verdict).items()}
    rows = []
    for scorer in plan.scorers:
        settings = _settings(scorer)
        name = next((row for row, known in judged.items() if known == settings), None)
        rows += [
            meta_row(scorer.name, control, n, preferred, ties, nan, describe_verdict(verdict))
            for metric, control, n, preferred, ties, nan in verdict["rows"]
            if metric == name
        ]
    return rows


def verdict_of(protocol: Protocol, rows: list[MetaRow]) -> dict[str, Any]:
    """What the package ships of a run of the protocol ``meta``."""
    return {
        "protocol": protocol.protocol,
        "version": protocol.protocol_version,
        "quantus": protocol.quantus,
        "model_digest": protocol.model_digest,
        "image_size": list(protocol.image_size),
        "samples": protocol.samples,
        "rows": [list(astuple(row)[: len(_COUNTS)]) for row in rows],
    }


def describe_verdict(verdict: Mapping[str, Any]) -> str:
    """Where a verdict comes from, in words."""
    return (
        f"shipped: protocol {verdict['protocol']}, version {verdict['version']}, {verdict['samples']} phantoms, "
        f"Quantus {verdict['quantus']}"
    )


def _judged_scorers(protocol: Protocol, verdict: Mapping[str, Any]) -> dict[str, Scorer]:
    """Rows of the verdict, as the metrics that were judged."""
    size = tuple(verdict["image_size"])
    settings = PROTOCOLS[verdict["protocol"]].settings
    judged = replace(
        protocol, **settings, image_size=size, features_in_step=default_features_in_step(size), primary="", chosen=()
    )
    return {scorer.name: scorer for scorer in build_scorers(judged, ("infection", "lung"))}


def _settings(scorer: Scorer) -> tuple[str, str | None, str]:
    return scorer.spec.name, scorer.mask, repr(sorted(scorer.settings.items()))
