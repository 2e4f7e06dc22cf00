"""The patches for Quantus: each applies to its release, and repairs it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PATCHES = HERE.parent / "patches"
RELEASES = ("0.2.2", "0.3.0", "0.3.5", "0.4.5", "0.5.3", "0.6.0")

# Only Quantus' wrapper of torch models is loaded from each copy: the rest of the older releases needs other versions of
# its dependencies than the ones at hand, and tox runs the releases as a whole.
PROBE = """
import importlib, json, sys, types, warnings
from pathlib import Path
import numpy as np, torch
from quantus_plugin.toy import toy_batch, toy_vit

def load(folder):
    for name in [name for name in sys.modules if name.split(".")[0] == "quantus"]:
        del sys.modules[name]
    for name in ("quantus", "quantus.helpers", "quantus.helpers.model"):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = [str(Path(folder, *name.split(".")))]
    sys.modules["quantus.helpers.utils"] = types.ModuleType("quantus.helpers.utils")
    sys.modules["quantus.helpers"].utils = sys.modules["quantus.helpers.utils"]
    old = Path(folder, "quantus/helpers/pytorch_model.py").exists()
    module = importlib.import_module("quantus.helpers" + ("" if old else ".model") + ".pytorch_model")
    assert Path(module.__file__).is_relative_to(folder), module.__file__
    return module

def randomised(wrapped):
    layers = wrapped.get_random_layer_generator()
    return [float(value.sum()) for _, model in layers for value in model.state_dict().values()]

def results(folder):
    module, x = load(folder), toy_batch()[0]
    option = {"enable_grad": True} if hasattr(module, "grad_context") else None

    def wrap(hooked, option=option):
        return module.PyTorchModel(toy_vit(hooked), channel_first=True, model_predict_kwargs=option)

    plain, hooked, frozen, used = wrap(False), wrap(True), wrap(True), wrap(True)
    frozen.model.requires_grad_(False)
    used.model(torch.as_tensor(x))
    found = {}

    def compare(name, expected, call):
        try:
            found[name] = "same" if np.allclose(expected, call(), rtol=1e-4, atol=1e-5) else "different"
        except RuntimeError as error:
            found[name] = str(error).splitlines()[0]

    scores = plain.predict(x)
    compare("predict", scores, lambda: hooked.predict(x))
    compare("predict, frozen model", scores, lambda: frozen.predict(x))
    with torch.inference_mode():
        compare("predict, inside inference_mode", scores, lambda: hooked.predict(x))
    compare("randomise", randomised(plain), lambda: randomised(used))
    if hasattr(plain, "get_hidden_representations"):
        hidden = plain.get_hidden_representations(x)
        compare("hidden representations", hidden, lambda: hooked.get_hidden_representations(x))
    if option:
        compare("without the option", scores, lambda: wrap(True, option=None).predict(x))
        assert option == {"enable_grad": True}, "the caller's dictionary was changed"
    return found

warnings.simplefilter("ignore")
print(json.dumps({folder: results(folder) for folder in json.loads(sys.argv[1])}))
"""


def download(version: str, folder: Path) -> str | None:
    """Unpack a release into ``folder / "before"``; return why that is impossible, else None."""
    pip = [sys.executable, "-m", "pip"]
    if subprocess.run([*pip, "--version"], capture_output=True).returncode != 0:
        found = shutil.which("pip") or shutil.which("pip3")
        if found is None:
            return "there is no pip"
        pip = [found]
    command = [*pip, "download", "--no-deps", "--only-binary=:all:", "--quiet", "--timeout", "30", "--retries", "1"]
    done = subprocess.run([*command, "--dest", str(folder), f"quantus=={version}"], capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        return (done.stderr.strip().splitlines() or ["no wheel"])[-1]
    with zipfile.ZipFile(wheels[0]) as wheel:
        wheel.extractall(folder / "before")
    return None


def apply(version: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    patch = PATCHES / f"{version}-gradients.patch"
    command = ["patch", "-p1", "--fuzz=0", *options, "--input", str(patch)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path | str]:
    """For each release the folder with its copies, or why there is none."""
    found: dict[str, Path | str] = {}
    for version in RELEASES:
        folder = tmp_path_factory.mktemp(version)
        reason = download(version, folder)
        found[version] = folder if reason is None else reason
    return found


@pytest.fixture(scope="module")
def probed(releases: dict[str, Path | str]) -> dict[str, dict[str, str]]:
    """What each copy, as released and patched, makes of a model with hooks; one process for all loads torch once."""
    copies = []
    for version, folder in releases.items():
        if isinstance(folder, Path):
            shutil.copytree(folder / "before", folder / "after")
            if apply(version, folder / "after").returncode == 0:
                copies += [str(folder / "before"), str(folder / "after")]
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    command = [sys.executable, "-c", PROBE, json.dumps(copies)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=HERE)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def unpacked(releases: dict[str, Path | str], version: str) -> Path:
    folder = releases[version]
    if not isinstance(folder, Path):
        pytest.skip(f"Quantus {version} cannot be downloaded: {folder}")
    return folder


needs_patch = pytest.mark.skipif(shutil.which("patch") is None, reason="there is no 'patch' on this machine")


@needs_patch
@pytest.mark.parametrize("version", RELEASES)
def test_a_patch_applies_exactly_and_comes_off_again(version, releases, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(unpacked(releases, version) / "before", folder)
    before = {path: path.read_bytes() for path in folder.rglob("*.py")}
    applied = apply(version, folder)
    assert applied.returncode == 0, applied.stdout + applied.stderr
    assert "offset" not in applied.stdout
    assert len([path for path, content in before.items() if path.read_bytes() != content]) == 1
    assert apply(version, folder, "--reverse").returncode == 0
    assert {path: path.read_bytes() for path in folder.rglob("*.py")} == before


@needs_patch
@pytest.mark.parametrize("version", RELEASES)
def test_a_patch_repairs_its_release(version, releases, probed):
    folder = unpacked(releases, version)
    before, after = probed[str(folder / "before")], dict(probed[str(folder / "after")])
    for name, outcome in before.items():
        wanted = "deepcopy protocol" if name == "randomise" else "cannot register a hook"
        assert wanted in outcome, name
    assert "cannot register a hook" in after.pop("without the option")
    assert after == dict.fromkeys(before, "same")


def test_every_patch_is_tested_or_said_not_to_be():
    found = {path.name.removesuffix("-gradients.patch") for path in PATCHES.glob("*.patch")}
    assert found == {*RELEASES, "main"}
    assert "`main-gradients.patch`" in (PATCHES / "README.md").read_text()


def test_the_patch_for_main():
    pytest.skip("the main branch of Quantus is on no package index; its patch is untested here")
