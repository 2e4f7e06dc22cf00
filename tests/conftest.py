"""What all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from quantus_vit.data.preprocessing import Preprocessing
from quantus_vit.models.checkpoint import ModelConfig, build_model


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Reference data that lies beside the checkout on the developers' machines; no test needs it elsewhere."""
    path = Path(__file__).resolve().parents[2] / "shared"
    if not path.is_dir():
        pytest.skip("the developers' reference data is not here")
    return path


@pytest.fixture
def config() -> ModelConfig:
    """A ViT small enough to train in a test."""
    return ModelConfig(
        "vit_tiny_patch16_224",
        {"depth": 2, "embed_dim": 32, "num_heads": 2},
        preprocessing=Preprocessing(size=(32, 32)),
    )


@pytest.fixture
def model(config: ModelConfig) -> nn.Module:
    """The model of ``config``, untrained."""
    torch.manual_seed(0)
    return build_model(config)
