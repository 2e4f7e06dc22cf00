"""The settings that a ranking is tried under: removals, sizes of steps, seeds, numbers of LIME's samples.

Every point of the grid is written as methods and metrics with options in brackets, so that one ordinary run scores all
of them. Knows the protocol and the tables of methods and metrics; imports neither Quantus nor torch.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ..calls import Call
from ..methods import MethodSpec
from ..protocol import Baseline, Protocol, parse_baseline

__all__ = ["GridPlan", "GridPoint", "SensitivityGrid"]

# How a metric takes a removal and a number of steps: the grid's axis, the option for it, the option for the step, and
# whether that counts features in a step (True) or steps (False).
_OPTIONS = {
    "FaithfulnessEstimate": ("baselines", "perturb_baseline", "features_in_step", True),
    "PixelFlipping": ("baselines", "perturb_baseline", "features_in_step", True),
    "FaithfulnessCorrelation": ("baselines", "perturb_baseline", "subset_size", True),
    "RemovalCurve": ("removals", "removal", "steps", False),
    "SaCo": ("removals", "removal", "groups", False),
}

_SAMPLED = ("num_samples", "seed")
"""Options of methods that draw samples, as LimeCXR does."""

_REFERENCE = "Random"
"""The one control that is scored beside the methods."""


@dataclass(frozen=True)
class GridPoint:
    """One setting of everything.

    Parameters
    ----------
    metric : str
        Name in the table of metrics.
    removal : str
        What takes the place of removed values: a baseline, or a name in :data:`quantus_vit.metrics.REMOVALS`.
    features_in_step : int
        Pixels of a step of the metric (values, for Quantus' own metrics from 0.6.0 on).
    lime_samples, seed : int
        Of methods that draw samples.
    scorer : str
        Name of the run's scorer.
    labels : tuple of (str, str)
        Method -> the label that it has in the run.
    """

    metric: str
    removal: str
    features_in_step: int
    lime_samples: int
    seed: int
    scorer: str
    labels: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class SensitivityGrid:
    """What is varied; an empty field stands for a default that comes from the protocol.

    The defaults are small on purpose: a fourth of LIME's samples beside the protocol's, one more seed, a step of about
    twice the size. Maps of the comparison are taken over, so that only LIME is computed anew.

    Parameters
    ----------
    metrics : tuple of str
        Of FaithfulnessEstimate, PixelFlipping, FaithfulnessCorrelation (by baseline), RemovalCurve and SaCo (by
        removal); default FaithfulnessEstimate and RemovalCurve.
    baselines : tuple of float or str
        Of Quantus' metrics; default 0.0, black and mean.
    removals : tuple of str or float
        Of this package's metrics; default mean, black, blur and tokens.
    steps : tuple of int
        Features in a step, each a divisor of the image's pixels; default the protocol's and about twice that.
    seeds : tuple of int
        Of the methods that draw samples; default the protocol's ``lime_seed`` and the next.
    lime_samples : tuple of int
        Default the protocol's and a fourth of it.
    samples : int
        Cases, a class-balanced beginning of the comparison's own sample.

    Raises
    ------
    ValueError
        A metric that cannot be varied, a value out of range, or one that comes twice.

    Examples
    --------
    >>> SensitivityGrid.parse(["samples=6", "baselines=0.0,black"]).baselines
    (0.0, 'black')
    """

    metrics: tuple[str, ...] = ("FaithfulnessEstimate", "RemovalCurve")
    baselines: tuple[Baseline, ...] = (0.0, "black", "mean")
    removals: tuple[Baseline, ...] = ("mean", "black", "blur", "tokens")
    steps: tuple[int, ...] = ()
    seeds: tuple[int, ...] = ()
    lime_samples: tuple[int, ...] = ()
    samples: int = 12

    def __post_init__(self) -> None:
        for name in self.metrics:
            if name not in _OPTIONS:
                raise ValueError(f"the sensitivity's metrics must be some of {', '.join(_OPTIONS)}, got {name!r}")
        for field_ in fields(self):
            values = getattr(self, field_.name)
            if isinstance(values, tuple) and len(set(values)) != len(values):
                raise ValueError(f"the sensitivity's {field_.name} hold a value twice: {', '.join(map(str, values))}")
        for name in ("metrics", "baselines", "removals"):
            if not getattr(self, name):
                raise ValueError(f"the sensitivity's {name} are empty; give at least one")
        for baseline in self.baselines:
            parse_baseline(str(baseline))
        counts = {"samples": (self.samples,), "steps": self.steps, "lime_samples": self.lime_samples}
        for name, values in counts.items():
            if any(value < 1 for value in values):
                raise ValueError(f"the sensitivity's {name} must be 1 or more, got {', '.join(map(str, values))}")

    @classmethod
    def parse(cls, items: Sequence[str]) -> SensitivityGrid:
        """Read ``NAME=VALUE,VALUE`` for the fields that are to differ from their defaults.

        Raises
        ------
        ValueError
            No such field, or a value that it cannot have.
        """
        readers: dict[str, Any] = {
            "metrics": str, "baselines": parse_baseline, "removals": _removal, "steps": int, "seeds": int,
            "lime_samples": int, "samples": int,
        }  # fmt: skip
        given: dict[str, Any] = {}
        for item in items:
            name, equals, text = item.partition("=")
            if not equals or name not in readers or name in given:
                raise ValueError(
                    f"--sensitivity takes NAME=VALUE[,VALUE], each name once, with the names {', '.join(readers)}; got "
                    f"{item!r}"
                )
            try:
                values = tuple(readers[name](value.strip()) for value in text.split(","))
            except ValueError as error:
                raise ValueError(f"--sensitivity {item}: {error}") from None
            if name == "samples" and len(values) > 1:
                raise ValueError(f"--sensitivity {item}: samples takes one number")
            given[name] = values[0] if name == "samples" else values
        return cls(**given)

    def resolved(self, protocol: Protocol) -> SensitivityGrid:
        """The grid with its defaults filled in from a protocol.

        Raises
        ------
        ValueError
            A step does not divide the image's pixels.
        """
        height, width = protocol.image_size
        pixels, step = height * width, protocol.features_in_step
        twice = next((value for value in range(2 * step, pixels // 2 + 1) if pixels % value == 0), None)
        grid = replace(
            self,
            steps=self.steps or tuple(value for value in (step, twice) if value is not None),
            seeds=self.seeds or (protocol.lime_seed, protocol.lime_seed + 1),
            lime_samples=self.lime_samples or tuple(sorted({protocol.lime_samples, -(-protocol.lime_samples // 4)})),
        )
        for value in grid.steps:
            if pixels % value:
                raise ValueError(f"the sensitivity's steps must divide the {height}x{width} pixels, got {value}")
        return grid

    def plan(self, protocol: Protocol, specs: dict[str, MethodSpec]) -> GridPlan:
        """All points, and the settings of the run that scores them.

        Parameters
        ----------
        protocol : Protocol
            Of the comparison.
        specs : dict of str to MethodSpec
            Its methods.

        Raises
        ------
        ValueError
            There are fewer than two methods to rank, or a step does not divide the image's pixels.
        """
        grid = self.resolved(protocol)
        kept = {label: spec for label, spec in specs.items() if spec.role == "method" or label == _REFERENCE}
        if sum(spec.role == "method" for spec in kept.values()) < 2:
            raise ValueError(
                f"--sensitivity ranks methods, so it needs two or more that are no controls; got {', '.join(specs)}"
            )
        sampled = {label: _sampled(label, spec, protocol) for label, spec in kept.items()}
        draws: list[tuple[int, int]] = [(protocol.lime_samples, protocol.lime_seed)]
        if any(sampled.values()):
            draws = list(itertools.product(grid.lime_samples, grid.seeds))
        labels = {
            draw: tuple((label, _drawn(label, names, draw, protocol)) for label, names in sampled.items())
            for draw in draws
        }
        scorers = _scorers(grid, protocol)
        points = tuple(
            GridPoint(metric, removal, step, *draw, scorer, labels[draw])
            for metric, removal, step, scorer in scorers
            for draw in draws
        )
        settings = replace(
            protocol,
            protocol="custom", protocol_version=1, overrides=(), primary="", truth="",
            methods=tuple(dict.fromkeys(own for pairs in labels.values() for _, own in pairs)),
            metrics=tuple(scorer for *_, scorer in scorers),
            baselines=protocol.baselines[:1], samples=min(grid.samples, protocol.samples),
        )  # fmt: skip
        return GridPlan(grid, settings, points, {label: spec.role for label, spec in kept.items()})


@dataclass(frozen=True)
class GridPlan:
    """A grid over a comparison.

    Parameters
    ----------
    grid : SensitivityGrid
        With every default filled in.
    settings : Protocol
        Of the run that scores all points.
    points : tuple of GridPoint
    roles : dict of str to str
        Method -> "method" or "control", in the comparison's order.
    """

    grid: SensitivityGrid
    settings: Protocol
    points: tuple[GridPoint, ...]
    roles: dict[str, str] = field(default_factory=dict)


def _scorers(grid: SensitivityGrid, protocol: Protocol) -> list[tuple[str, str, int, str]]:
    """Metric, removal, features in a step, and the run's name of it."""
    pixels = protocol.image_size[0] * protocol.image_size[1]
    found = []
    for metric in grid.metrics:
        axis, removal_option, step_option, counts_features = _OPTIONS[metric]
        for removal, step in itertools.product(getattr(grid, axis), grid.steps):
            options = {removal_option: removal, step_option: step if counts_features else pixels // step}
            found.append((metric, str(removal), step, Call(metric, options).label))
    return found


def _sampled(label: str, spec: MethodSpec, protocol: Protocol) -> tuple[str, ...]:
    """Which of its options the grid varies: those that the run gives it, and no brackets fix."""
    given, fixed = spec.options(protocol.explain_options()), Call.parse(label).options
    return tuple(name for name in _SAMPLED if name in given and name not in fixed)


def _drawn(label: str, names: tuple[str, ...], draw: tuple[int, int], protocol: Protocol) -> str:
    """The method's label with these samples; the plain one where they are the protocol's, whose map is there."""
    own = {"num_samples": protocol.lime_samples, "seed": protocol.lime_seed}
    further = {name: value for name, value in zip(_SAMPLED, draw, strict=True) if name in names and value != own[name]}
    call = Call.parse(label)
    return Call(call.name, {**call.options, **further}).label


def _removal(text: str) -> Baseline:
    try:
        return float(text)
    except ValueError:
        return text
