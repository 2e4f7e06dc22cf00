"""timm's models: pretrained and from files, with timm's own preprocessing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

import quantus_vit
from quantus_vit.data.preprocessing import Preprocessing
from quantus_vit.models.timm import timm_preprocessing, unique_names

NAME = "test_vit"  # timm's smallest ViT, 160 pixels


def made(classes: int, **arguments: Any) -> nn.Module:
    torch.manual_seed(classes)
    model: nn.Module = timm.create_model(NAME, num_classes=classes, **arguments)
    return model


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_file_with_names_of_classes(tmp_path: Path, suffix: str) -> None:
    model, names, path = made(3), ["b", "a", "c"], tmp_path / f"w{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": model.state_dict(), "class_names": names}, path)
    else:
        save_file(model.state_dict(), path, metadata={"class_names": json.dumps(names)})
    loaded = quantus_vit.load_model(f"timm:{NAME}@{path}")
    assert loaded.class_names == ("b", "a", "c")
    assert loaded.task == "multiclass"
    images = torch.randn(2, 3, 160, 160)
    with torch.no_grad():
        assert torch.equal(loaded.module(images), model.eval()(images))


def test_numbered_classes_and_one_output(tmp_path: Path) -> None:
    save_file(made(4).state_dict(), tmp_path / "four.safetensors")
    save_file(made(1).state_dict(), tmp_path / "one.safetensors")
    assert quantus_vit.load_model(f"timm:{NAME}@{tmp_path / 'four.safetensors'}").class_names == ("0", "1", "2", "3")
    assert quantus_vit.load_model(f"timm:{NAME}@{tmp_path / 'one.safetensors'}").task == "binary"


def test_pretrained_weights_are_asked_of_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    create, asked = timm.create_model, []

    def offline(name: str, pretrained: bool = False, **arguments: Any) -> nn.Module:
        asked.append((name, pretrained))
        model: nn.Module = create(name, pretrained=False, **arguments)
        return model

    monkeypatch.setattr(timm, "create_model", offline)
    loaded = quantus_vit.load_model(f"timm:{NAME}")
    assert asked == [(NAME, True)]
    assert len(loaded.class_names) == len(set(loaded.class_names)) == 1000
    assert loaded.class_names[:2] == ("tench, Tinca tinca", "goldfish, Carassius auratus")
    assert loaded.preprocessing.size == (160, 160)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vit_tiny_patch16_224", Preprocessing((224, 224), "crop", 0.9, "bicubic", (0.5,) * 3, (0.5,) * 3, fill=None)),
        ("deit_tiny_patch16_224", Preprocessing((224, 224), "crop", 0.9, "bicubic", fill=None)),
        ("vit_tiny_patch16_384", Preprocessing((384, 384), "crop", 1.0, "bicubic", (0.5,) * 3, (0.5,) * 3, fill=None)),
    ],
)
def test_preprocessing_is_timms(name: str, expected: Preprocessing) -> None:
    assert timm_preprocessing(timm.create_model(name)) == expected


def test_one_channel() -> None:
    assert timm_preprocessing(timm.create_model(NAME, in_chans=1)).mean == (0.5,)


def test_equal_names_get_their_number() -> None:
    assert unique_names(["crane", "tench", "crane"]) == ("crane (0)", "tench", "crane (2)")


def test_backbone_without_a_head(tmp_path: Path) -> None:
    state = {name: value for name, value in made(3).state_dict().items() if not name.startswith("head.")}
    save_file(state, tmp_path / "backbone.safetensors")
    with pytest.raises(ValueError, match=r"no classifier \(head\.weight is missing\).*quantus-vit train"):
        quantus_vit.load_model(f"timm:{NAME}@{tmp_path / 'backbone.safetensors'}")


def test_other_image_size_is_refused(tmp_path: Path) -> None:
    save_file(made(3, img_size=96).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"another image size.*FILE\.py:NAME"):
        quantus_vit.load_model(f"timm:{NAME}@{tmp_path / 'w.safetensors'}")


def test_another_width_is_not_called_another_image_size(tmp_path: Path) -> None:
    wider = timm.create_model(NAME, num_classes=3, embed_dim=128)
    save_file(wider.state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"do not fit 'test_vit': .*other shapes"):
        quantus_vit.load_model(f"timm:{NAME}@{tmp_path / 'w.safetensors'}")


def test_other_architecture_is_refused(tmp_path: Path, model: nn.Module) -> None:
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"another image size|do not fit 'test_vit'"):
        quantus_vit.load_model(f"timm:{NAME}@{tmp_path / 'w.safetensors'}")


@pytest.mark.parametrize(
    ("metadata", "message"), [("[1, 2]", "list of names"), ('["a"]', r"names 1 classes \(a\)"), ("{", "cannot read")]
)
def test_bad_names_of_classes(tmp_path: Path, metadata: str, message: str) -> None:
    save_file(made(3).state_dict(), tmp_path / "w.safetensors", metadata={"class_names": metadata})
    with pytest.raises(ValueError, match=message):
        quantus_vit.load_model(f"timm:{NAME}@{tmp_path / 'w.safetensors'}")


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("timm:", ValueError, "timm:NAME@FILE"),
        ("timm:test_vit@", ValueError, "timm:NAME@FILE"),
        ("timm:test_vitt@x.pth", FileNotFoundError, "x.pth"),
        ("timm:vit_bass_patch16_224", ValueError, "similar names: vit_base_patch16_224"),
    ],
)
def test_bad_specs(spec: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        quantus_vit.load_model(spec)
