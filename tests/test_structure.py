"""The shape of the package: imports run one way, files and functions stay small.

The layers themselves are a contract of import-linter (``[tool.importlinter]`` in ``pyproject.toml``); here is what it
does not see: cycles among the files of one layer, be they for types only.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "quantus_vit"
FILES = sorted(PACKAGE.rglob("*.py"))
LINES_OF_A_FILE = 300
LINES_OF_A_FUNCTION = 50

LONGER_FUNCTIONS = {"cli/compare.py:add_arguments"}  # a list of options


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in FILES}


def imported(path: Path) -> set[str]:
    """The modules of this package that a file imports, for types only or within a function, too."""
    here = module_name(path) if path.name == "__init__.py" else module_name(path).rpartition(".")[0]
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names if alias.name in MODULES}
        elif isinstance(node, ast.ImportFrom):
            above = here.split(".")[: len(here.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                inside = f"{base}.{alias.name}"
                names |= {inside} if inside in MODULES else {base} & MODULES.keys()
    return names - {module_name(path)}


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that reach each other (strongly connected components, by Tarjan's algorithm)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        order[module] = lowest[module] = len(order)
        stack.append(module)
        for other in graph[module]:
            if other not in order:
                visit(other)
                lowest[module] = min(lowest[module], lowest[other])
            elif other in stack:
                lowest[module] = min(lowest[module], order[other])
        if lowest[module] == order[module]:
            group = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(group) > 1:
                found.append(sorted(group))

    for module in graph:
        if module not in order:
            visit(module)
    return found


def test_cycles_are_found():
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]
    assert cycles({"a": {"b"}, "b": set()}) == []


def test_imports_run_in_no_circle():
    graph = {name: imported(path) for name, path in MODULES.items()}
    # The top level gives its names on demand, for the convenience of users; nothing inside may ask it for any.
    graph["quantus_vit"] = set()
    assert cycles(graph) == []


def test_nothing_inside_asks_the_top_level():
    asking = {relative(path) for path in FILES if "quantus_vit" in imported(path)}
    assert asking == set()


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_files_are_small(path):
    lines = len(path.read_text().splitlines())
    assert lines <= LINES_OF_A_FILE, f"{relative(path)} has {lines} lines"


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the body, the docstring aside."""
    statements = function.body[1:] if ast.get_docstring(function) is not None else function.body
    if not statements:
        return 0
    return (statements[-1].end_lineno or 0) - statements[0].lineno + 1


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_functions_are_small(path):
    longer = {
        f"{relative(path)}:{node.name}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and body_lines(node) > LINES_OF_A_FUNCTION
    }
    assert longer <= LONGER_FUNCTIONS


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_a_file_says_what_it_is_for(path):
    assert ast.get_docstring(ast.parse(path.read_text())), f"{relative(path)} has no docstring"


def assigned(module: ast.Module) -> list[str]:
    return [
        target.id
        for node in module.body
        if isinstance(node, (ast.Assign, ast.AnnAssign))
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    ]


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_a_file_lists_its_public_names(path):
    module = ast.parse(path.read_text())
    defined = [node.name for node in module.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    if any(not name.startswith("_") for name in defined):
        assert "__all__" in assigned(module), f"{relative(path)} has no __all__"


def listed(module: ast.Module) -> set[str]:
    for node in module.body:
        if isinstance(node, ast.Assign) and any(isinstance(x, ast.Name) and x.id == "__all__" for x in node.targets):
            return {x.value for x in ast.walk(node.value) if isinstance(x, ast.Constant) and isinstance(x.value, str)}
    return set()


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_what_other_files_take_is_listed(path):
    here = module_name(path) if path.name == "__init__.py" else module_name(path).rpartition(".")[0]
    unlisted = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        above = here.split(".")[: len(here.split(".")) - node.level + 1]
        base = ".".join([*above, *([node.module] if node.module else [])])
        taken = {alias.name for alias in node.names if f"{base}.{alias.name}" not in MODULES} - {"__version__"}
        unlisted |= {f"{base}.{name}" for name in taken - listed(ast.parse(MODULES[base].read_text()))}
    assert unlisted == set()
