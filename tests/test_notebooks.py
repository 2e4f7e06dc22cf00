"""The notebooks of ``examples/`` run from the first cell to the last, and show what they promise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "examples"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def cells(notebook: Path) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return content


def test_there_are_notebooks() -> None:
    assert {path.stem for path in NOTEBOOKS} == {"compare_methods", "explain_your_vit"}


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_come_without_output(notebook) -> None:
    for cell in cells(notebook):
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None


@pytest.mark.slow
@pytest.mark.parametrize(("name", "pictures"), [("explain_your_vit", 5), ("compare_methods", 2)])
def test_notebooks_run_and_show_pictures(name, pictures, tmp_path) -> None:
    nbformat = pytest.importorskip("nbformat", reason="notebooks are run by nbclient and ipykernel")
    nbclient = pytest.importorskip("nbclient", reason="notebooks are run by nbclient and ipykernel")
    pytest.importorskip("ipykernel", reason="notebooks are run by nbclient and ipykernel")
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    client = nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    shown = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(shown) == pictures
    assert [output for output in outputs if output.output_type == "error"] == []
