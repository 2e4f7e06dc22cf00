"""Model files from anybody: nothing in them runs, and whatever is wrong with them is said in a sentence."""

from __future__ import annotations

import dataclasses
import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from quantus_vit.data.preprocessing import Preprocessing
from quantus_vit.models import load_model
from quantus_vit.models.architecture import check_model_kwargs
from quantus_vit.models.checkpoint import METADATA_KEY, ModelConfig, load_checkpoint, save_checkpoint
from quantus_vit.models.weights import read_weights


def written(path: Path, model: nn.Module, config: ModelConfig, **changes: Any) -> Path:
    """A checkpoint whose metadata say something else than what ``save_checkpoint`` would write."""
    values = {**json.loads(config.to_json()), **changes}
    save_file(model.state_dict(), path, metadata={METADATA_KEY: json.dumps(values)})
    return path


def refusal(call: Callable[[], object]) -> str:
    """What a call says when it refuses, empty when it does not; any other error fails the test."""
    try:
        call()
    except (ValueError, TypeError) as error:
        return str(error)
    return ""


class _Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("sprung"),))


@pytest.mark.parametrize("name", ["checkpoint_path", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay"])
def test_metadata_cannot_make_timm_read_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: nn.Module, config: ModelConfig, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("evil.pt").write_bytes(pickle.dumps(_Trap()))
    reached = []
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda *a, **k: reached.append(k) or create(*a, **k))
    value: Any = {"file": "evil.pt"} if "cfg" in name else "evil.pt"
    path = written(tmp_path / "m.safetensors", model, config, model_kwargs={**config.model_kwargs, name: value})
    with pytest.raises(ValueError, match=f"cannot set '{name}'"):
        load_model(path)
    assert not reached
    assert not Path("sprung").exists()


def test_torch_files_are_read_without_running_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": _Trap()}, "evil.pth")
    with pytest.raises(ValueError, match="cannot read weights"):
        read_weights("evil.pth")
    assert not Path("sprung").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": 5}, "architecture must be the name"),
        ({"architecture": "hf-hub:someone/model"}, "no model 'hf-hub:someone/model'"),
        ({"architecture": "local-dir:."}, "no model 'local-dir:.'"),
        ({"preprocessing": {"size": [10**7, 10**7]}}, "8192"),
        ({"preprocessing": {"size": [-1, 32]}}, "size"),
        ({"preprocessing": {"size": 32}}, "size"),
        ({"preprocessing": {"std": [0, 0, 0]}}, "std"),
        ({"preprocessing": 5}, "preprocessing must be a mapping"),
        ({"class_names": [1, 2, 3]}, "class names"),
        ({"class_names": "abc"}, "class names"),
        ({"class_names": ["a", "b"]}, r"head\.weight is \(3, 32\) instead of \(2, 32\)"),
        ({"task": "regression"}, "task must be one of"),
        ({"task": ["multiclass"]}, "task must be one of"),
        ({"model_kwargs": [1]}, "model_kwargs must be a mapping"),
        ({"model_kwargs": {"depth": 10**9}}, "depth"),
        ({"model_kwargs": {"depth": -1}}, "depth"),
        ({"model_kwargs": {"depth": 10**5}}, r"depth=100000 does not go with weights"),
        ({"model_kwargs": {"embed_dim": 99_999}}, r"embed_dim=99999 does not go with weights"),
        ({"model_kwargs": {"embed_dim": "many"}}, "many"),
        ({"model_kwargs": {"num_heads": 0}}, "cannot build"),
        ({"model_kwargs": {"num_heads": 7}}, "cannot build"),
        ({"model_kwargs": {"patch_size": {"a": 1}}}, "patch_size"),
        ({"model_kwargs": {"norm_layer": "os.system"}}, "norm_layer"),
        ({"training": 5}, "training must be a mapping"),
        ({"image_size": 224}, r"it has no 'image_size'; there are: architecture, "),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_bad_metadata_is_a_sentence(
    tmp_path: Path, model: nn.Module, config: ModelConfig, changes: dict[str, Any], message: str
) -> None:
    path = written(tmp_path / "m.safetensors", model, config, **changes)
    with pytest.raises(ValueError, match=message) as caught:
        load_checkpoint(path)
    assert "m.safetensors" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nested_json_does_not_exhaust_the_stack(tmp_path: Path, model: nn.Module) -> None:
    path = tmp_path / "m.safetensors"
    save_file(model.state_dict(), path, metadata={METADATA_KEY: "[" * 100_000})
    with pytest.raises(ValueError, match="not the configuration"):
        load_checkpoint(path)


def test_weights_that_are_not_numbers(tmp_path: Path, model: nn.Module, config: ModelConfig) -> None:
    with torch.no_grad():
        model.head.weight[0, 0] = float("nan")  # type: ignore[index, union-attr]
    with pytest.raises(ValueError, match=r"1 tensors with nan or infinity \(head\.weight\)"):
        load_checkpoint(save_checkpoint(tmp_path / "m.safetensors", model, config))


def test_task_and_preprocessing_survive(tmp_path: Path, model: nn.Module, config: ModelConfig) -> None:
    preprocessing = Preprocessing(size=(32, 32), resize="pad", mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 3.0), fill=None)
    changed = dataclasses.replace(config, preprocessing=preprocessing, task="multilabel", class_names=("x", "y", "z"))
    loaded = load_model(save_checkpoint(tmp_path / "m.safetensors", model, changed))
    assert (loaded.preprocessing, loaded.task, loaded.class_names) == (preprocessing, "multilabel", ("x", "y", "z"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=4,
)


NAMES = st.sampled_from(["depth", "embed_dim", "act_layer", "checkpoint_path"]) | st.text()


@given(values=st.dictionaries(NAMES, JSON))
@settings(max_examples=50, deadline=None)
def test_model_kwargs_pass_or_are_refused_in_words(values: dict[str, Any]) -> None:
    said = refusal(lambda: check_model_kwargs(values))
    assert "\n" not in said
    assert said or "checkpoint_path" not in values


@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_metadata_loads_or_is_a_sentence(
    tmp_path: Path, model: nn.Module, config: ModelConfig, data: st.DataObject
) -> None:
    values = json.loads(config.to_json())
    field = data.draw(st.sampled_from(sorted(values)))
    target = values
    if field == "preprocessing" and data.draw(st.booleans()):
        target, field = values[field], data.draw(st.sampled_from(sorted(values[field])))
    target[field] = data.draw(JSON)
    path = tmp_path / "m.safetensors"
    save_file(model.state_dict(), path, metadata={METADATA_KEY: json.dumps(values)})
    _loads_or_says(path)


@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_files_load_or_are_a_sentence(
    tmp_path: Path, model: nn.Module, config: ModelConfig, data: st.DataObject
) -> None:
    path = save_checkpoint(tmp_path / "m.safetensors", model, config)
    content = bytearray(path.read_bytes())
    header = struct.unpack("<Q", content[:8])[0] + 8
    match data.draw(st.sampled_from(["cut", "flip", "header", "random"])):
        case "cut":
            del content[data.draw(st.integers(0, len(content) - 1)) :]
        case "flip":
            content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
        case "header":
            content[data.draw(st.integers(0, header - 1))] = data.draw(st.integers(0, 255))
        case _:
            content = bytearray(data.draw(st.binary(max_size=200)))
    path.write_bytes(content)
    _loads_or_says(path)


@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_torch_files_are_read_or_are_a_sentence(tmp_path: Path, model: nn.Module, data: st.DataObject) -> None:
    path = tmp_path / "w.pth"
    torch.save(model.state_dict(), path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(0, len(content))) or len(content) :]
    path.write_bytes(content)
    said = refusal(lambda: read_weights(path))
    assert not said or "w.pth" in said
    assert "\n" not in said


def _loads_or_says(path: Path) -> None:
    """No other error than a sentence that names the file."""
    said = refusal(lambda: load_model(path))
    assert not said or path.name in said
    assert "\n" not in said
