"""Explains image after image and writes what comes of each at once; one image's failure does not stop the rest.

Knows methods and predictions by the comparison's records of them, formats by their table.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from ..comparison.explaining import ExplainedImage, MethodCall
from ..comparison.prediction import probabilities_of
from ..comparison.progress import map_bar
from ..comparison.protocol import image_seed
from ..data.images import read_grey
from ..errors import UnsupportedOperationError
from ..models import Classifier
from ..pictures.explanation import Explanation
from ..pictures.overlay import reduced
from .inputs import InputImage
from .places import Places
from .results import Results
from .settings import Outcome, Settings
from .table import explained_row, failed_row
from .wording import listed_prediction, target_of

__all__ = ["Gallery"]

Array = npt.NDArray[np.float32]

_THUMBNAIL = 320
_TRIES = 3
"""So many failures of a method from the first image on are the method's or the model's fault, not an image's."""


@dataclass(frozen=True)
class _Read:
    """An image that was read and predicted."""

    input: InputImage
    grey: Array
    image: torch.Tensor
    probabilities: Sequence[float]
    target: int


class Gallery:
    """A run of ``explain``.

    Parameters
    ----------
    classifier : Classifier
    calls : sequence of MethodCall
    places : Places
    settings : Settings
    device : str
    """

    def __init__(
        self, classifier: Classifier, calls: Sequence[MethodCall], places: Places, settings: Settings, device: str
    ) -> None:
        self._classifier, self._calls, self._places = classifier, calls, places
        self._settings, self._device = settings, device
        self._failures: list[tuple[InputImage, Exception]] = []
        self._tries: dict[str, int] = {call.label: 0 for call in calls}

    def run(self, images: Sequence[InputImage], quiet: bool = False) -> Outcome:
        """Explain the images.

        Parameters
        ----------
        images : sequence of InputImage
        quiet : bool
            Neither progress bar nor lines of what was written.

        Returns
        -------
        Outcome

        Raises
        ------
        UnsupportedOperationError, ImportError
            A method cannot work with the model or the installation.
        ValueError, TypeError, RuntimeError
            A method fails on the first images.
        KeyboardInterrupt
            As it came; what was done until then is in sheets, table and maps.
        """
        self._places.prepare()
        results = Results(self._places, self._calls, self._classifier)
        explained = 0
        total = len(images) * len(self._calls)
        # Images are held back only where that makes a method faster.
        together = any(call.takes_batches(self._device) for call in self._calls)
        size = self._settings.batch_size if together else 1
        try:
            with map_bar("explain", total, quiet or total < 2) as bar:
                for start in range(0, len(images), size):
                    explained += self._run_batch(images[start : start + size], results, None if quiet else bar)
                    bar.update(len(images[start : start + size]) * len(self._calls))
        finally:
            files = results.finish()
        return Outcome(explained, tuple(self._failures), files)

    def _run_batch(self, batch: Sequence[InputImage], results: Results, bar: tqdm[Any] | None) -> int:
        read = [one for image in batch if (one := self._read(image, results)) is not None]
        maps: list[dict[str, Array]] = [{} for _ in read]
        seconds: list[dict[str, float]] = [{} for _ in read]
        for call in self._calls:
            for at, relevance, took in self._explain(call, read, results):
                maps[at][call.label], seconds[at][call.label] = relevance, took
        complete = 0
        for one, by_method, times in zip(read, maps, seconds, strict=True):
            complete += self._write(one, by_method, times, results, bar)
        return complete

    def _read(self, image: InputImage, results: Results) -> _Read | None:
        try:
            for entry in self._places.formats:
                if entry.check is not None:
                    entry.check(image.path)
            grey = read_grey(image.path, self._settings.pixel_range)
            tensor = self._classifier.preprocessing.image(grey)
            probabilities = probabilities_of(self._classifier, tensor, self._device)
            target = target_of(image, self._settings, self._classifier.class_names, probabilities)
        except (ValueError, OSError) as error:
            self._fail(image, error, results)
            return None
        return _Read(image, grey, tensor, probabilities, target)

    def _explain(self, call: MethodCall, read: Sequence[_Read], results: Results) -> list[tuple[int, Array, float]]:
        """Number, map and seconds of each image that the method explains."""
        numbers = range(len(read))
        if len(read) > 1 and call.takes_batches(self._device):
            together = self._attempt(call, read)
            if not isinstance(together, Exception):
                self._tries[call.label] = _TRIES
                return [(at, *together[at]) for at in numbers]
        done = []
        for at in numbers:
            alone = self._attempt(call, read[at : at + 1])
            if isinstance(alone, Exception):
                self._tries[call.label] += 1
                if self._tries[call.label] == _TRIES:
                    raise alone
                self._fail(read[at].input, alone, results, call.label)
            else:
                self._tries[call.label] = _TRIES
                done.append((at, *alone[0]))
        return done

    def _attempt(self, call: MethodCall, read: Sequence[_Read]) -> list[tuple[Array, float]] | Exception:
        seed = self._settings.seed
        shown = [
            ExplainedImage(one.image, one.target, (seed, image_seed(Path(one.input.path).as_posix()))) for one in read
        ]
        started = time.perf_counter()
        try:
            maps = call.explain_all(self._classifier, shown, self._device)
            for relevance in maps:
                if not np.isfinite(relevance).all():
                    raise ValueError(f"{call.label}: the map has values that are no finite numbers")
        except (UnsupportedOperationError, ImportError):
            raise
        except (ValueError, TypeError, RuntimeError) as error:
            return error
        took = (time.perf_counter() - started) / len(read)
        return [(relevance[0], took) for relevance in maps]

    def _write(
        self, one: _Read, maps: dict[str, Array], seconds: dict[str, float], results: Results, bar: tqdm[Any] | None
    ) -> bool:
        """Write the pictures of an image; whether all methods have one."""
        written = 0
        for call in self._calls:
            if call.label not in maps:
                continue
            explanation = self._explanation(one, call, maps[call.label])
            try:
                files = [
                    file
                    for entry in self._places.formats
                    for file in entry.write(
                        explanation, self._places.path(one.input, call.label, entry), self._settings.options
                    )
                ]
            except ValueError as error:
                self._fail(one.input, error, results, call.label)
                continue
            written += 1
            row = explained_row(
                one.input, self._classifier, one.probabilities, one.target, call.label, seconds[call.label], files
            )
            results.add_row(row)
            if bar is not None:
                self._say(one, explanation, files, bar)
        self._add_to_summaries(one, maps, results)
        return written == len(self._calls)

    def _add_to_summaries(self, one: _Read, maps: dict[str, Array], results: Results) -> None:
        thumbnail = reduced(one.grey, _THUMBNAIL)
        shape = (thumbnail.shape[0], thumbnail.shape[1])
        small = {label: self._classifier.preprocessing.undo(values, shape) for label, values in maps.items()}
        name = self._classifier.class_names[one.target]
        results.add_image(one.input.name, one.target, one.probabilities, maps)
        results.add_to_sheet(
            thumbnail, one.input.name, listed_prediction(self._classifier, one.probabilities), name, small
        )

    def _explanation(self, one: _Read, call: MethodCall, relevance: Array) -> Explanation:
        shape = (one.grey.shape[0], one.grey.shape[1])
        return Explanation(
            name=one.input.name,
            grey=one.grey,
            relevance=self._classifier.preprocessing.undo(relevance, shape),
            signed=call.spec.sign == "signed" or bool((relevance < 0).any()),
            method=call.label,
            target=self._classifier.class_names[one.target],
            probability=one.probabilities[one.target],
            prediction=listed_prediction(self._classifier, one.probabilities),
            model_digest=self._classifier.digest,
            source=one.input.path,
        )

    def _say(self, one: _Read, explanation: Explanation, files: Sequence[Path], bar: tqdm[Any]) -> None:
        line = f"predicted {explanation.prediction}; {explanation.heading}: {', '.join(map(str, files))}"
        with _paused(bar):
            print(line if self._places.is_file else f"{one.input.name}: {line}")

    def _fail(self, image: InputImage, error: Exception, results: Results, method: str = "") -> None:
        self._failures.append((image, error))
        results.add_row(failed_row(image, error, method))


def _paused(bar: tqdm[Any]) -> AbstractContextManager[Any]:
    """Lets a line be printed above the bar, where both are on a terminal."""
    if bar.disable or sys.stderr is None or not sys.stderr.isatty():
        return nullcontext()
    context: AbstractContextManager[Any] = bar.external_write_mode()
    return context
