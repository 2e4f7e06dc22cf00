"""What a metric is to a comparison: one record with its text, direction, needs, settings and builder, in one table.

Help, validation, scoring and report read the record. Knows the protocol; imports neither Quantus nor torch, which a
metric's builder does when it is called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from types import MappingProxyType
from typing import Any, Literal

from ...tables import Table
from ..calls import Call
from ..methods import MethodSpec
from ..protocol import Protocol

__all__ = [
    "CATEGORIES",
    "METRICS",
    "VAL",
    "Category",
    "MetricSpec",
    "Need",
    "Scorer",
    "build_scorers",
    "by_baseline",
    "common_settings",
    "metric_of_quantus",
    "of_package",
    "of_quantus",
    "only_abs",
]

Category = Literal["faithfulness", "localisation", "robustness", "randomisation", "complexity", "axiomatic"]
CATEGORIES: tuple[Category, ...] = (
    "faithfulness",
    "localisation",
    "robustness",
    "randomisation",
    "complexity",
    "axiomatic",
)

VAL = "Val"
"""Value of an option that is chosen on the Val split before the run, such as ``MaskIoU[share=Val]``."""

Need = Literal["mask", "explanations", "order"]
"""What a metric needs beside maps: a mask to compare with; more maps, of other images or models (it calls the method
again); or it sorts a map's values, so that ties have to be broken."""


def common_settings(protocol: Protocol) -> dict[str, Any]:
    """What all metrics of Quantus take: single scores, quiet, and each map by its own maximum, not its batch's.

    Parameters
    ----------
    protocol : Protocol

    Returns
    -------
    dict of str to Any
        Keywords of the metric's class.
    """
    # Quantus 0.3 passes the axes itself, and those of each map; other releases take the whole batch's if not told.
    axes = {} if protocol.quantus.startswith("0.3.") else {"normalise_axes": (1, 2, 3)}
    return {
        "return_aggregate": False,
        "disable_warnings": True,
        "display_progressbar": False,
        "normalise": protocol.normalise,
        "normalise_func_kwargs": axes,
        "abs": protocol.abs,
    }


def of_quantus(name: str) -> Callable[..., Any]:
    """Builder of a metric of Quantus; errors as of :func:`metric_of_quantus`.

    Parameters
    ----------
    name : str
        Of the class.

    Returns
    -------
    callable
        For ``MetricSpec.build``.
    """

    def build(**settings: Any) -> Any:
        return metric_of_quantus(name)(**settings)

    return build


def metric_of_quantus(name: str, broken: Mapping[str, str] = MappingProxyType({})) -> Any:
    """Class of a metric of Quantus.

    Parameters
    ----------
    name : str
    broken : mapping of str to str
        Release that cannot run it, such as "0.6.", by how its version begins -> the reason.

    Raises
    ------
    ValueError
        The installed release does not have the metric, or cannot run it.
    """
    import quantus

    installed = version("quantus")
    if not hasattr(quantus, name):
        raise ValueError(f"Quantus {installed}, which is installed, has no metric {name!r}; take another, or 0.6.0")
    for release, reason in broken.items():
        if installed.startswith(release):
            raise ValueError(f"{name} of Quantus {installed}, which is installed, {reason}; take another metric")
    return getattr(quantus, name)


def of_package(name: str) -> Callable[..., Any]:
    """Builder of a metric of :mod:`quantus_vit.metrics`."""

    def build(**settings: Any) -> Any:
        from ... import metrics

        return getattr(metrics, name)(**settings)

    return build


def only_abs(protocol: Protocol) -> dict[str, Any]:
    """What metrics of this package take of a protocol: they need no normalised maps."""
    return {"abs": protocol.abs}


def excludes_none(method: MethodSpec) -> str:
    """The metric means something for every method."""
    return ""


def once(protocol: Protocol) -> dict[str, dict[str, Any]]:
    """One row for a metric."""
    return {"": {}}


def by_baseline(protocol: Protocol) -> dict[str, dict[str, Any]]:
    """A row for each of the protocol's baselines; with a single one the row has the metric's plain name.

    Parameters
    ----------
    protocol : Protocol

    Returns
    -------
    dict of str to dict
        For ``MetricSpec.variants``.
    """
    if len(protocol.baselines) == 1:
        return {"": {"perturb_baseline": protocol.baselines[0]}}
    return {f"baseline={baseline}": {"perturb_baseline": baseline} for baseline in protocol.baselines}


