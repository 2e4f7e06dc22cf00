"""What a data set of X-rays is: one record an image, with annotations that are read when they are asked for.

A data set lists its records once, without reading a pixel. Pictures and masks are read on access and brought to a
model's size by that model's own preprocessing, which moves masks the same way. Knows reading of images and
preprocessing; no particular data set, no model, no method.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from .images import check_pixel_range, read_grey
from .preprocessing import Preprocessing

__all__ = ["TASKS", "Annotation", "MaskKind", "Record", "Sample", "Task", "XrayDataset"]

MaskKind = Literal["pixel", "box"]
"""How a finding was marked: pixel by pixel (or by an outline), or by a box around it."""

Task = Literal["multiclass", "multilabel", "binary"]
"""One class an image; any number of findings an image; one finding that is there or not."""

TASKS: tuple[Task, ...] = ("multiclass", "multilabel", "binary")
MASK_KINDS: tuple[MaskKind, ...] = ("pixel", "box")


@dataclass(frozen=True)
class Annotation:
    """Where a finding is, in the pixels of the image file.

    Parameters
    ----------
    kind : {"pixel", "box"}
    read : callable
        Returns the mask, bool ``(h, w)``. Called on every access; a mask of other pixels than the image's but the same
        proportions is scaled.
    """

    kind: MaskKind
    read: Callable[[], npt.NDArray[np.bool_]]

    def __post_init__(self) -> None:
        if self.kind not in MASK_KINDS:
            raise ValueError(f"the kind of an annotation must be one of {MASK_KINDS}, got {self.kind!r}")


@dataclass(frozen=True)
class Record:
    """One X-ray of a data set.

    Parameters
    ----------
    identity : str
        Place of the image below the data's root, parts joined by "/": the same on every machine and however the root
        was typed. No two records of a data set share it.
    path : str
        The file to read, or for drawn pictures a name.
    patient : str or None
        Whose film it is, where that is known.
    labels : tuple of str
        Names of the classes or findings of the image; none for an image without a finding.
    annotations : mapping of str to Annotation
        By finding ("infection", "Pneumothorax") or organ ("lung"). A key is there where somebody has looked: its mask
        may be empty.
    """

    identity: str
    path: str
    patient: str | None
    labels: tuple[str, ...]
    annotations: Mapping[str, Annotation] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """An X-ray as a model takes it.

    Parameters
    ----------
    image : torch.Tensor
        float32 ``(C, H, W)``, normalised.
    record : Record
    masks : dict of str to torch.Tensor
        bool ``(1, H, W)`` for each annotation of the record.
    mask_kinds : dict of str to str
        "pixel" or "box" for each of them.
    """

    image: torch.Tensor
    record: Record
    masks: dict[str, torch.Tensor]
    mask_kinds: dict[str, MaskKind]


class XrayDataset:
    """X-rays with labels and annotations.

    Parameters
    ----------
    name : str
        As reports call the data.
    class_names : sequence of str
        The classes in label order; for "multilabel" the findings; for "binary" the one finding.
    task : {"multiclass", "multilabel", "binary"}
    split : str
        "Train", "Val" or "Test".
    records : sequence of Record
    pixel_range : tuple of float, optional
        Stored values of black and white; see :func:`quantus_vit.data.images.read_grey`.

    Raises
    ------
    ValueError
        Names, labels, task or identities do not fit together, or ``pixel_range`` is no pair of numbers.
    """

    def __init__(
        self,
        name: str,
        class_names: Sequence[str],
        task: Task,
        split: str,
        records: Sequence[Record],
        pixel_range: tuple[float, float] | None = None,
    ) -> None:
        self.name = name
        self.class_names = tuple(class_names)
        self.task = task
        self.split = split
        self.records = records
        self.pixel_range = pixel_range
        check_pixel_range(pixel_range)
        _check_names(name, self.class_names, task)
        _check_records(name, self.class_names, task, records)

    def __len__(self) -> int:
        """Number of images."""
        return len(self.records)

    @cached_property
    def labels(self) -> list[int]:
        """For each image the index of its class; for "binary" 1 where the finding is there and 0 where it is not.

        Raises
        ------
        ValueError
            The task is "multilabel": use :attr:`findings`.
        """
        if self.task == "multilabel":
            raise ValueError(f"images of {self.name} have several labels each; take .findings or the records' labels")
        if self.task == "binary":
            return [len(record.labels) for record in self.records]
        numbers = {name: index for index, name in enumerate(self.class_names)}
        return [numbers[record.labels[0]] for record in self.records]

    @cached_property
    def findings(self) -> npt.NDArray[np.bool_]:
        """Which image has which label: bool ``(len(self), len(class_names))``."""
        numbers = {name: index for index, name in enumerate(self.class_names)}
        table = np.zeros((len(self.records), len(numbers)), dtype=np.bool_)
        for row, record in enumerate(self.records):
            table[row, [numbers[name] for name in record.labels]] = True
        return table

    def grey(self, index: int) -> npt.NDArray[np.float32]:
        """The picture as its file has it.

        Parameters
        ----------
        index : int
            Place in the data set.

        Returns
        -------
        numpy.ndarray
            float32 ``(h, w)`` in [0, 1], 0 is black.

        Raises
        ------
        FileNotFoundError, ValueError
            The file is gone or cannot be read; the message names it.
        """
        return read_grey(self.records[index].path, self.pixel_range)

    def sample(self, index: int, preprocessing: Preprocessing) -> Sample:
        """One X-ray with its masks, as the model with this preprocessing takes it.

        Parameters
        ----------
        index : int
        preprocessing : Preprocessing
            The model's own.

        Returns
        -------
        Sample
            Image float32 ``(C, H, W)``, and bool masks ``(1, H, W)``.

        Raises
        ------
        FileNotFoundError, ValueError
            The image or a mask is gone or cannot be read, or a mask has other proportions than the image.
        """
        record = self.records[index]
        grey = self.grey(index)
        masks = {
            finding: preprocessing.mask(_at_shape(_read(annotation, finding, record), grey.shape, finding, record.path))
            for finding, annotation in record.annotations.items()
        }
        kinds = {finding: annotation.kind for finding, annotation in record.annotations.items()}
        return Sample(preprocessing.image(grey), record, masks, kinds)


def _check_names(name: str, class_names: tuple[str, ...], task: str) -> None:
    if task not in TASKS:
        raise ValueError(f"the task of {name} must be one of {TASKS}, got {task!r}")
    if not class_names or len(set(class_names)) < len(class_names):
        raise ValueError(f"{name} needs class names, each once, got {class_names}")
    if task == "binary" and len(class_names) > 1:
        raise ValueError(f"a binary task has one finding that is there or not; {name} names {class_names}")


def _check_records(name: str, class_names: tuple[str, ...], task: str, records: Sequence[Record]) -> None:
    known = frozenset(class_names)
    for record in records:
        if not known.issuperset(record.labels):
            raise ValueError(f"{record.path!r} has the labels {record.labels}; {name} has the classes {class_names}")
        if task == "multiclass" and len(record.labels) != 1:
            raise ValueError(f"{record.path!r} must have one label, got {record.labels}")
        if len(set(record.labels)) < len(record.labels):
            raise ValueError(f"{record.path!r} has a label twice: {record.labels}")
    if len({record.identity for record in records}) < len(records):
        [(identity, count)] = Counter(record.identity for record in records).most_common(1)
        raise ValueError(f"{count} records of {name} have the identity {identity!r}; each needs its own")


def _read(annotation: Annotation, finding: str, record: Record) -> npt.NDArray[np.bool_]:
    """Read a mask; what is wrong with its file is told with the image that it belongs to."""
    try:
        return annotation.read()
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(f"the mask of {finding!r} of {record.path!r}: {error}") from error


def _at_shape(mask: npt.NDArray[np.bool_], shape: tuple[int, ...], finding: str, path: str) -> npt.NDArray[np.bool_]:
    """Bring a mask that was drawn on a scaled copy to the pixels of the image, ``(h, w)``."""
    if mask.shape == shape:
        return mask
    (height, width), (rows, columns) = shape, mask.shape
    # A copy's sides are rounded to whole pixels: proportions may differ by that much.
    if abs(height * columns - width * rows) > max(height, width):
        raise ValueError(
            f"the mask of {finding!r} of {path!r} has {columns} x {rows} pixels, the image {width} x {height}: other "
            "proportions, so that one does not lie on the other"
        )
    row = ((np.arange(height) + 0.5) * rows / height).astype(np.intp)
    column = ((np.arange(width) + 0.5) * columns / width).astype(np.intp)
    scaled: npt.NDArray[np.bool_] = mask[row[:, None], column]
    return scaled
