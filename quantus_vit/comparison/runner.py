"""Runs a protocol: every map once, every score written as it comes, and a rerun goes on where the last one stopped.

Knows the protocol, the explanations and the metrics; tables and figures are made from what it leaves on the disk.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from typing import Protocol as Interface

import torch
from tqdm import tqdm

from .explanations import MapStore, check_methods, explain_image, explainer_of
from .metrics import Scorer, build_scorers, score_map
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

    def _run_image(self, index: int, bar: tqdm[Any]) -> None:
        image = self._read(index)
        for method in self.protocol.methods:
            missing = [
                scorer
                for scorer in self.scorers
                if (image.path, method, scorer.name) not in self._done
                and (image.item is None or scorer.applies_to(image.item))
            ]
            if missing:
                bar.set_postfix_str(method, refresh=False)
                self._run_method(image, method, missing)
            elif not bar.disable:
                bar.initial += 1  # nothing was computed: keep it out of the estimate of the time that is left
            bar.update()

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

    def _run_method(self, image: _Image, method: str, scorers: Sequence[Scorer]) -> None:
        if image.item is None:
            self._write(image, method, {scorer.name: [math.nan] for scorer in scorers})
            return
        try:
            relevance = self.maps.get_or_compute(image.path, image.target, method, lambda: self._explain(image, method))
        except (ImportError, TypeError):
            raise  # the installation or the model, not the image
        except Exception as error:  # an odd image may break a method in any way; it is not worth the run
            self._note_failure(image.path, method, "", error)
            self._write(image, method, {scorer.name: [math.nan] for scorer in scorers})
            return
        for scorer in scorers:
            self._write(image, method, {scorer.name: self._score(image, method, scorer, relevance)})

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

    def _score(self, image: _Image, method: str, scorer: Scorer, relevance: Any) -> list[float]:
        explain = explainer_of(method, self.protocol, image.path) if scorer.re_explains else None
        try:
            return score_map(
                scorer, relevance, image.item, image.target, self.model, self.protocol, self.device, explain
            )
        except Exception as error:  # and so may an odd map a metric
            self._note_failure(image.path, method, scorer.name, error)
            return [math.nan]

    def _note_failure(self, path: str, method: str, metric: str, error: Exception) -> None:
        """Write why a score is nan; stop where the cause is not the image, since nothing has ever worked."""
        self.failures.append([Failure(path, method, metric, _one_line(error))])
        scores = [row.score for row in self.scores.rows if row.method == method and metric in ("", row.metric)]
        failures = sum(row.method == method and row.metric == metric for row in self.failures.rows)
        if failures >= min(_HOPELESS_AFTER, len(self.selection.indices)) and all(map(math.isnan, scores)):
            what = f"method {method!r}" + (f" with metric {metric!r}" if metric else "")
            raise ValueError(f"{what} failed on {failures} images and worked on none: {_one_line(error)}") from error

    def _write(self, image: _Image, method: str, scores: dict[str, list[float]]) -> None:
        for metric, values in scores.items():
            if len(values) > 1:
                self.tie_breaks.append(
                    TieBreak(image.path, method, metric, number, value) for number, value in enumerate(values)
                )
            # The mean of a nan is nan: an order without a score leaves the image without one.
            mean = sum(values) / len(values)
            self.scores.append([Score(image.path, image.label, image.predicted, image.target, method, metric, mean)])
            self._done.add((image.path, method, metric))


def _path_of(dataset: XrayDataset, index: int) -> str:
    paths = getattr(dataset, "paths", None)
    return str(paths[index]) if paths is not None else f"item {index}"


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
