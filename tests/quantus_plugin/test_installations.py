"""The installation this runs in, broken installations, and other processes."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import re
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch

import quantus_vit
from quantus_vit import attribution
from quantus_vit.quantus_plugin import compat

from .toy import toy_batch, toy_vit

EXPECTED = os.environ.get("QUANTUS_VIT_EXPECTED", "")
once = pytest.mark.skipif(EXPECTED not in ("", "full"), reason="once is enough")


def run(code: str, *path: Path) -> subprocess.CompletedProcess[str]:
    # Where this process found the package, a new one finds it too.
    found = Path(quantus_vit.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (*path, found)))}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.skipif(not EXPECTED, reason="not run by tox")
def test_tox_built_the_environment_it_is_named_after():
    for library in ("captum", "zennit"):
        wanted = EXPECTED in ("full", "fast", "oldest", f"only-{library}") or EXPECTED.startswith("quantus-")
        assert compat.installed(library) is wanted, library
    if EXPECTED.startswith("quantus-"):
        assert compat.installed_version() == EXPECTED.split("-")[1]
    elif EXPECTED != "oldest":
        assert compat.installed_version() == compat.NEWEST_TESTED
    for factor, version in {"py310": (3, 10), "py313": (3, 13)}.items():
        if factor in EXPECTED:
            assert sys.version_info[:2] == version


def test_without_captum_and_zennit(plain, batch, explain):
    if compat.installed("captum") or compat.installed("zennit"):
        pytest.skip("Captum or zennit is installed")
    x, y, _ = batch
    assert explain(plain, x, y, method="TransformerLRP").shape == (3, 1, 16, 16)
    with pytest.raises(ImportError, match="only quantus-vit's own methods"):
        explain(plain, x, y, method="Saliency")
    quantus_vit.unregister()
    try:
        with pytest.raises(ImportError, match="Explanation library not found"):
            explain(plain, x, y, method="Saliency")
    finally:
        quantus_vit.register()


def test_explainers_are_captums_where_captum_is():
    explainer = attribution.TransformerLRP(toy_vit(hooked=False))
    if compat.installed("captum"):
        captum_attr = importlib.import_module("captum.attr")
        assert isinstance(explainer, captum_attr.Attribution)
    maps = explainer.attribute(torch.as_tensor(toy_batch()[0]), target=1)
    assert maps.shape == (3, 1, 16, 16)


BROKEN = """
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import quantus_vit
    quantus_vit.available_methods()
message = " ".join(str(warning.message) for warning in caught if "quantus-vit" in str(warning.message))
assert "not registered with Quantus" in message, message
assert {expected!r} in message, message
try:
    quantus_vit.register()
except ImportError as error:
    assert {expected!r} in str(error), error
else:
    raise AssertionError("registered")
quantus_vit.unregister()
import torch
from quantus_vit.attribution import TransformerLRP
from {toy} import toy_batch, toy_vit
maps = TransformerLRP(toy_vit(hooked=False)).attribute(torch.as_tensor(toy_batch()[0]), target=0)
assert maps.shape == (3, 1, 16, 16)
assert "TransformerLRP" in quantus_vit.available_methods()
"""


def declared_minima() -> dict[str, str]:
    """The lower bounds in ``pyproject.toml`` of what everybody gets."""
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    listed = text.split("\ndependencies = [")[1].split("]")[0]
    return dict(re.findall(r'"([\w-]+)>=([\d.]+)"', listed))


@pytest.mark.skipif(EXPECTED != "oldest", reason="not the environment of the oldest versions")
def test_the_oldest_versions_are_those_that_are_declared():
    # Quantus is set by hand, and some packages ask for more of others than this one does.
    minima = declared_minima()
    for name in ("torch", "torchvision", "timm", "numpy", "captum", "matplotlib"):
        assert compat.release(importlib.metadata.version(name)) == (*compat.release(minima[name]), 0, 0)[:3], name


@pytest.mark.parametrize("kind", ["old captum", pytest.param("captum that raises", marks=once)])
def test_a_broken_captum_is_named_and_does_not_stop_us(tmp_path, kind):
    package = tmp_path / "captum"
    (package / "attr").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    content = "" if kind == "old captum" else "raise RuntimeError('captum was built for another torch')"
    (package / "attr" / "__init__.py").write_text(content)
    code = BROKEN.format(expected="'pip install --upgrade captum'", toy="quantus_plugin.toy")
    done = run(code, tmp_path, Path(__file__).parents[1])
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("how", ["absent", "broken"])
def test_the_attributor_says_what_it_needs(tmp_path, how):
    # Python takes a None among the modules for one that is not there.
    hide = "import sys; sys.modules['zennit'] = None; " if how == "absent" else ""
    (tmp_path / "zennit").mkdir()
    (tmp_path / "zennit" / "__init__.py").write_text("import no_such_torchvision")
    done = run(f"{hide}import quantus_vit.zennit_plugin", tmp_path)
    message = done.stderr.strip().splitlines()[-1]
    assert message.startswith("ImportError: quantus_vit.zennit_plugin needs zennit"), done.stderr
    assert "pip install 'quantus-vit[zennit]' torchvision" in message
    assert ("no_such_torchvision" in message) == (how == "broken")


@once
def test_importing_is_cheap():
    code = (
        "import sys, quantus; before = set(sys.modules); import quantus_vit; "
        "print(sorted({name.split('.')[0] for name in set(sys.modules) - before} & "
        "{'lime', 'lightning', 'pytorch_lightning', 'transformers', 'timm', 'zennit'}))"
    )
    done = run(code)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_names_resolve_in_a_spawned_process(plain, batch, explain):
    # 'quantus.explain' alone goes to the worker, whose main module has never heard of us.
    x, y, _ = batch
    expected = explain(plain, x, y, method="TransformerLRP")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        maps = pool.submit(explain, plain, x, y, method="TransformerLRP").result(timeout=300)
    np.testing.assert_allclose(maps, expected, rtol=1e-5, atol=1e-7)
