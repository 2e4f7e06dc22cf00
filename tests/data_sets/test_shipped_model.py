"""The ViT that the package ships: it loads, is small, and has learnt what phantoms show."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from quantus_vit.assets import phantom_checkpoint_path
from quantus_vit.data.conventions import CLASS_NAMES
from quantus_vit.data.phantom import Phantom
from quantus_vit.models.checkpoint import ModelConfig, load_checkpoint


@pytest.fixture(scope="module")
def shipped() -> tuple[Any, ModelConfig]:
    return load_checkpoint(phantom_checkpoint_path())


def test_file_is_small() -> None:
    assert phantom_checkpoint_path().stat().st_size < 2_000_000


def test_configuration_describes_the_model(shipped: tuple[Any, ModelConfig]) -> None:
    model, config = shipped
    assert config.class_names == CLASS_NAMES
    assert config.image_size == 224
    assert not model.training
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.patch_embed.patch_size == (16, 16)
    assert model.cls_token is not None
    assert model(torch.zeros(1, 3, 224, 224)).shape == (1, 3)


def test_it_reads_phantoms_it_was_not_trained_on(shipped: tuple[Any, ModelConfig]) -> None:
    model, config = shipped
    data = Phantom(count=30, seed=2023, split="Test", image_size=config.image_size)
    images = torch.stack([data[index]["image"] for index in range(len(data))])
    with torch.no_grad():
        predicted = model(images).argmax(dim=1)
    correct = predicted == torch.tensor(data.labels)
    # Measured far above this bound on 600 films; 30 films need some slack.
    assert correct.float().mean() >= 0.8


def test_taking_the_lesion_away_changes_the_answer(shipped: tuple[Any, ModelConfig]) -> None:
    model, _ = shipped
    data = Phantom(count=12, seed=2023, split="Val", image_size=224)
    ill = [index for index, label in enumerate(data.labels) if label != 2]
    with torch.no_grad():
        with_lesion = model(torch.stack([data[index]["image"] for index in ill]))
        without = model(torch.stack([data.twin(index)["image"] for index in ill]))
    normal = (without.softmax(1) - with_lesion.softmax(1))[:, 2]
    assert normal.mean() > 0.3
