"""Runs a protocol: every map once, every score written as it comes, and a rerun goes on where the last one stopped.

Knows the protocol, the explanations and the metrics; tables and figures are made from what it leaves on the disk.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from typing import Protocol as Interface

import torch
from tqdm import tqdm

from .explanations import MapStore, check_methods, explain_image, explainer_of
from .metrics import Scorer, build_scorers, score_maps
from .protocol import Protocol, load_config, save_config
from .sampling import Selection
from .scores import CsvLog, Failure, Note, Score, TieBreak

__all__ = ["ComparisonRun", "XrayDataset", "open_folder"]

NEVER_READ = -1
"""Stands for the class of an image that could not be read."""

_HOPELESS_AFTER = 3


class XrayDataset(Interface):
    """What the runner needs of a data set; :class:`~quantus_vit.data.CovidQuEx` and ``Phantom`` have it."""

    @property
    def labels(self) -> Sequence[int]:
        """Label of each item, without loading an image."""

    def __getitem__(self, index: int) -> Any:
        """One item, see :class:`quantus_vit.data.conventions.XraySample`."""


def open_folder(folder: Path, protocol: Protocol, environment: dict[str, Any]) -> None:
    """Make the result folder, or make sure that what lies in it comes from the same settings.

    Raises
    ------
    ValueError
        If the folder holds scores of other settings (the message lists the differences), or is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"the result folder {str(folder)!r} is a file; name a folder")
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "config.json"
    if config.exists():
        differences = protocol.differences(load_config(config))
        if differences:
            raise ValueError(
                f"{str(folder)!r} holds scores of other settings; take another folder, or the settings of before. "
                f"Different: {'; '.join(differences)}"
            )
    elif (folder / "scores.csv").exists():
        raise ValueError(f"{str(folder)!r} holds a scores.csv without config.json; take another folder")
    save_config(config, protocol, environment)


@dataclass
class _Image:
    """An image of the sample, read and predicted."""

    item: Any
    path: str
    label: int
    predicted: int
    target: int


