"""Figures for print: sizes, embedded fonts, names, and what is drawn."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from matplotlib import rcParams
from PIL import Image

from quantus_vit.cli.main import main
from quantus_vit.comparison.printing import FIGURES, PrintRequest, print_figures
from quantus_vit.comparison.printing.base import WIDTHS
from quantus_vit.comparison.report.reading import read_run

from .folders import METHODS, write_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_folder(tmp_path_factory.mktemp("runs") / "run")


def test_every_figure_comes_in_two_widths_as_png_and_pdf_with_fonts_inside(folder) -> None:
    before = rcParams["pdf.fonttype"]
    files = print_figures(folder, ["all"])
    assert rcParams["pdf.fonttype"] == before
    expected = [f"{name}-{width}.{kind}" for name in FIGURES.names() for width in WIDTHS for kind in ("pdf", "png")]
    assert [file.name for file in files] == expected
    for file in files:
        inches = WIDTHS[file.stem.partition("-")[2]]
        if file.suffix == ".png":
            with Image.open(file) as picture:
                assert picture.width == pytest.approx(300 * inches, abs=2)
                assert picture.height < 300 * 9.5  # a page of a journal
        else:
            data = file.read_bytes()
            box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ", data)
            assert float(box[1]) == pytest.approx(72 * inches, abs=0.5)
            assert b"/FontFile2" in data  # TrueType, not Type 3
            assert b"/Type3" not in data


def drawn(folder: Path, name: str, methods: tuple[str, ...] = METHODS, width: float = 7.2):
    run = read_run(folder)
    chosen = tuple(method for label in methods for method in run.methods if method.label == label)
    return FIGURES[name].draw(PrintRequest(run, chosen, width))


def test_maps_are_of_any_methods_in_their_order(folder) -> None:
    figure = drawn(folder, "maps", ("LimeCXR", "AttnLRP"))
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert sorted(titles) == ["AttnLRP", "LimeCXR", "X-ray"]
    first = [axes for axes in figure.axes if axes.images][:3]
    assert first[1].get_title() == "LimeCXR"
    assert first[1].images[1].norm.vmin == 0
    assert first[2].images[1].norm.vmin < 0  # AttnLRP's relevance is signed
    bars = [axes for axes in figure.axes if axes.get_label() == "<colorbar>"]
    assert len(bars) == 2


def test_maps_that_do_not_fit_go_on_below(folder) -> None:
    run = read_run(folder)
    many = tuple(run.methods) * 2
    figure = FIGURES["maps"].draw(PrintRequest(run, many, 3.5))
    panels = [axes for axes in figure.axes if axes.images and axes.get_label() != "<colorbar>"]
    assert len(panels) == 2 * 2 * (1 + 3)  # two blocks of two classes, each with the X-ray and three maps


def test_the_ranking_has_the_places_of_the_table(folder) -> None:
    axes = drawn(folder, "ranking").axes[0]
    # AttnLRP leads by the first metric and is last by the second, whose means are the negative ones.
    assert axes.images[0].get_array().tolist() == [[1, 2, 3], [3, 2, 1]]


def test_unknown_figures_and_methods_are_refused_with_those_there_are(folder, capsys) -> None:
    assert main(["report", str(folder), "--figures", "map"]) == 2
    assert "unknown figure 'map'" in capsys.readouterr().err
    with pytest.raises(ValueError, match="unknown method 'Foo'; the run has AttnLRP, LimeCXR, Random"):
        print_figures(folder, ["maps"], ["Foo"])
    (folder / "curves.csv").unlink()
    with pytest.raises(ValueError, match="has no data for the figure 'curves'"):
        print_figures(folder, ["curves"])


def test_compare_prints_figures_and_refuses_them_before_the_work(tmp_path, capsys) -> None:
    quick = ["compare", "--samples", "2", "--methods", "AttentionRollout", "Random", "--metrics", "Sparseness"]
    out = ["--quiet", "--threads", "1", "--out", str(tmp_path / "run")]
    assert main([*quick, "--figures", "map", *out]) == 2
    assert "unknown figure 'map'" in capsys.readouterr().err
    assert main([*quick, "--figure-methods", "Random", *out]) == 2
    assert "--figure-methods needs --figures" in capsys.readouterr().err
    assert main([*quick, "--figures", "maps", "--figure-methods", "AttnLRP", *out]) == 2
    assert "'AttnLRP' is none of the compared methods, AttentionRollout, Random" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert main([*quick, "--figures", "maps", "--figure-methods", "Random", *out]) == 0
    assert (tmp_path / "run" / "figures" / "maps-column.pdf").exists()
    page = (tmp_path / "run" / "report.html").read_text()
    assert "synthetic phantoms" in page
    assert main(["report", str(tmp_path / "run")]) == 0
    assert (tmp_path / "run" / "report.html").read_text() == page
