"""Hugging Face's image classifiers from a folder: logits, classes, task, and their own preprocessing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import quantus_vit
from quantus_vit.models.huggingface import huggingface_preprocessing

transformers = pytest.importorskip("transformers")

SIZE = {"height": 32, "width": 32}


def saved(folder: Path, **config: Any) -> Path:
    """A random ViT of three classes with its image processor."""
    torch.manual_seed(0)
    settings = {"id2label": {0: "COVID-19", 1: "Non-COVID", 2: "Normal"}} | config
    model = transformers.ViTForImageClassification(
        transformers.ViTConfig(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=32,
            patch_size=8, **settings,
        )
    )  # fmt: skip
    model.save_pretrained(folder)
    transformers.ViTImageProcessor(size=SIZE).save_pretrained(folder)
    return folder


def test_folder(tmp_path: Path) -> None:
    loaded = quantus_vit.load_model(f"hf:{saved(tmp_path)}")
    assert loaded.class_names == ("COVID-19", "Non-COVID", "Normal")
    assert loaded.task == "multiclass"
    assert loaded.preprocessing.size == (32, 32)
    assert loaded.preprocessing.mean == (0.5, 0.5, 0.5)
    images = torch.randn(2, 3, 32, 32)
    reference = transformers.AutoModelForImageClassification.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        assert torch.equal(loaded.module(images), reference(pixel_values=images).logits)


def test_a_backbone_without_a_classifier_is_refused(tmp_path: Path) -> None:
    transformers.ViTForImageClassification.from_pretrained(saved(tmp_path)).vit.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"has no weights for classifier\.bias, classifier\.weight.* fine-tuned"):
        quantus_vit.load_model(f"hf:{tmp_path}")


def test_relevance_reaches_its_pixels(tmp_path: Path) -> None:
    loaded = quantus_vit.load_model(f"hf:{saved(tmp_path)}")
    maps = quantus_vit.TransformerLRP(loaded.module).attribute(torch.randn(2, 3, 32, 32), target=1)
    assert maps.shape == (2, 1, 32, 32)
    assert maps.std() > 0


@pytest.mark.parametrize(
    ("config", "task"),
    [
        ({"problem_type": "multi_label_classification"}, "multilabel"),
        ({"problem_type": "single_label_classification"}, "multiclass"),
        ({"id2label": {0: "Pneumothorax"}}, "binary"),
    ],
)
def test_task(tmp_path: Path, config: dict[str, Any], task: str) -> None:
    assert quantus_vit.load_model(f"hf:{saved(tmp_path, **config)}").task == task


PROCESSORS = {
    "vit": lambda: transformers.ViTImageProcessor(size=SIZE),
    "bicubic": lambda: transformers.ViTImageProcessor(size=SIZE, resample=3, image_mean=[0.1] * 3, image_std=[0.2] * 3),
    "clip": lambda: transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=SIZE),
    "dinov2": lambda: transformers.BitImageProcessor(size={"shortest_edge": 40}, crop_size=SIZE),
    "convnext": lambda: transformers.ConvNextImageProcessor(size={"shortest_edge": 32}, crop_pct=0.875),
    "large-convnext": lambda: transformers.ConvNextImageProcessor(size={"shortest_edge": 384}),
    "unnormalised": lambda: transformers.ViTImageProcessor(size=SIZE, do_normalize=False),
}


@pytest.mark.parametrize("name", PROCESSORS)
@pytest.mark.parametrize("shape", [(90, 120), (64, 44)])
def test_preprocessing_is_the_processors(name: str, shape: tuple[int, int]) -> None:
    processor = PROCESSORS[name]()
    rows, columns = np.indices(shape)
    levels = np.clip(128 + 60 * np.sin(rows / 9) + 50 * np.cos(columns / 11), 0, 255).astype(np.uint8)
    expected = processor(images=Image.fromarray(levels).convert("RGB"), return_tensors="pt")["pixel_values"][0]
    preprocessing = huggingface_preprocessing(processor)
    ours = preprocessing.image(levels.astype(np.float32) / np.float32(255))
    assert ours.shape == expected.shape
    difference = (ours - torch.as_tensor(expected)).abs() * preprocessing.std[0] * 255
    assert difference.max() < 6  # an odd pixel goes to the other side of a crop
    assert difference.mean() < 2


@pytest.mark.parametrize(
    ("processor", "message"),
    [
        (
            lambda: transformers.LevitImageProcessor(size={"shortest_edge": 32}, crop_size=SIZE),
            "than its settings say",
        ),
        (lambda: transformers.ViTImageProcessor(size=SIZE, rescale_factor=1 / 127.5), "otherwise than its settings"),
        (lambda: transformers.ViTImageProcessor(size=SIZE, do_resize=False), "do_resize is off"),
        (lambda: transformers.ViTImageProcessor(size={"shortest_edge": 32}), "changing shape"),
    ],
)
def test_refuses_processors_it_cannot_follow(processor: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        huggingface_preprocessing(processor())


def test_code_of_a_model_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"model_type": "new", "auto_map": {"AutoConfig": "evil.C", "AutoModelForImageClassification": "evil.M"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'sprung')!r}, 'w')")
    with pytest.raises(ValueError, match="transformers cannot load"):
        quantus_vit.load_model(f"hf:{tmp_path}")
    assert not (tmp_path / "sprung").exists()


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        quantus_vit.load_model(f"hf:{tmp_path / 'nowhere'}")


@pytest.mark.parametrize("damage", ["config.json", "model.safetensors", "preprocessor_config.json"])
def test_damaged_folder(tmp_path: Path, damage: str) -> None:
    saved(tmp_path)
    (tmp_path / damage).write_bytes(b"{\x00")
    with pytest.raises(ValueError, match="transformers cannot load") as caught:
        quantus_vit.load_model(f"hf:{tmp_path}")
    assert "\n" not in str(caught.value)
