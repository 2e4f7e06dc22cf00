"""Models that a user's own code builds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import quantus_vit
from quantus_vit.models import weights_digest

CODE = """
import timm, torch
from torch import nn
from quantus_vit import Classifier
from quantus_vit.data.preprocessing import Preprocessing

def bare():
    return timm.create_model("test_vit", num_classes=3)

def complete():
    model = timm.create_model("test_vit", num_classes=2, img_size=48)
    return Classifier(model, ("Edema", "Pneumothorax"), Preprocessing(size=(48, 48), resize="pad"), task="multilabel")

class OneLogit(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 1, 224)
    def forward(self, x):
        return self.layer(x).flatten(1)

instance = OneLogit()

def fails():
    return {}["weights"]

def small():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2))

def picture():
    return nn.Identity()

def number():
    return 5

def needs(size):
    return bare()

def unnamed():
    return Classifier(bare(), ("only one",), Preprocessing(), task="multiclass")

def filled_later():
    made = complete()
    torch.nn.init.ones_(made.module.head.weight)
    return made

constant = 3
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(CODE)
    return tmp_path / "mine.py"


def test_timm_model_keeps_timms_preprocessing(file: Path) -> None:
    loaded = quantus_vit.load_model(f"{file}:bare")
    assert loaded.class_names == ("0", "1", "2")
    assert (loaded.preprocessing.size, loaded.preprocessing.resize) == ((160, 160), "crop")
    assert loaded.source == f"{file}:bare"


def test_classifier_is_taken_as_it_is(file: Path) -> None:
    loaded = quantus_vit.load_model(f"{file}:complete")
    assert (loaded.class_names, loaded.task) == (("Edema", "Pneumothorax"), "multilabel")
    assert loaded.preprocessing.resize == "pad"
    assert not loaded.module.training


def test_weights_that_a_function_loads_into_its_classifier_count(file: Path) -> None:
    # A comparison takes over the scores of a model with the same digest.
    first, later = (quantus_vit.load_model(f"{file}:{name}") for name in ("complete", "filled_later"))
    assert later.digest == weights_digest(later.module)
    assert first.digest != later.digest


@pytest.mark.parametrize("name", ["OneLogit", "instance"])
def test_one_logit_is_a_binary_model(file: Path, name: str) -> None:
    loaded = quantus_vit.load_model(f"{file}:{name}")
    assert (loaded.class_names, loaded.task) == (("positive",), "binary")
    assert 0 < float(loaded.probabilities(loaded.module(torch.zeros(1, 3, 224, 224)))) < 1


def test_installed_module(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(file.parent))
    assert quantus_vit.load_model("mine:bare").class_names == ("0", "1", "2")


def test_a_file_imports_its_neighbours(file: Path) -> None:
    (file.parent / "other.py").write_text("from mine import bare as build")
    assert len(quantus_vit.load_model(f"{file.parent / 'other.py'}:build").class_names) == 3


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("missing", ValueError, "has no 'missing'; its callables: .*bare, complete"),
        ("fails", ValueError, r"KeyError: 'weights' in mine\.py, line 24"),
        ("needs", ValueError, r"missing 1 required positional argument: 'size'$"),
        ("unnamed", ValueError, r"got \['only one'\].* in mine\.py, line \d+$"),
        ("small", ValueError, r"does not take images \(1, 3, 224, 224\).*Classifier"),
        ("picture", ValueError, r"logits \(N, classes\)"),
        ("number", TypeError, "gave int"),
        ("constant", TypeError, "something to call"),
    ],
)
def test_refuses(file: Path, name: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        quantus_vit.load_model(f"{file}:{name}")


def test_code_that_does_not_run(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("x = (")
    with pytest.raises(ValueError, match=r"broken\.py' cannot be imported \(SyntaxError"):
        quantus_vit.load_model(f"{tmp_path / 'broken.py'}:x")


def test_missing_file_and_module(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.py"):
        quantus_vit.load_model(f"{tmp_path / 'gone.py'}:x")
    with pytest.raises(ValueError, match=r"no_such_package"):
        quantus_vit.load_model("no_such_package.models:x")
