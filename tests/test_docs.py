"""What the documentation shows is run: Python, command lines, configuration, and the links between its pages.

A page's Python blocks run one after the other in one namespace, which holds what the page takes for granted: a small
model, images and labels. A block below the comment ``<!-- not run: reason -->`` is compiled only.
"""

from __future__ import annotations

import importlib
import itertools
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch

import quantus_vit
from quantus_vit.tables import Table

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
REPORTS = [
    ROOT / "examples" / "RESULTS.md",
    ROOT / "benchmarks" / "README.md",
    ROOT / "quantus_vit" / "assets" / "README.md",
]
BLOCK = re.compile(r"(?:<!-- not run: (?P<reason>[^>]+) -->\s*)?^```(?P<language>\w+)\n(?P<code>.*?)^```", re.M | re.S)
LINK = re.compile(r"\[[^\]]*\]\((?!https?:|#)(?P<target>[^)#\s]+)(?:#[^)]*)?\)")
BRACKETS = re.compile(r"\b(?P<name>[A-Z]\w+)\[\w+=[^\]\s]+\]")
create_model = timm.create_model


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    language: str
    code: str
    is_run: bool


def blocks(page: Path, *languages: str) -> list[Block]:
    text = page.read_text()
    found = [
        Block(page, text[: match.start("code")].count("\n") + 1, match["language"], match["code"], not match["reason"])
        for match in BLOCK.finditer(text)
    ]
    return [block for block in found if block.language in languages]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def tiny(name: str = "vit_tiny_patch16_224", pretrained: bool = False, **options: Any) -> torch.nn.Module:
    """A model of timm's as documentation makes it, but small and with random weights, so that nothing is downloaded."""
    torch.manual_seed(0)
    return create_model(name, pretrained=False, **{"embed_dim": 24, "depth": 2, "num_heads": 2, **options}).eval()


