"""The record of a model, the table of sources, and what is said where none fits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import quantus_vit
from quantus_vit.assets import phantom_checkpoint_path
from quantus_vit.data.preprocessing import Preprocessing
from quantus_vit.models import MODELS, Classifier, ModelSpec, weights_digest

SQUARE = Preprocessing(size=(8, 8))


def test_loads_the_shipped_model() -> None:
    classifier = quantus_vit.load_model(phantom_checkpoint_path())
    assert classifier.class_names == ("COVID-19", "Non-COVID", "Normal")
    assert classifier.preprocessing == Preprocessing(size=(224, 224))
    assert (classifier.task, classifier.link) == ("multiclass", "softmax")
    assert classifier.source == str(phantom_checkpoint_path())
    assert not classifier.module.training


def test_probabilities_follow_the_task() -> None:
    logits = torch.tensor([[0.0, 2.0], [-1.0, 1.0]])
    multiclass = Classifier(nn.Identity(), ("a", "b"), SQUARE)
    multilabel = Classifier(nn.Identity(), ("a", "b"), SQUARE, task="multilabel")
    assert torch.allclose(multiclass.probabilities(logits).sum(1), torch.ones(2))
    assert torch.allclose(multilabel.probabilities(logits)[0], torch.tensor([0.5, 0.880797]))


def test_digest_tells_weights_apart() -> None:
    torch.manual_seed(0)
    first, second = nn.Linear(2, 3), nn.Linear(2, 3)
    before = weights_digest(first)
    assert before != weights_digest(second)
    second.load_state_dict(first.state_dict())
    assert before == weights_digest(second)
    assert Classifier(first.half(), ("a", "b", "c"), SQUARE).digest != before


@pytest.mark.parametrize(
    ("names", "task", "message"),
    [
        (("a", "a"), "multiclass", "'a' more than once"),
        (("a", ""), "multiclass", "non-empty"),
        (("a", 5), "multiclass", "non-empty"),
        ("ab", "multiclass", "non-empty"),
        (("a",), "multiclass", "task='binary'"),
        (("a", "b"), "binary", "one class name"),
        ((), "multilabel", "none"),
        (("a", "b"), "regression", "'multiclass', 'multilabel', 'binary'"),
    ],
)
def test_refuses_class_names(names: object, task: str, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        Classifier(nn.Identity(), names, SQUARE, task=task)  # type: ignore[arg-type]


def test_unknown_spec_lists_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"'resnet.onnx' names no model.*FILE\.safetensors"):
        quantus_vit.load_model("resnet.onnx")


def test_unknown_device() -> None:
    with pytest.raises(ValueError, match="'gpu9'"):
        quantus_vit.load_model(phantom_checkpoint_path(), device="gpu9")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="gone"):
        quantus_vit.load_model(tmp_path / "gone.safetensors")


def test_other_packages_add_sources() -> None:
    def load(text: str) -> Classifier:
        return Classifier(nn.Linear(1, 2), ("a", "b"), SQUARE)

    MODELS.add(ModelSpec("toy", "made for this test", "toy:NAME", load))
    try:
        assert quantus_vit.load_model("toy:x").source == "toy:x"
    finally:
        MODELS.remove("toy")
