"""The golden files: models with stored weights, and the relevances that the official implementations computed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

DATA = Path(__file__).parents[1] / "data"


@dataclass(frozen=True)
class Golden:
    model: nn.Module
    inputs: Tensor
    logits: Tensor
    references: dict[str, Tensor]

    @property
    def classes(self) -> int:
        return self.logits.shape[1]


def load_golden(file: Path, dtype: torch.dtype = torch.float64) -> Golden:
    stored = np.load(file)
    config = [int(value) for value in stored["config"]]
    build = _torchvision if file.name.startswith("attnlrp") else _timm
    model = build(config).double()
    model.load_state_dict({key[2:]: torch.from_numpy(stored[key]) for key in stored if key.startswith("w/")})
    references = {key[2:]: torch.from_numpy(stored[key]) for key in stored if key.startswith("r/")}
    inputs, logits = torch.from_numpy(stored["x"]), torch.from_numpy(stored["logits"])
    return Golden(model.to(dtype).eval(), inputs.to(dtype), logits, references)


def method_references() -> dict[str, Tensor]:
    """References of further methods on the model of ``vit_d48_l3_f64.npz``."""
    stored = np.load(DATA / "vit_d48_l3_f64_methods.npz")
    return {key[2:]: torch.from_numpy(stored[key]) for key in stored}


def _timm(config: list[int]) -> nn.Module:
    from timm.models.vision_transformer import VisionTransformer

    size, patch, dim, depth, heads, classes = config
    return VisionTransformer(
        img_size=size, patch_size=patch, embed_dim=dim, depth=depth, num_heads=heads, num_classes=classes
    )


def _torchvision(config: list[int]) -> nn.Module:
    from torchvision.models import VisionTransformer

    size, patch, layers, heads, dim, mlp, classes = config
    return VisionTransformer(size, patch, layers, heads, dim, mlp, num_classes=classes)


def relative_error(found: Tensor, wanted: Tensor) -> float:
    """Largest error of any image, relative to that image's largest value."""
    found, wanted = found.double().flatten(1), wanted.double().flatten(1)
    return float(((found - wanted).abs().amax(1) / wanted.abs().amax(1)).max())
