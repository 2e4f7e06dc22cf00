"""A linear model, whose faithful map is known exactly, and a small data set with odd images on demand."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from quantus_vit.comparison.cases import data_digest
from quantus_vit.comparison.folder import Logs, prepare
from quantus_vit.comparison.metrics import METRICS
from quantus_vit.comparison.planning import make_plan
from quantus_vit.comparison.protocol import Protocol
from quantus_vit.comparison.rows import forget_failures
from quantus_vit.comparison.runner import ComparisonRun
from quantus_vit.comparison.scoring import ScoredImage
from quantus_vit.data import Annotation, Record, Sample, XrayDataset
from quantus_vit.data.preprocessing import Preprocessing
from quantus_vit.models import Classifier

SIZE = 8
CLASSES = ("COVID-19", "Non-COVID", "Normal")


class LinearModel(nn.Module):
    """Logits W x + b: contribution of value i to class c is W[c, i] x[i], by definition."""

    def __init__(self, outputs: int = len(CLASSES)) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * SIZE * SIZE, outputs)
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            self.layer.weight.copy_(torch.randn(self.layer.weight.shape, generator=generator))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer(images.flatten(1))


def classifier_of(model: nn.Module, names: Sequence[str] = CLASSES, task: str = "multiclass") -> Classifier:
    return Classifier(model, tuple(names), Preprocessing(size=(SIZE, SIZE)), task, "toy.safetensors", "0" * 16)


def lungs_and_lesion(sick: bool) -> tuple[np.ndarray, np.ndarray]:
    lungs = np.zeros((SIZE, SIZE), dtype=bool)
    lungs[1:7, 1:7] = True
    lesion = np.zeros_like(lungs)
    if sick:
        lesion[2:4, 2:5] = True
    return lungs, lesion


class Images(XrayDataset):
    """Noise images; ``broken`` cannot be read: index -> error. The last class has an empty lesion mask.

    ``labels`` are the class numbers, or for other tasks the tuples of names.
    """

    def __init__(
        self,
        labels: Sequence[Any],
        broken: dict[int, Exception] | None = None,
        masks: Sequence[str] = ("lung", "infection"),
        names: Sequence[str] = CLASSES,
        task: Any = "multiclass",
        kind: Any = "pixel",
    ) -> None:
        self.broken = dict(broken or {})
        records = []
        for index, label in enumerate(labels):
            own = (names[label],) if isinstance(label, int) else tuple(label)
            lungs, lesion = lungs_and_lesion(sick=names[-1] not in own)
            places = {"lung": lungs, "infection": lesion}
            annotations = {name: Annotation(kind, partial(np.copy, places.get(name, lesion))) for name in masks}
            identity = f"folder, with a comma/image ({index}).png"
            records.append(Record(identity, f"/somewhere/{identity}", None, own, annotations))
        super().__init__("toys", names, task, "Test", records)

    def sample(self, index: int, preprocessing: Any) -> Sample:
        if index in self.broken:
            raise self.broken[index]
        # One grey value a pixel, as in an X-ray; the border is black.
        grey = torch.randn(1, SIZE, SIZE, generator=torch.Generator().manual_seed(index))
        grey[:, 0] = -2.0
        record = self.records[index]
        masks = {name: torch.from_numpy(one.read())[None] for name, one in record.annotations.items()}
        kinds = {name: one.kind for name, one in record.annotations.items()}
        return Sample(grey.repeat(3, 1, 1), record, masks, kinds)


def unreadable(index: int = 0) -> ValueError:
    return ValueError(f"cannot read 'image ({index}).png'\nas an image")


def scored(index: int = 0, label: int = 0, target: int = 0) -> ScoredImage:
    """Image ``index`` as metrics see it."""
    sample = Images([label] * (index + 1)).sample(index, None)
    return ScoredImage(sample.image, target, sample.masks, seed=index)


def contribution(model: nn.Module, inputs: Any, targets: Any, **_: Any) -> np.ndarray:
    """The exact contribution of every pixel to the linear model's logit, (N, 1, H, W)."""
    weights = model.layer.weight.detach().reshape(-1, 3, SIZE, SIZE)
    return (torch.as_tensor(inputs) * weights[torch.as_tensor(targets)]).sum(1, keepdim=True).numpy()


def times_gradient(model: nn.Module, inputs: Any, targets: Any, **_: Any) -> np.ndarray:
    """Input times gradient, (N, 1, H, W), of any model; of the linear model it is :func:`contribution`."""
    images = torch.as_tensor(np.asarray(inputs)).detach().requires_grad_()
    with torch.enable_grad():
        outputs = model(images)[torch.arange(len(images)), torch.as_tensor(np.asarray(targets)).long()]
        (gradient,) = torch.autograd.grad(outputs.sum(), images)
    return (images * gradient).sum(1, keepdim=True).detach().numpy()


def runnable_metrics() -> tuple[str, ...]:
    """The metrics of the table that the installed Quantus can run."""
    release = tuple(map(int, version("quantus").split(".")[:3]))
    missing = {"IROF", "ROAD"} if release >= (0, 6, 0) else set()
    missing |= {"EfficientMPRT"} if release < (0, 5, 0) else set()
    missing |= {"IROF"} if release < (0, 3, 5) else set()
    return tuple(name for name in METRICS.names() if name not in missing)


def protocol(**changes: Any) -> Protocol:
    """Settings for the toys."""
    base = Protocol(
        data="toys",
        data_digest="0" * 16,
        model="toy.safetensors",
        model_digest="0" * 16,
        image_size=(SIZE, SIZE),
        features_in_step=8,
        quantus=version("quantus"),
        samples=6,
        methods=("Contribution", "Random"),
        tie_breaks=2,
    )
    return replace(base, **changes)


def start(
    folder: Path, model: nn.Module, dataset: XrayDataset, settings: Protocol | None = None, retry_failed: bool = True
) -> ComparisonRun:
    """A run in a folder, made as :func:`quantus_vit.comparison.compare` makes it."""
    chosen = replace(settings or protocol(), data_digest=data_digest(dataset))
    plan, _, _ = make_plan(chosen, classifier_of(model), dataset, "cpu")
    folder.mkdir(exist_ok=True)
    logs = prepare(folder, chosen, {})
    forget_failures(logs, retry_failed)
    return ComparisonRun(plan, logs)


def logs_of(folder: Path) -> Logs:
    return Logs.open(folder)


def read_rows(path: Path) -> list[list[str]]:
    """Cells of a CSV file, header first."""
    with path.open(newline="") as file:
        return list(csv.reader(file))
