"""Explains volume after volume by a model of volumes; each map is a NIfTI file that lies over its source.

Knows methods by their classes, since ``quantus.explain`` may take images alone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ..comparison.explaining import MethodCall
from ..comparison.prediction import probabilities_of
from ..comparison.progress import map_bar
from ..errors import UnsupportedOperationError
from ..models import Classifier
from ..pictures.explanation import RESEARCH_ONLY
from ..pictures.numbers import save_nifti
from ..quantus_plugin.model_state import precision
from ..quantus_plugin.registry import METHODS as EXPLAINERS
from .formats import FORMATS
from .inputs import InputImage
from .nifti import Volume, is_volume, read_volume
from .places import Places
from .settings import Outcome, Settings
from .table import TableRow, explained_row, failed_row, write_table
from .wording import listed_prediction, target_of

__all__ = ["VolumeGallery", "are_volumes"]

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class _Read:
    """A volume that was read and predicted."""

    input: InputImage
    volume: Volume
    tensor: torch.Tensor
    probabilities: Sequence[float]
    target: int


def are_volumes(images: Sequence[InputImage]) -> bool:
    """Whether a run is on volumes.

    Raises
    ------
    ValueError
        It is on volumes and images, which no model takes both.
    """
    volumes = [image for image in images if is_volume(image.path)]
    if volumes and len(volumes) < len(images):
        (first, *_) = (image for image in images if not is_volume(image.path))
        raise ValueError(
            f"{volumes[0].name} is a volume, and {first.name} an image; explain them by calls of their own"
        )
    return bool(volumes)


class VolumeGallery:
    """A run of ``explain`` on volumes.

    Parameters
    ----------
    classifier : Classifier
        Its module takes ``(N, C, D, H, W)``; of its preprocessing the channels, their mean and standard deviation, and
        the size, which is a slice's, count: volumes are not resized.
    calls : sequence of MethodCall
        Of this package's methods.
    places : Places
    settings : Settings
    device : str

    Raises
    ------
    ValueError
        The model takes images, a method has no class that takes volumes, or a format is none of volumes.
    """

    def __init__(
        self, classifier: Classifier, calls: Sequence[MethodCall], places: Places, settings: Settings, device: str
    ) -> None:
        if places.formats != (FORMATS["nifti"],):
            names = ", ".join(entry.name for entry in places.formats)
            raise ValueError(f"maps of volumes are written as NIfTI, --format nifti, not as {names}")
        kinds = {type(module) for module in classifier.module.modules()}
        if nn.Conv2d in kinds and nn.Conv3d not in kinds:
            raise ValueError(
                "the files are volumes, and the model takes images: its convolutions are two-dimensional; give a model "
                "of volumes, or slices as images"
            )
        for call in calls:
            if call.spec.make is not None or call.spec.name not in EXPLAINERS:
                known = ", ".join(entry.name for entry in EXPLAINERS if entry.is_built_in)
                raise ValueError(f"{call.label} explains images alone; methods that take volumes are among {known}")
        self._classifier, self._calls, self._places = classifier, calls, places
        self._settings, self._device = settings, device
        self._rows: list[TableRow] = []
        self._failures: list[tuple[InputImage, Exception]] = []

    def run(self, volumes: Sequence[InputImage], quiet: bool = False) -> Outcome:
        """Explain the volumes, one by one; what cannot be read or explained is told at the end.

        Parameters
        ----------
        volumes : sequence of InputImage
        quiet : bool
            Neither progress bar nor lines of what was written.

        Returns
        -------
        Outcome

        Raises
        ------
        UnsupportedOperationError, ImportError
            A method cannot work with the model or the installation.
        """
        self._places.prepare()
        explained, total = 0, len(volumes) * len(self._calls)
        table = self._places.out / "explain.csv"
        try:
            with map_bar("explain", total, quiet or total < 2) as bar:
                for volume in volumes:
                    explained += self._explain(volume, quiet)
                    bar.update(len(self._calls))
        finally:
            if not self._places.is_file:
                write_table(table, self._rows)
        return Outcome(explained, tuple(self._failures), () if self._places.is_file else (table,))

    def _explain(self, image: InputImage, quiet: bool) -> bool:
        """Whether all methods have a map."""
        try:
            volume = read_volume(image.path)
            tensor = self._tensor(volume)
            probabilities = self._probabilities(tensor)
            target = target_of(image, self._settings, self._classifier.class_names, probabilities)
            read = _Read(image, volume, tensor, probabilities, target)
        except (ValueError, OSError) as error:
            self._fail(image, error)
            return False
        written = [self._explain_by(call, read, quiet) for call in self._calls]
        return all(written)

    def _explain_by(self, call: MethodCall, read: _Read, quiet: bool) -> bool:
        started = time.perf_counter()
        try:
            relevance = self._map(call, read)
        except (UnsupportedOperationError, ImportError):
            raise
        except (ValueError, TypeError, RuntimeError) as error:
            self._fail(read.input, error, call.label)
            return False
        seconds = time.perf_counter() - started
        path = self._places.path(read.input, call.label, FORMATS["nifti"])
        save_nifti(path, relevance, read.volume.affine, f"{call.label}. {RESEARCH_ONLY}", read.volume.code)
        self._rows.append(
            explained_row(read.input, self._classifier, read.probabilities, read.target, call.label, seconds, [path])
        )
        if not quiet:
            told, name = (
                listed_prediction(self._classifier, read.probabilities),
                self._classifier.class_names[read.target],
            )
            chance = f"prob. {read.probabilities[read.target]:.2f}"
            print(f"{read.input.name}: predicted {told}; {call.label} for {name} ({chance}): {path}")
        return True

    def _tensor(self, volume: Volume) -> torch.Tensor:
        """``(C, D, H, W)``, as the model takes it."""
        wanted = self._classifier.preprocessing
        if volume.values.shape[1:] != wanted.size:
            found, taken = (f"{height} x {width}" for height, width in (volume.values.shape[1:], wanted.size))
            raise ValueError(
                f"slices of the volume have {found} voxels, the model takes {taken}; volumes are not resized, so "
                "resample it before"
            )
        grey = torch.from_numpy(volume.grey(self._settings.pixel_range))
        mean, std = (torch.tensor(values).reshape(-1, 1, 1, 1) for values in (wanted.mean, wanted.std))
        return (grey - mean) / std

    def _probabilities(self, tensor: torch.Tensor) -> list[float]:
        try:
            return probabilities_of(self._classifier, tensor, self._device)
        except (RuntimeError, TypeError, AssertionError, IndexError) as error:
            raise ValueError(
                f"the model does not take volumes (C, D, H, W) of {tuple(tensor.shape)}: {error}"
            ) from error

    def _map(self, call: MethodCall, read: _Read) -> Array:
        method = EXPLAINERS[call.spec.name].load()(self._classifier.module, **call.options)
        inputs = read.tensor[None].to(self._device, precision(self._classifier.module))
        maps = method.attribute(inputs, read.target)
        relevance = maps.detach().sum(1)[0].float().cpu().numpy()
        if relevance.shape != read.volume.values.shape:
            raise ValueError(f"{call.label}: the map has the shape {relevance.shape}, not {read.volume.values.shape}")
        if not np.isfinite(relevance).all():
            raise ValueError(f"{call.label}: the map has values that are no finite numbers")
        return np.asarray(relevance)

    def _fail(self, image: InputImage, error: Exception, method: str = "") -> None:
        self._failures.append((image, error))
        self._rows.append(failed_row(image, error, method))
