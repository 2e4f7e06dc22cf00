"""From the arguments of ``compare`` to the settings of a protocol. Knows the tables of names."""

from __future__ import annotations

import argparse
import math
from typing import Any

__all__ = ["settings_of"]

SYNTHETIC = ("phantom", "confounded")


def settings_of(args: argparse.Namespace) -> dict[str, Any]:
    """Settings by the protocol and the options that replace some of them.

    Parameters
    ----------
    args : argparse.Namespace
        Of ``compare``.

    Returns
    -------
    dict
        Field of :class:`~quantus_vit.comparison.Protocol` -> value.

    Raises
    ------
    ValueError
        A name or a number is none; the message says what would be.
    """
    from ..comparison.calls import Call
    from ..comparison.metrics import METRICS
    from ..comparison.protocol import parse_baseline
    from ..comparison.protocols import PROTOCOLS

    names = (
        "methods", "metrics", "samples", "sample_seed", "target", "lime_samples", "lime_seed", "precision",
        "features_in_step", "softmax", "normalise", "abs", "tie_breaks", "tie_seed", "findings", "removal_shift",
    )  # fmt: skip
    given = {name: getattr(args, name) for name in names}
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    for name in ("methods", "metrics"):
        if given[name] is not None:
            given[name] = tuple(Call.parse(text).label for text in given[name])
    if args.baselines is not None:
        given["baselines"] = tuple(parse_baseline(text) for text in args.baselines)
    if args.lime_replacement is not None:
        given["lime_replacement"] = _number_or_name(args.lime_replacement)
    settings = PROTOCOLS[args.protocol or _default_protocol(args.data)].with_overrides(given)
    for text in settings.get("metrics", ()):
        METRICS[Call.parse(text).name]  # a misspelt metric is told before a model is loaded
    return settings


def _default_protocol(data: str) -> str:
    return "quick" if data.partition(":")[0] in SYNTHETIC else "fair"


def _number_or_name(text: str) -> float | str:
    try:
        value = float(text)
    except ValueError:
        return text
    if not math.isfinite(value):
        raise ValueError(f"--lime-replacement must be a finite number or a name, got {text!r}")
    return value
