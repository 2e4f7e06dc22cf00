"""Model files: round trip, and what is said about files that do not fit."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from quantus_vit.data.preprocessing import Preprocessing
from quantus_vit.models.checkpoint import METADATA_KEY, ModelConfig, build_model, load_checkpoint, save_checkpoint


def test_round_trip(tmp_path: Path, model: nn.Module, config: ModelConfig) -> None:
    config = dataclasses.replace(config, training={"epochs": 3, "val_accuracy": 0.5})
    path = save_checkpoint(tmp_path / "new folder" / "model.safetensors", model, config)
    loaded, read = load_checkpoint(path)
    assert read == config
    assert not loaded.training
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(loaded(images), model.eval()(images), rtol=0, atol=0)


def test_one_file_holds_weights_and_json(tmp_path: Path, model: nn.Module, config: ModelConfig) -> None:
    path = save_checkpoint(tmp_path / "m.safetensors", model, config)
    with safe_open(path, framework="pt") as file:
        values = json.loads(file.metadata()[METADATA_KEY])
    assert values["architecture"] == "vit_tiny_patch16_224"
    assert values["class_names"] == ["COVID-19", "Non-COVID", "Normal"]
    assert load_file(path).keys() == model.state_dict().keys()


def test_half_precision_files_load_as_float32(tmp_path: Path, model: nn.Module, config: ModelConfig) -> None:
    path = save_checkpoint(tmp_path / "m.safetensors", model.half(), config)
    loaded, _ = load_checkpoint(path)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.safetensors"):
        load_checkpoint(tmp_path / "nothing.safetensors")


def test_plain_weights_are_not_ours(tmp_path: Path, model: nn.Module) -> None:
    save_file(model.state_dict(), tmp_path / "plain.safetensors")
    with pytest.raises(ValueError, match=r"plain\.safetensors.*timm:NAME@"):
        load_checkpoint(tmp_path / "plain.safetensors")


def test_not_safetensors(tmp_path: Path) -> None:
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(ValueError, match="no safetensors file"):
        load_checkpoint(tmp_path / "text.safetensors")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"architecture": "vit", "surprise": 1}'])
def test_broken_configuration(tmp_path: Path, model: nn.Module, text: str) -> None:
    save_file(model.state_dict(), tmp_path / "m.safetensors", metadata={METADATA_KEY: text})
    with pytest.raises(ValueError, match="configuration"):
        load_checkpoint(tmp_path / "m.safetensors")


def test_weights_of_another_size(tmp_path: Path, model: nn.Module, config: ModelConfig) -> None:
    wider = dataclasses.replace(config, preprocessing=Preprocessing(size=(64, 64)))
    path = save_checkpoint(tmp_path / "m.safetensors", model, wider)
    with pytest.raises(ValueError, match=r"other shapes \(pos_embed is \(1, 5, 32\) instead of \(1, 17, 32\)\)"):
        load_checkpoint(path)


def test_unknown_architecture_names_similar_ones() -> None:
    with pytest.raises(ValueError, match=r"no model 'vit_bass_patch16_224'; similar names: vit_base_patch16_224"):
        build_model(ModelConfig("vit_bass_patch16_224"))
    with pytest.raises(ValueError, match=r"no model 'zzz'; timm\.list_models"):
        build_model(ModelConfig("zzz"))


def test_arguments_the_model_does_not_take() -> None:
    with pytest.raises(ValueError, match="surprise"):
        build_model(ModelConfig("vit_tiny_patch16_224", {"surprise": 1}))


def test_pretrained_without_network_points_to_a_file(monkeypatch: pytest.MonkeyPatch, config: ModelConfig) -> None:
    def refuse(*args: object, **kwargs: object) -> nn.Module:
        raise OSError("We couldn't connect to the hub\nand more lines")

    monkeypatch.setattr("timm.create_model", refuse)
    with pytest.raises(ValueError, match=r"--weights FILE.*couldn't connect") as caught:
        build_model(config, pretrained=True)
    assert "\n" not in str(caught.value)