@dataclass(frozen=True)
class MetricSpec:
    """A metric of the table.

    Parameters
    ----------
    name : str
        As users type it and tables show it.
    summary : str
        One line on what it measures, and how to read it.
    category : str
        One of :data:`CATEGORIES`.
    higher_is_better : bool
        As in the metric's paper.
    build : callable
        ``build(**settings)`` returns an object that is called as Quantus' metrics are.
    settings : callable
        From the protocol to the keywords of ``build``; :func:`common_settings` if nothing else is to be set.
    variants : callable
        From the protocol to the rows that the metric gives: what stands in the brackets behind its name -> further
        keywords of ``build``. See :func:`by_baseline`.
    needs : frozenset of str
        See :data:`Need`.
    positive_only : bool
        Whether negative relevance is set to zero before (shares of mass mean nothing with both signs).
    summarise : callable
        Makes a number of what the metric returns for a map.
    excludes : callable
        Of a method's record: why the metric means nothing for it, or "" where it does. Such a pair has no score, and
        is listed in ``not_applicable.csv``.
    curves : callable or None
        Takes from a metric that has been called, for each map, the curves behind its score: order -> outputs.
    choices : mapping of str to tuple of float
        Option that can be :data:`VAL` -> the values of which the best on the Val split is taken.
    """

    name: str
    summary: str
    category: Category
    higher_is_better: bool
    build: Callable[..., Any]
    settings: Callable[[Protocol], Mapping[str, Any]] = common_settings
    variants: Callable[[Protocol], Mapping[str, Mapping[str, Any]]] = once
    needs: frozenset[Need] = frozenset()
    positive_only: bool = False
    summarise: Callable[[Any], float] = float
    excludes: Callable[[MethodSpec], str] = excludes_none
    curves: Callable[[Any], Sequence[Mapping[str, Sequence[float]]]] | None = None
    choices: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.category not in CATEGORIES:
            raise ValueError(f"the category of {self.name} must be one of {CATEGORIES}, got {self.category!r}")

    def left_to_val(self, options: Mapping[str, Any]) -> str | None:
        """The option whose value is to be chosen on the Val split, None where there is none."""
        return next((name for name in self.choices if options.get(name) == VAL), None)


METRICS: Table[MetricSpec] = Table("metric", MetricSpec, "quantus_vit.metrics")
"""Every metric that ``compare`` knows, other packages' too; filled by the modules of this folder."""


@dataclass(frozen=True)
class Scorer:
    """One row of the tables: a metric with all its settings, and the mask that it compares with.

    Parameters
    ----------
    name : str
        Of the row, such as "FaithfulnessEstimate[baseline=black]" or "PointingGame[mask=lung]".
    spec : MetricSpec
    settings : mapping
        Keywords of ``spec.build``.
    mask : str or None
        Finding or organ whose mask is compared with.
    """

    name: str
    spec: MetricSpec
    settings: Mapping[str, Any]
    mask: str | None = None

    def build(self) -> Any:
        """Make the metric; a fresh one for each call, since metrics keep what they have seen."""
        return self.spec.build(**self.settings)


def build_scorers(protocol: Protocol, masks: tuple[str, ...] = ()) -> list[Scorer]:
    """Scorers of a protocol, in its order.

    Parameters
    ----------
    protocol : Protocol
    masks : tuple of str
        Findings and organs that have masks in the data; metrics that need a mask give a row for each.

    Returns
    -------
    list of Scorer

    Raises
    ------
    ValueError, TypeError
        A metric is unknown, or its builder refuses the options, or an option is to be chosen on the Val split and was
        not.
    """
    scorers: list[Scorer] = []
    for text in protocol.metrics:
        call = Call.parse(text)
        spec = METRICS[call.name]
        for variant, further in spec.variants(protocol).items():
            settings = {**spec.settings(protocol), **further, **call.options}
            for mask in masks if "mask" in spec.needs else (None,):
                entries = [entry for entry in (variant, f"mask={mask}" if mask else "") if entry]
                row = call.labelled(",".join(entries))
                scorers.append(Scorer(row, spec, {**settings, **_chosen(row, spec, call, protocol)}, mask))
    return scorers


def _chosen(row: str, spec: MetricSpec, call: Call, protocol: Protocol) -> dict[str, float]:
    """The option of a row that was chosen on the Val split; nothing where none had to be."""
    option = spec.left_to_val(call.options)
    if option is None:
        return {}
    if row not in protocol.chosen_values():
        raise ValueError(
            f"{row}: {option} has not been chosen on the Val split; no image of its sample has such a mask, or "
            "quantus_vit.comparison.choose_on_val was not called"
        )
    return {option: protocol.chosen_values()[row]}