class Hooked(torch.nn.Module):
    """A model that, like the authors' code for LRP, needs gradients in its forward."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(x)
        logits.register_hook(lambda gradient: None)
        return logits


class ImageText(torch.nn.Module):
    """The image's side of a model such as CLIP."""

    def __init__(self) -> None:
        super().__init__()
        self.vision = tiny(num_classes=8)
        self.logit_scale = torch.nn.Parameter(torch.tensor(2.0))

    def encode_image(self, images: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.vision(images)
        return features


def gradient_map(model: torch.nn.Module, inputs: Any, targets: Any, **kwargs: Any) -> np.ndarray:
    x = torch.as_tensor(inputs).clone().requires_grad_()
    with torch.enable_grad():
        model(x).gather(1, torch.as_tensor(targets)[:, None]).sum().backward()
    assert x.grad is not None
    return x.grad.sum(1, keepdim=True).numpy()


class MyLRP(quantus_vit.AttnLRP):
    def __init__(self, model: torch.nn.Module, gamma: float = 0.25) -> None:
        super().__init__(model, conv_gamma=gamma)


def namespace() -> dict[str, Any]:
    """What the pages take for granted."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, 224, 224, generator=generator)
    labels = torch.tensor([1, 3])
    model = tiny(num_classes=10)
    volume_model = torch.nn.Sequential(torch.nn.Conv3d(1, 2, 4, 4), torch.nn.Flatten(), torch.nn.Linear(16, 2)).eval()
    return {
        "__name__": "documentation", "quantus_vit": quantus_vit, "model": model, "images": images, "labels": labels,
        "image": images[0], "x": images.numpy(), "y": labels.numpy(), "x_batch": images.numpy(),
        "y_batch": labels.numpy(), "classes": 10, "hooked_model": Hooked(model).eval(), "my_lrp": gradient_map,
        "my_function": gradient_map, "MyLRP": MyLRP, "volume_model": volume_model,
        "volumes": torch.randn(1, 1, 8, 8, 8, generator=generator), "affine": np.eye(4),
        "clip": ImageText().eval(), "text_features": torch.randn(2, 8, generator=generator),
        "segmenter": torch.nn.Conv2d(3, 2, 16, 16).eval(), "lesion_mask": torch.eye(14, dtype=torch.bool),
    }  # fmt: skip


@pytest.fixture
def surroundings(monkeypatch, tmp_path) -> Iterator[None]:
    """Small models in place of pretrained ones, an empty folder to write into, and every table as it was."""
    import matplotlib

    matplotlib.use("Agg")
    monkeypatch.setattr(timm, "create_model", tiny)
    monkeypatch.chdir(tmp_path)
    before = {table: table.names() for table in tables()}
    handlers = importlib.import_module("quantus_vit.relevance.handlers.table").HANDLERS
    known = set(handlers)
    yield
    for table, names in before.items():
        for name in set(table.names()) - set(names):
            table.remove(name)
    for function in set(handlers) - known:
        del handlers[function]


def tables() -> list[Table[Any]]:
    """The open tables of the package that pages may add to."""
    places = {
        "quantus_vit.quantus_plugin.registry": "METHODS", "quantus_vit.comparison.metrics": "METRICS",
        "quantus_vit.data": "DATASETS", "quantus_vit.models": "MODELS",
    }  # fmt: skip
    found = [getattr(importlib.import_module(module), name) for module, name in places.items()]
    return [table for table in found if isinstance(table, Table)]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name_of)
def test_python_blocks_run(page, surroundings):
    names = namespace()
    for block in blocks(page, "python"):
        # Lines as in the page, so that a traceback points there.
        code = compile("\n" * (block.line - 1) + block.code, str(page), "exec")
        if block.is_run:
            exec(code, names)


COMMANDS = [
    pytest.param(shlex.split(line, comments=True), id=f"{name_of(page)}:{line[:60].strip()}")
    for page in [*PAGES, *REPORTS]
    for block in blocks(page, "sh", "shell", "bash")
    for line in re.split(r"\n|&&|;", block.code.replace("\\\n", " "))
    if shlex.split(line, comments=True)
]


@pytest.mark.parametrize("words", COMMANDS)
def test_command_lines_are_understood(words, monkeypatch, capsys):
    if words[0] == "quantus-vit":
        from quantus_vit.cli import main

        if len(words) > 1 and not words[1].startswith("-"):
            module = importlib.import_module(f"quantus_vit.cli.{words[1]}")
            monkeypatch.setattr(module, "run", lambda args: 0)  # parsing only
        assert main(words[1:]) == 0, capsys.readouterr().err
    elif words[0] == "tox":
        text = (ROOT / "tox.ini").read_text()
        assert all(label in text for option, label in itertools.pairwise(words) if option in ("-e", "-m"))
    elif words[0] == "pytest":
        assert all((ROOT / word).exists() for word in words[1:] if not word.startswith("-"))
    else:
        assert words[0] in {"python", "pip", ".", "pre-commit", "cd", "patch", "uv"}, words


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib is from Python 3.11")
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "toml")], ids=name_of)
def test_toml_blocks_parse(page):
    import tomllib

    groups = {f"quantus_vit.{kind}" for kind in ("methods", "metrics", "datasets", "models", "protocols")}
    for block in blocks(page, "toml"):
        content = tomllib.loads(block.code)
        assert set(content.get("project", {}).get("entry-points", {})) <= groups


@pytest.mark.parametrize("page", [*PAGES, *sorted(ROOT.glob("*/README.md"))], ids=name_of)
def test_links_lead_somewhere(page):
    missing = [
        match["target"] for match in LINK.finditer(page.read_text()) if not (page.parent / match["target"]).exists()
    ]
    assert missing == []


def bracketed() -> Iterator[tuple[str, str, str]]:
    """Methods with options in brackets, wherever prose, commands or help show them: file, name and the whole."""
    files = [*PAGES, ROOT / "examples" / "RESULTS.md", *sorted((ROOT / "quantus_vit" / "cli").glob("*.py"))]
    for file in files:
        for match in BRACKETS.finditer(file.read_text()):
            yield name_of(file), match["name"], match[0]


def test_options_in_brackets_are_those_of_the_methods():
    from quantus_vit.comparison.explaining import known_methods, method_calls
    from quantus_vit.comparison.protocol import ExplainOptions
    from quantus_vit.data import Preprocessing
    from quantus_vit.models import Classifier

    classifier = Classifier(tiny(num_classes=2), ("a", "b"), Preprocessing())
    shown = {(where, text) for where, name, text in bracketed() if name in known_methods()}
    assert {"docs/explain.md", "docs/comparison.md", "quantus_vit/cli/explain.py"} <= {where for where, _ in shown}
    for where, text in sorted(shown):
        try:
            method_calls([text], ExplainOptions(), classifier)
        except (TypeError, ValueError) as error:
            pytest.fail(f"{where} shows {text}: {error}")


def test_blocks_are_found():
    assert [block.language for block in blocks(ROOT / "README.md", "python", "sh")].count("python") >= 3
    text = "<!-- not run: needs a scanner -->\n```python\nx = 1\n```\n\n```python\ny = 2\n```\n"
    assert [(match["reason"], match["code"]) for match in BLOCK.finditer(text)] == [
        ("needs a scanner", "x = 1\n"), (None, "y = 2\n"),
    ]  # fmt: skip


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib is from Python 3.11")
def test_the_source_distribution_has_what_pages_lead_to():
    import tomllib

    content = tomllib.loads((ROOT / "pyproject.toml").read_text())
    included = {entry.lstrip("/") for entry in content["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]}
    needed = {name_of(page) for page in PAGES}
    for page in PAGES:
        targets = [(page.parent / match["target"]).resolve() for match in LINK.finditer(page.read_text())]
        needed |= {target.relative_to(ROOT).as_posix() for target in targets}
    assert {name for name in needed if name not in included and name.partition("/")[0] not in included} == set()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib is from Python 3.11")
def test_the_map_has_the_layers_of_the_import_contract():
    import tomllib

    (contract, *_) = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = [set(layer.split(" | ")) - {"_version"} for layer in contract["layers"]]
    text = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| (\d) \| ([^|]+) \|", text, re.M)
    shown = [{name for row, names in rows if row == str(i + 1) for name in re.findall(r"`(\w+)`", names)}
             for i in range(len(layers))]  # fmt: skip
    assert shown == layers
