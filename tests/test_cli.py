"""The command as a process and by its function: what it imports, what it says, what it returns."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

import quantus_vit
from quantus_vit.cli import main

HEAVY = {"torch", "timm", "quantus", "captum", "matplotlib", "transformers", "lightning", "numpy", "scipy", "lime"}
cli_main = sys.modules["quantus_vit.cli.main"]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    found = Path(quantus_vit.__file__).parents[1]
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": str(found), **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize(
    "arguments", [["--version"], ["--help"], ["train", "--help"], ["compare", "--help"], ["explain", "--help"]]
)
def test_version_and_help_import_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; from quantus_vit.cli import main; code = main(sys.argv[1:]); "
        f"print(sorted({HEAVY} & set(sys.modules)), file=sys.stderr); sys.exit(code)"
    )
    done = run("-c", code, *arguments)
    assert done.returncode == 0
    assert done.stderr.strip() == "[]"
    assert "quantus-vit" in done.stdout


def test_the_package_runs_as_a_module() -> None:
    done = run("-m", "quantus_vit.cli", "--version")
    assert done.stdout.strip() == f"quantus-vit {quantus_vit.__version__}"


@pytest.fixture
def subcommand(monkeypatch: pytest.MonkeyPatch):
    """Make ``explain`` do what the test says."""

    def install(function) -> None:
        module = types.SimpleNamespace(add_arguments=lambda parser: None, run=function)
        monkeypatch.setitem(sys.modules, "stand_in", module)
        monkeypatch.setitem(cli_main._COMMANDS, "explain", ("stand_in", "a stand-in"))

    return install


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ValueError("samples must be\nat least 1"), 2, "error: samples must be at least 1"),
        (
            OSError(errno.ENOSPC, "No space left on device", "x/scores.csv"),
            2,
            "No space left on device: 'x/scores.csv'",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "x"), 2, "Permission denied: 'x'"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "f/x"), 2, "Not a directory: 'f/x'"),
        (MemoryError(), 2, "error: MemoryError"),
        (KeyboardInterrupt(), 130, "quantus-vit: interrupted"),
    ],
)
def test_errors_become_one_line_and_an_exit_code(subcommand, capsys, error, code, line) -> None:
    def fail(args):
        raise error

    subcommand(fail)
    assert main(["explain"]) == code
    said = capsys.readouterr().err.strip()
    assert line in said
    assert "\n" not in said


def test_a_closed_pipe_is_one_line() -> None:
    code = (
        "import sys, types; from quantus_vit.cli import main; import quantus_vit.cli.main; "
        "sys.modules['quantus_vit.cli.main']._COMMANDS['explain'] = ('stand_in', ''); "
        "sys.modules['stand_in'] = types.SimpleNamespace(add_arguments=lambda parser: None, "
        "run=lambda args: print('x' * 1000000) or 0); sys.exit(main(['explain']))"
    )
    reader, writer = os.pipe()
    os.close(reader)
    found = str(Path(quantus_vit.__file__).parents[1])
    process = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": found}, stdout=writer, stderr=subprocess.PIPE
    )
    os.close(writer)
    assert process.returncode == 2
    (line,) = process.stderr.decode().strip().splitlines()
    assert "broken pipe" in line


def test_without_a_standard_error_there_is_still_an_exit_code(subcommand, monkeypatch) -> None:
    def fail(args):
        raise ValueError("wrong")

    subcommand(fail)
    monkeypatch.setattr(sys, "stderr", None)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert main(["explain"]) == 2
    assert sys.stdout.getvalue() == ""


def test_names_that_the_terminal_cannot_print_are_escaped() -> None:
    code = (
        "import sys, types; from quantus_vit.cli import main; "
        "sys.modules['quantus_vit.cli.main']._COMMANDS['explain'] = ('stand_in', ''); "
        "sys.modules['stand_in'] = types.SimpleNamespace(add_arguments=lambda parser: None, "
        "run=lambda args: print('r\\u00f6ntgen', '\\udcff.png') or 0); sys.exit(main(['explain']))"
    )
    done = run("-c", code, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "r\\xf6ntgen \\udcff.png"
