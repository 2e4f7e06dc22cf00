"""Starting weights from files: formats, precision, heads, image sizes, and what is said about others."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from quantus_vit.data.preprocessing import Preprocessing
from quantus_vit.models.checkpoint import ModelConfig, build_model
from quantus_vit.models.weights import load_weights


def other(config: ModelConfig, **changes: Any) -> nn.Module:
    torch.manual_seed(1)
    return build_model(dataclasses.replace(config, **changes))


def backbone(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value for name, value in model.state_dict().items() if not name.startswith("head.")}


@pytest.mark.parametrize("form", ["safetensors", "torch", "wrapped", "parallel"])
def test_file_formats(tmp_path: Path, model: nn.Module, config: ModelConfig, form: str) -> None:
    source = other(config)
    path = tmp_path / ("w.safetensors" if form == "safetensors" else "w.pth")
    state = source.state_dict()
    if form == "safetensors":
        save_file(state, path)
    elif form == "torch":
        torch.save(state, path)
    elif form == "wrapped":
        torch.save({"state_dict": state, "epoch": 3}, path)
    else:
        torch.save({f"module.{name}": value for name, value in state.items()}, path)
    assert load_weights(model, path) is True
    for name, value in source.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name


def test_half_precision_backbone_keeps_the_new_head(tmp_path: Path, model: nn.Module, config: ModelConfig) -> None:
    source = other(config)
    save_file({name: value.half() for name, value in backbone(source).items()}, tmp_path / "w.safetensors")
    head = model.state_dict()["head.weight"].clone()
    assert load_weights(model, tmp_path / "w.safetensors") is False
    assert torch.equal(model.state_dict()["head.weight"], head)
    for name, value in backbone(source).items():
        assert model.state_dict()[name].dtype == torch.float32
        assert torch.equal(model.state_dict()[name], value.half().float()), name


def test_head_for_other_classes_is_left_out(tmp_path: Path, model: nn.Module, config: ModelConfig) -> None:
    source = other(config, class_names=tuple(map(str, range(10))))
    torch.save(source.state_dict(), tmp_path / "w.pth")
    assert load_weights(model, tmp_path / "w.pth") is False
    assert model.state_dict()["head.weight"].shape == (3, 32)
    assert torch.equal(model.state_dict()["blocks.1.mlp.fc1.weight"], source.state_dict()["blocks.1.mlp.fc1.weight"])


def test_position_embedding_of_another_image_size(tmp_path: Path, model: nn.Module, config: ModelConfig) -> None:
    source = other(config, preprocessing=Preprocessing(size=(64, 64)))
    with torch.no_grad():
        # A ramp along x stays one when it is resized: each row of the small grid rises, columns are constant.
        source.pos_embed[0, 1:] = torch.arange(4.0).repeat(4)[:, None]
    torch.save(source.state_dict(), tmp_path / "w.pth")
    load_weights(model, tmp_path / "w.pth")
    grid = model.state_dict()["pos_embed"][0, 1:].reshape(2, 2, 32)
    assert torch.equal(model.state_dict()["pos_embed"][:, 0], source.state_dict()["pos_embed"][:, 0])
    torch.testing.assert_close(grid[0], grid[1])
    torch.testing.assert_close(grid.mean(dim=(0, 1)), torch.full((32,), 1.5))
    assert (grid[:, 1] - grid[:, 0] > 1).all()


def test_another_architecture_names_keys_and_shapes(tmp_path: Path, model: nn.Module, config: ModelConfig) -> None:
    deeper = {**config.model_kwargs, "depth": 3}
    torch.save(other(config, model_kwargs=deeper).state_dict(), tmp_path / "deep.pth")
    with pytest.raises(ValueError, match=r"deep\.pth.*12 unexpected keys \(blocks\.2\.attn"):
        load_weights(model, tmp_path / "deep.pth")
    wider = {**config.model_kwargs, "embed_dim": 48}
    torch.save(other(config, model_kwargs=wider).state_dict(), tmp_path / "wide.pth")
    with pytest.raises(ValueError, match=r"other shapes .*is \(144\,\) instead of \(96\,\)"):
        load_weights(model, tmp_path / "wide.pth")
    short = other(config).state_dict()
    del short["blocks.0.norm1.weight"]
    torch.save(short, tmp_path / "short.pth")
    with pytest.raises(ValueError, match=r"1 missing keys \(blocks\.0\.norm1\.weight\)"):
        load_weights(model, tmp_path / "short.pth")


def test_a_file_that_does_not_fit_changes_nothing(tmp_path: Path, model: nn.Module, config: ModelConfig) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.save(other(config, model_kwargs={**config.model_kwargs, "depth": 1}).state_dict(), tmp_path / "w.pth")
    with pytest.raises(ValueError, match="missing keys"):
        load_weights(model, tmp_path / "w.pth")
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


def test_missing_file(tmp_path: Path, model: nn.Module) -> None:
    with pytest.raises(FileNotFoundError, match="no weights file"):
        load_weights(model, tmp_path / "none.pth")


class Evil:
    """Unpickles into a call."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("ran code",))


def test_pickled_code_is_not_run(tmp_path: Path, model: nn.Module, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match="cannot read weights"):
        load_weights(model, tmp_path / "evil.pth")
    assert "ran code" not in capsys.readouterr().out


def test_a_whole_model_is_told_apart_from_its_weights(tmp_path: Path, model: nn.Module) -> None:
    torch.save(model, tmp_path / "whole.pth")
    with pytest.raises(ValueError, match=r"pickled Python objects.*; save model\.state_dict\(\)$"):
        load_weights(model, tmp_path / "whole.pth")


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}])
def test_no_state_dict(tmp_path: Path, model: nn.Module, content: object) -> None:
    torch.save(content, tmp_path / "list.pth")
    with pytest.raises(ValueError, match="holds no state dict"):
        load_weights(model, tmp_path / "list.pth")


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_damaged_file(tmp_path: Path, model: nn.Module, name: str) -> None:
    (tmp_path / name).write_bytes(b"damaged")
    with pytest.raises(ValueError, match="cannot read weights"):
        load_weights(model, tmp_path / name)
