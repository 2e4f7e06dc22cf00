"""A linear model, whose faithful map is known exactly, and a small data set with one odd image on demand."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from quantus_vit.comparison.protocol import Protocol

SIZE = 8
CLASSES = ("COVID-19", "Non-COVID", "Normal")


class LinearModel(nn.Module):
    """Logits W x + b: contribution of value i to class c is W[c, i] x[i], by definition."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * SIZE * SIZE, len(CLASSES))
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            self.layer.weight.copy_(torch.randn(self.layer.weight.shape, generator=generator))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer(images.flatten(1))


class Images:
    """Noise images; ``broken`` cannot be read. The first class has lungs and a lesion, the last no lesion."""

    def __init__(self, labels: list[int], broken: tuple[int, ...] = ()) -> None:
        self.labels = labels
        self.broken = broken
        self.paths = [f"folder, with a comma/image ({index}).png" for index in range(len(labels))]

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index in self.broken:
            raise ValueError(f"cannot read {self.paths[index]!r}\nas an image")
        # One grey value a pixel, as in an X-ray; the border is black.
        gray = torch.randn(1, SIZE, SIZE, generator=torch.Generator().manual_seed(index))
        gray[:, 0] = -2.0
        lungs = torch.zeros(1, SIZE, SIZE, dtype=torch.bool)
        lungs[:, 1:7, 1:7] = True
        lesion = torch.zeros_like(lungs)
        if self.labels[index] < 2:
            lesion[:, 2:4, 2:5] = True
        return {
            "image": gray.repeat(3, 1, 1),
            "label": self.labels[index],
            "lung_mask": lungs,
            "infection_mask": lesion,
            "has_lung_mask": True,
            "has_infection_mask": True,
            "path": self.paths[index],
        }


def contribution(model: nn.Module, inputs: Any, targets: Any, **_: Any) -> np.ndarray:
    """The exact contribution of every pixel to the linear model's logit, (N, 1, H, W)."""
    weights = model.layer.weight.detach().reshape(len(CLASSES), 3, SIZE, SIZE)
    return (torch.as_tensor(inputs) * weights[torch.as_tensor(targets)]).sum(1, keepdim=True).numpy()


def protocol(**changes: Any) -> Protocol:
    """Settings for the toys."""
    base = Protocol(
        data="toys",
        checkpoint="toy.safetensors",
        checkpoint_digest="0" * 64,
        image_size=SIZE,
        features_in_step=8,
        quantus=version("quantus"),
        samples=6,
        methods=("Contribution", "Random"),
        tie_breaks=2,
    )
    return replace(base, **changes)


def read_rows(path: Path) -> list[list[str]]:
    """Cells of a CSV file, header first."""
    import csv

    with path.open(newline="") as file:
        return list(csv.reader(file))
