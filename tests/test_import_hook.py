"""Registration with Quantus happens whenever both packages are there, and costs nothing before."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import quantus_vit
from quantus_vit.import_hook import AfterImport


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A small package on the path, with a data file and a submodule."""
    folder = tmp_path / "slowly_imported"
    folder.mkdir()
    (folder / "__init__.py").write_text("VALUE = 3\n")
    (folder / "part.py").write_text("")
    (folder / "data.txt").write_text("text")
    monkeypatch.syspath_prepend(tmp_path)
    yield "slowly_imported"
    for name in ("slowly_imported", "slowly_imported.part"):
        sys.modules.pop(name, None)


def test_the_callback_comes_once_and_after_the_import(package: str) -> None:
    seen = []
    hook = AfterImport(package, lambda: seen.append(sys.modules[package].VALUE))
    assert hook in sys.meta_path
    assert importlib.util.find_spec(package) is not None
    assert seen == []
    module = importlib.import_module(package)
    importlib.import_module(f"{package}.part")
    assert seen == [3]
    assert hook not in sys.meta_path
    hook.fire()
    assert seen == [3]
    assert type(module.__loader__).__module__ == type(module.__spec__.loader).__module__ == "_frozen_importlib_external"
    assert importlib.resources.files(module).joinpath("data.txt").read_text() == "text"


def test_a_module_that_is_there_already_is_not_waited_for(package: str) -> None:
    importlib.import_module(package)
    seen = []
    hook = AfterImport(package, lambda: seen.append(1))
    assert seen == [1]
    assert hook not in sys.meta_path


def test_a_module_whose_import_fails_can_be_imported_later(package: str, tmp_path: Path) -> None:
    source = tmp_path / package / "__init__.py"
    source.write_text("raise RuntimeError('not yet')\n")
    seen = []
    hook = AfterImport(package, lambda: seen.append(1))
    with pytest.raises(RuntimeError, match="not yet"):
        importlib.import_module(package)
    assert seen == []
    source.write_text("VALUE = 'and now'\n")
    importlib.invalidate_caches()
    importlib.import_module(package)
    assert seen == [1]
    assert hook not in sys.meta_path


def test_a_module_that_is_nowhere_stays_missing() -> None:
    hook = AfterImport("no_such_module_anywhere", lambda: None)
    try:
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("no_such_module_anywhere")
    finally:
        hook.fire()
    assert hook not in sys.meta_path


def run(code: str) -> str:
    found = str(Path(quantus_vit.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": found}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("imports", ["import quantus, quantus_vit", "import quantus_vit, quantus"])
def test_the_methods_are_registered_in_either_order(imports: str) -> None:
    pytest.importorskip("captum")
    check = "from quantus_vit.quantus_plugin import is_registered; print(is_registered())"
    lists = (
        "from quantus_vit.quantus_plugin import compat; print(all('AttnLRP' in names for names in compat.name_lists()))"
    )
    assert run(f"{imports}; print('quantus_vit.quantus_plugin' in __import__('sys').modules); {lists}; {check}") == (
        "True\nTrue\nTrue"
    )


def test_importing_the_package_imports_neither_torch_nor_quantus() -> None:
    code = "import sys, quantus_vit; print(sorted({'torch', 'quantus', 'numpy', 'timm'} & set(sys.modules)))"
    assert run(code) == "[]"


def test_what_is_taken_out_before_quantus_comes_stays_out() -> None:
    code = (
        "import quantus_vit; quantus_vit.unregister(); import quantus; "
        "from quantus_vit.quantus_plugin import is_registered; print(is_registered())"
    )
    assert run(code) == "False"


def test_every_public_name_is_there() -> None:
    for name in quantus_vit.__all__:
        assert getattr(quantus_vit, name) is not None
    assert set(quantus_vit.__all__) <= set(dir(quantus_vit))
    with pytest.raises(AttributeError, match="no attribute 'AttnLPR'"):
        quantus_vit.AttnLPR  # noqa: B018
