"""What the commands say of places that are none, and before what; and whose bars ``--quiet`` hides."""

from __future__ import annotations

import sys
import warnings

import pytest

from quantus_vit.cli import main
from quantus_vit.cli.quiet import hidden_bars
from quantus_vit.cli.warning_lines import warnings_as_lines
from quantus_vit.data import open_data
from quantus_vit.data.lists import read_rows


def test_misspelt_data_are_told_before_a_model_is_loaded(tmp_path, capsys) -> None:
    for data, message in (
        ("csv:/nowhere/films.csv", "no file '/nowhere/films.csv'"),
        ("folder:/nowhere", "no folder '/nowhere'"),
        ("flder:/nowhere", "unknown data 'flder:/nowhere'"),
    ):
        given = ["--data", data, "--model", f"{tmp_path}/none.safetensors", "--out", str(tmp_path / "out")]
        assert main(["compare", *given]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert "none.safetensors" not in error


def test_a_folder_is_no_table(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="is a folder; csv: takes a table, folder:DIR a folder of images"):
        open_data(f"csv:{tmp_path}")
    with pytest.raises(FileNotFoundError, match="is a folder; give a file in it"):
        read_rows(tmp_path, ["path"])


def test_quiet_hides_the_bars_of_other_packages_and_shows_them_again(monkeypatch) -> None:
    hub = pytest.importorskip("huggingface_hub.utils")
    transformers = pytest.importorskip("transformers.utils.logging")
    assert "transformers" in sys.modules
    before = transformers.is_progress_bar_enabled(), hub.are_progress_bars_disabled()
    with hidden_bars(True):
        assert not transformers.is_progress_bar_enabled()
        assert hub.are_progress_bars_disabled()
    assert (transformers.is_progress_bar_enabled(), hub.are_progress_bars_disabled()) == before
    with hidden_bars(False):
        assert (transformers.is_progress_bar_enabled(), hub.are_progress_bars_disabled()) == before


def test_a_warning_is_one_line_and_said_once() -> None:
    before = warnings.formatwarning
    with warnings_as_lines():
        said = [warnings.formatwarning(text, UserWarning, "code.py", 3) for text in ("two\nlines", "two lines", "more")]
    assert said == ["quantus-vit: warning: two lines\n", "", "quantus-vit: warning: more\n"]
    assert warnings.formatwarning is before


def test_a_folder_below_a_file_is_refused_before_the_work(tmp_path, films, model_file, capsys) -> None:
    out = films / "a.png" / "maps"
    model = ["--model", f"{model_file}:cropping", "--method", "AttentionRollout"]
    assert main(["explain", str(films / "a.png"), *model, "--out", str(out)]) == 2
    assert capsys.readouterr().err.strip() == (
        f"quantus-vit: error: --out {out}: {str(films / 'a.png')!r} is a file; name a folder for the results"
    )