class ComparisonRun:
    """One run of a protocol over a sample.

    Parameters
    ----------
    folder
        Result folder, see :func:`open_folder`.
    protocol
        The settings.
    model
        Classifier in evaluation mode, on ``device``.
    dataset
        Where the images come from.
    selection
        Which of them.
    device
        "cpu" or "cuda".

    Raises
    ------
    ValueError
        If a method or metric is unknown.
    """

    def __init__(
        self,
        folder: Path,
        protocol: Protocol,
        model: torch.nn.Module,
        dataset: XrayDataset,
        selection: Selection,
        device: str,
    ) -> None:
        check_methods(protocol.methods)
        self.protocol = protocol
        self.model = model
        self.dataset = dataset
        self.selection = selection
        self.device = device
        self.scorers = build_scorers(protocol)
        self.maps = MapStore(folder / "maps")
        self.scores = CsvLog(folder / "scores.csv", Score)
        self.tie_breaks = CsvLog(folder / "tie_breaks.csv", TieBreak)
        self.failures = CsvLog(folder / "errors.csv", Failure)
        self.notes = CsvLog(folder / "notes.csv", Note)
        self._done = {(row.path, row.method, row.metric) for row in self.scores.rows}

    def run(self, quiet: bool = False) -> None:
        """Compute what is missing.

        Parameters
        ----------
        quiet
            No progress bar.

        Raises
        ------
        ValueError
            If a method or metric fails on the first three images: then it is the method or the model, not an image.
        UnsupportedOperationError, ImportError
            If a method cannot work with this model or installation.
        """
        # A log file gets a line each half minute, a terminal a bar that moves.
        interval = 0.5 if sys.stderr.isatty() else 30.0
        total = len(self.selection.indices) * len(self.protocol.methods)
        with tqdm(total=total, unit="map", disable=quiet, mininterval=interval, desc="compare", smoothing=0.05) as bar:
            for index in self.selection.indices:
                self._run_image(index, bar)

    def is_complete(self) -> bool:
        """Whether every image of the sample has the scores that need no mask."""
        everywhere = [scorer.name for scorer in self.scorers if scorer.mask is None]
        counts = Counter((method, metric) for _, method, metric in self._done)
        images = len(self.selection.indices)
        return all(counts[method, name] == images for method in self.protocol.methods for name in everywhere)

    def _run_image(self, index: int, bar: tqdm[Any]) -> None:
        image = self._read(index)
        maps: dict[str, Any] = {}
        for method in self.protocol.methods:
            missing = [scorer for scorer in self.scorers if self._is_missing(image, method, scorer)]
            if missing:
                bar.set_postfix_str(method, refresh=False)
                maps[method] = self._map(image, method, missing)
            elif not bar.disable:
                bar.initial += 1  # nothing was computed: keep it out of the estimate of the time that is left
            bar.update()
        for scorer in self.scorers:
            self._score_all(
                image,
                scorer,
                {
                    method: relevance
                    for method, relevance in maps.items()
                    if relevance is not None and self._is_missing(image, method, scorer)
                },
            )

    def _is_missing(self, image: _Image, method: str, scorer: Scorer) -> bool:
        applies = image.item is None or scorer.applies_to(image.item)
        return applies and (image.path, method, scorer.name) not in self._done

    def _read(self, index: int) -> _Image:
        try:
            item = self.dataset[index]
        except (OSError, ValueError) as error:
            path = _path_of(self.dataset, index)
            if not any(row.path == path for row in self.failures.rows):
                self.failures.append([Failure(path, "", "", _one_line(error))])
            return _Image(None, path, self.dataset.labels[index], NEVER_READ, NEVER_READ)
        with torch.no_grad():
            predicted = int(self.model(item["image"][None].to(self.device)).argmax(dim=1))
        label = int(item["label"])
        target = label if self.protocol.target == "label" else predicted
        return _Image(item, str(item["path"]), label, predicted, target)

    def _map(self, image: _Image, method: str, scorers: Sequence[Scorer]) -> Any | None:
        """Map of an image; None where there is none, and then its scores are nan already."""
        error: Exception | None = None
        if image.item is not None:
            try:
                return self.maps.get_or_compute(image.path, image.target, method, lambda: self._explain(image, method))
            except (ImportError, TypeError):
                raise  # the installation or the model, not the image
            except Exception as caught:  # an odd image may break a method in any way; it is not worth the run
                error = caught
        if error is not None:
            self._note_failure(image.path, method, "", error)
        for scorer in scorers:
            self._write(image, method, scorer, [math.nan])
        return None

    def _explain(self, image: _Image, method: str) -> Any:
        """Compute a map; what the method warns of is kept for the report."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            relevance = explain_image(
                self.model, image.item["image"], image.target, method, self.protocol, image.path, self.device
            )
        self.notes.append(
            Note(image.path, method, f"{kind}: {text}")
            for kind, text in dict.fromkeys((w.category.__name__, " ".join(str(w.message).split())) for w in caught)
        )
        return relevance

    def _score_all(self, image: _Image, scorer: Scorer, maps: dict[str, Any]) -> None:
        """Score the maps of several methods in one call, or one by one where the metric needs it or the call fails."""
        if len(maps) > 1 and not scorer.re_explains:
            try:
                scores = self._scores(image, scorer, list(maps.values()))
            except Exception as error:  # an odd map may break a metric in any way: below it breaks its own score alone
                print(f"{image.path}: {_one_line(error)}; scoring its maps one by one", file=sys.stderr)
            else:
                for method, values in zip(maps, scores, strict=True):
                    self._write(image, method, scorer, values)
                return
        for method, relevance in maps.items():
            explain = explainer_of(method, self.protocol, image.path) if scorer.re_explains else None
            try:
                (values,) = self._scores(image, scorer, [relevance], explain)
            except Exception as error:
                self._note_failure(image.path, method, scorer.name, error)
                values = [math.nan]
            self._write(image, method, scorer, values)

    def _scores(self, image: _Image, scorer: Scorer, maps: Sequence[Any], explain: Any = None) -> list[list[float]]:
        return score_maps(scorer, maps, image.item, image.target, self.model, self.protocol, self.device, explain)

    def _note_failure(self, path: str, method: str, metric: str, error: Exception) -> None:
        """Write why a score is nan; stop where the cause is not the image, since nothing has ever worked."""
        self.failures.append([Failure(path, method, metric, _one_line(error))])
        scores = [row.score for row in self.scores.rows if row.method == method and metric in ("", row.metric)]
        failures = sum(row.method == method and row.metric == metric for row in self.failures.rows)
        if failures >= min(_HOPELESS_AFTER, len(self.selection.indices)) and all(map(math.isnan, scores)):
            what = f"method {method!r}" + (f" with metric {metric!r}" if metric else "")
            raise ValueError(f"{what} failed on {failures} images and worked on none: {_one_line(error)}") from error

    def _write(self, image: _Image, method: str, scorer: Scorer, values: list[float]) -> None:
        if len(values) > 1:
            self.tie_breaks.append(
                TieBreak(image.path, method, scorer.name, number, value) for number, value in enumerate(values)
            )
        # The mean of a nan is nan: an order without a score leaves the image without one.
        mean = sum(values) / len(values)
        self.scores.append([Score(image.path, image.label, image.predicted, image.target, method, scorer.name, mean)])
        self._done.add((image.path, method, scorer.name))


def _path_of(dataset: XrayDataset, index: int) -> str:
    paths = getattr(dataset, "paths", None)
    return str(paths[index]) if paths is not None else f"item {index}"


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
