"""Maps of confounded models on films that carry the artefact, row by row into files; a rerun computes what is missing.

Knows phantoms, models, methods and files.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ...data import CLASS_NAMES, ConfoundedPhantom, Phantom
from ...files import locked
from ...models import Classifier, load_model
from ..explaining import ExplainedImage, MethodCall, method_calls
from ..planning import model_digest
from ..protocol import Baseline, ExplainOptions, image_seed
from ..scores import CsvLog
from ..statistics import write_table
from .measure import (
    ConfounderMap,
    ConfounderRow,
    ReliancePair,
    RelianceRow,
    artefact_share,
    confounder_rows,
    reliance_rows,
)

__all__ = [
    "ConfounderSettings",
    "ConfounderTables",
    "confounded_models",
    "is_confounder_study",
    "study_confounders",
]

_FOLDER = re.compile(r"(?P<artefact>[a-z]+)@(?P<percent>\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class ConfounderSettings:
    """What is explained, and how.

    Parameters
    ----------
    methods : tuple of str
        As in a comparison, options in brackets.
    samples : int
        Films of the Test split that carry the artefact, and as many of the other classes for the models' reliance.
    lime_samples : int
    lime_replacement : float or str
        LIME's own default: nothing is removed by a metric here.
    carrier : str
        The class that goes with the artefact.
    seed : int
        Of the films.
    """

    methods: tuple[str, ...] = (
        "TransformerLRP", "AttnLRP", "GenericAttention", "AttentionRollout", "LibraGrad", "InputXGradient",
        "IntegratedGradients", "TokenOcclusion", "LimeCXR", "Random", "SobelEdges", "Intensity",
    )  # fmt: skip
    samples: int = 20
    lime_samples: int = 300
    lime_replacement: Baseline = "mean"
    carrier: str = "COVID-19"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.samples < 2 or self.lime_samples < 1:
            raise ValueError(
                f"samples must be 2 films or more and lime_samples 1 or more, got {self.samples}, {self.lime_samples}"
            )
        if self.carrier not in CLASS_NAMES:
            raise ValueError(f"carrier must be one of {', '.join(CLASS_NAMES)}, got {self.carrier!r}")

    def options(self) -> ExplainOptions:
        """Options of the methods."""
        return ExplainOptions(lime_samples=self.lime_samples, lime_replacement=self.lime_replacement, seed=self.seed)


@dataclass(frozen=True)
class ConfounderTables:
    """What a study found: rows of ``confounders.csv`` and ``confounder_models.csv``."""

    rows: list[ConfounderRow] = field(default_factory=list)
    models: list[RelianceRow] = field(default_factory=list)


def confounded_models(folder: Path) -> dict[tuple[str, float], Path]:
    """Artefact and percentage -> the model below a folder, ``ARTEFACT@PERCENT/model.safetensors``.

    Raises
    ------
    FileNotFoundError
        There is none.
    """
    found = {}
    for path in sorted(folder.glob("*@*/model.safetensors")):
        match = _FOLDER.fullmatch(path.parent.name)
        if match is not None:
            found[match["artefact"], float(match["percent"])] = path
    if not found:
        raise FileNotFoundError(
            f"{str(folder)!r} holds no ARTEFACT@PERCENT/model.safetensors; 'quantus-vit confounders train --out "
            f"{folder}' makes them"
        )
    return found


def is_confounder_study(folder: Path) -> bool:
    """Whether a folder holds the tables of a study, and is no result folder of a comparison."""
    return (folder / "confounders.csv").exists() and not (folder / "config.json").exists()


def study_confounders(
    folder: Path, settings: ConfounderSettings | None = None, device: str = "cpu", quiet: bool = False
) -> ConfounderTables:
    """Explain films with an artefact by every model of a folder, and write the tables there.

    Parameters
    ----------
    folder : Path
        Holds the models, see :func:`confounded_models`. The one at 0 % is the control of the others.
    settings : ConfounderSettings, optional
    device : str
    quiet : bool
        No progress bar.

    Raises
    ------
    FileNotFoundError, ValueError, TypeError, ImportError
        No model, or a method that is unknown or cannot be used.
    """
    settings = settings or ConfounderSettings()
    models = confounded_models(folder)
    with locked(folder):
        maps = CsvLog(folder / "confounder_maps.csv", ConfounderMap)
        pairs = CsvLog(folder / "confounder_reliance.csv", ReliancePair)
        known: set[str] = set()
        roles: dict[str, str] = {}
        with tqdm(total=len(models) * settings.samples, unit="film", disable=quiet, desc="confounders") as bar:
            for (artefact, percent), path in models.items():
                classifier = load_model(path, device)
                calls = method_calls(settings.methods, settings.options(), classifier)
                roles.update({call.label: call.spec.role for call in calls})
                one = _OneModel(artefact, percent, classifier, tuple(calls), settings, device)
                known.add(one.identity)
                one.rely(pairs)
                one.explain(maps, bar)
    tables = ConfounderTables(
        confounder_rows([row for row in maps.rows if row.settings in known and row.method in roles], roles),
        reliance_rows([pair for pair in pairs.rows if pair.settings in known]),
    )
    write_table(folder / "confounders.csv", ConfounderRow, tables.rows)
    write_table(folder / "confounder_models.csv", RelianceRow, tables.models)
    return tables


@dataclass(frozen=True)
class _OneModel:
    """A model of the study with what it is asked."""

    artefact: str
    percent: float
    classifier: Classifier
    calls: tuple[MethodCall, ...]
    settings: ConfounderSettings
    device: str

    @property
    def identity(self) -> str:
        """Digest of the model and of what changes a row, the methods' names aside."""
        parts = (model_digest(self.classifier), self.settings.options(), self.settings.samples, self.settings.carrier)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]

    @property
    def target(self) -> int:
        """Output of the class that goes with the artefact.

        Raises
        ------
        ValueError
            The model has no such class.
        """
        names = self.classifier.class_names
        if self.settings.carrier not in names:
            raise ValueError(f"the model of {self.artefact}@{self.percent:g} has no class {self.settings.carrier!r}")
        return names.index(self.settings.carrier)

    def rely(self, log: CsvLog[ReliancePair]) -> None:
        """Plant the artefact on films of the other classes, and see what the model makes of it."""
        done = {pair.image for pair in log.rows if pair.settings == self.identity and pair.artefact == self.artefact}
        others = [name for name in CLASS_NAMES if name != self.settings.carrier]
        each = -(-self.settings.samples // len(others))
        for name in others:
            planted, plain = self._films(each, carrier=name), self._plain(each)
            for index in self._of(planted, name):
                record = planted.records[index]
                if record.identity not in done:
                    probabilities = [self._probabilities(source, index) for source in (plain, planted)]
                    before, after = (float(p[self.target]) for p in probabilities)
                    calls = [int(p.argmax()) == self.target for p in probabilities]
                    flipped = int(calls[1] and not calls[0])
                    row = ReliancePair(
                        self.artefact, self.percent, record.identity, before, after, flipped, self.identity
                    )
                    log.append([row])

    def explain(self, log: CsvLog[ConfounderMap], bar: tqdm[None]) -> None:
        """Explain the films that carry the artefact, for its class."""
        done = {(row.image, row.method) for row in log.rows if row.settings == self.identity}
        films = self._films(self.settings.samples, carrier=self.settings.carrier)
        for index in self._of(films, self.settings.carrier):
            identity = films.records[index].identity
            missing = [call for call in self.calls if (identity, call.label) not in done]
            if missing:
                log.append(self._shares(films, index, missing))
            bar.update()

    def _shares(self, films: ConfoundedPhantom, index: int, calls: Sequence[MethodCall]) -> list[ConfounderMap]:
        sample = films.sample(index, self.classifier.preprocessing)
        masks = {name: mask.numpy() for name, mask in sample.masks.items()}
        seed = (self.settings.seed, image_seed(films.records[index].identity))

        def map_of(label: str, target: int) -> np.ndarray:
            (call,) = method_calls((label,), self.settings.options(), self.classifier)
            return call.explain(self.classifier, ExplainedImage(sample.image, target, seed, masks, map_of), self.device)

        rows = []
        for call in calls:
            image = ExplainedImage(sample.image, self.target, seed, masks, map_of)
            relevance = call.explain(self.classifier, image, self.device)[0]
            shares = artefact_share(relevance, masks["artefact"][0])
            identity = films.records[index].identity
            rows.append(ConfounderMap(self.artefact, self.percent, identity, call.label, *shares, self.identity))
        return rows

    def _films(self, each: int, carrier: str) -> ConfoundedPhantom:
        """So many films of each class, in the model's size; the carrier's have the artefact."""
        side = max(self.classifier.preprocessing.size)
        count = each * len(CLASS_NAMES)
        return ConfoundedPhantom(self.artefact, 1.0, count, self.settings.seed, "Test", side, carrier)

    def _plain(self, each: int) -> Phantom:
        """The same films without it."""
        side = max(self.classifier.preprocessing.size)
        return Phantom(each * len(CLASS_NAMES), self.settings.seed, "Test", side)

    def _of(self, films: Phantom, name: str) -> list[int]:
        return [index for index, label in enumerate(films.labels) if label == CLASS_NAMES.index(name)]

    def _probabilities(self, source: Phantom, index: int) -> torch.Tensor:
        image = source.sample(index, self.classifier.preprocessing).image[None].to(self.device)
        with torch.no_grad():
            return self.classifier.probabilities(self.classifier.module(image))[0].cpu()
