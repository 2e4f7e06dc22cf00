"""Figures for print: sizes, embedded fonts, names, and what is drawn."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib import rc_context, rcParams
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from quantus_vit.cli.main import main
from quantus_vit.comparison.printing import FIGURES, PrintRequest, base, print_figures
from quantus_vit.comparison.printing.base import WIDTHS
from quantus_vit.comparison.rank_rows import RankRow, rank_rows
from quantus_vit.comparison.report.reading import read_run
from quantus_vit.comparison.scores import Score
from quantus_vit.comparison.statistics import write_table

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


@pytest.mark.parametrize("width", WIDTHS.values())
def test_scores_of_many_methods_stay_on_a_page(folder, width) -> None:
    figure = drawn(folder, "scores", METHODS * 8, width)
    assert figure.axes
    assert figure.get_figheight() <= base.TALLEST


def test_the_ranking_has_the_places_of_the_table(folder) -> None:
    axes = drawn(folder, "ranking").axes[0]
    # AttnLRP leads by the first metric and is last by the second, whose means are the negative ones.
    assert axes.images[0].get_array().tolist() == [[1, 2, 3], [3, 2, 1]]


@pytest.fixture
def own(tmp_path) -> Path:
    return write_folder(tmp_path / "run")


def ranked(folder: Path, difference: float, images: int = 40, name: str = "A") -> list[RankRow]:
    """Ranks in a folder: the first method and B differ by as much as is asked for, the control C is far behind."""
    generator = np.random.default_rng(0)
    scores = [
        Score(f"{case}.png", "x", "x", "x", method, "F", mean + generator.standard_normal())
        for method, mean in ((name, difference), ("B", 0.0), ("C", -9.0))
        for case in range(images)
    ]
    rows = rank_rows(scores, {"F": True}, {name: "method", "B": "method", "C": "control"})
    unranked = [RankRow("G", row.method, row.role, float("nan"), 0, 0.0, 1.0, 0.0, "") for row in rows]
    write_table(folder / "ranks.csv", RankRow, [*rows, *unranked])
    return rows


BAR = "#0072B2"


def test_critical_differences_have_names_ranks_and_bars_of_the_rows(own) -> None:
    rows = ranked(own, 0.0)
    (axes,) = drawn(own, "critical_difference").axes  # none for the metric in which nothing is ranked
    texts = {text.get_text(): text for text in axes.texts}
    for row in rows:
        assert texts[row.method].get_color() == ("0.45" if row.role == "control" else "black")
    assert f"critical difference {rows[0].critical_difference:.2f}" in texts
    assert "F   n = 40, Friedman p < 0.0001" in texts
    ticks = {rank: texts[str(rank)].get_position()[0] for rank in (1, 2, 3)}

    def place(rank: float) -> float:
        return ticks[1] + (rank - 1) * (ticks[2] - ticks[1])

    (bar,) = [line for line in axes.lines if line.get_color() == BAR]
    ends = {row.method: place(row.mean_rank) for row in rows}
    assert np.asarray(bar.get_xdata()) == pytest.approx(sorted((ends["A"], ends["B"])), abs=0.021)
    stems = [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 3]
    assert sorted(stems) == pytest.approx(sorted(ends.values()))


def test_methods_that_differ_have_no_bar(own) -> None:
    ranked(own, 4.0)
    (axes,) = drawn(own, "critical_difference").axes
    assert not [line for line in axes.lines if line.get_color() == BAR]


def test_a_critical_difference_longer_than_the_axis_is_told_not_drawn(own) -> None:
    rows = ranked(own, 0.0, images=2)
    assert rows[0].critical_difference > 2
    (axes,) = drawn(own, "critical_difference").axes
    assert any("longer than the axis" in text.get_text() for text in axes.texts)
    assert not [line for line in axes.lines if len(line.get_xdata()) == 6]


@pytest.mark.parametrize("width", WIDTHS.values())
def test_long_names_of_ranked_methods_stay_inside_and_apart(own, width) -> None:
    long = "TransformerLRP[variant=transformer_attribution,stabilizer=0.01]"
    ranked(own, 0.0, name=long)
    figure = drawn(own, "critical_difference", width=width)
    figure.set_dpi(300)
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in figure.axes[0].texts]
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)
    assert not [(a, b) for a, b in itertools.combinations(boxes, 2) if a.overlaps(b)]


@pytest.mark.parametrize("name", ["scores", "curves", "ranking", "maps"])
@pytest.mark.parametrize("width", WIDTHS.values())
def test_long_names_leave_room_for_what_is_drawn_and_stay_apart(tmp_path, name, width) -> None:
    folder = write_folder(tmp_path / "run")
    long = "TransformerLRP[variant=transformer_attribution,stabilizer=0.01]"
    for file in (*folder.glob("*.csv"), *folder.glob("*.json")):
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace("LimeCXR", f'"{long}"' if file.suffix == ".csv" else long), encoding="utf-8")
    with rc_context(base._STYLE):
        figure = drawn(folder, name, ("AttnLRP", long, "Random"), width)
        figure.set_dpi(100)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        renderer = canvas.get_renderer()
        shown = [axes for axes in figure.axes if axes.get_visible() and axes.axison]
        assert all(axes.get_position().width > (0.1 if name == "maps" else 0.25) for axes in shown)
        # The titles of one row of panels, and the words of the legend, lie side by side and inside.
        titles = [axes.title if axes.get_title() else axes._left_title for axes in shown]
        texts = [text for text in titles if text.get_text()]
        texts += [text for legend in figure.legends for text in legend.get_texts()]
        boxes = [text.get_window_extent(renderer) for text in texts]
        assert all(figure.bbox.x0 - 1 <= box.x0 and box.x1 <= figure.bbox.x1 + 1 for box in boxes)
        assert not [(a, b) for a, b in itertools.combinations(boxes, 2) if a.overlaps(b)]


def test_sensitivity_has_the_places_in_every_setting(folder) -> None:
    first, second = drawn(folder, "sensitivity").axes
    names = [label.get_text() for label in first.get_yticklabels()]
    assert names == ["LimeCXR", "AttnLRP", "Random"]  # by mean place
    places = dict(zip(names, first.images[0].get_array().tolist(), strict=True))
    assert places == {"AttnLRP": [2.0] * 4 + [1.5] * 4, "LimeCXR": [1.0] * 4 + [1.5] * 4, "Random": [3.0] * 8}
    assert [label.get_text() for label in first.get_xticklabels()] == ["mean, 64", "tokens, 64"]
    assert sorted(text.get_text() for text in first.texts) == ["1"] * 4 + ["1.5"] * 8 + ["2"] * 4 + ["3"] * 8
    titles = [axes.get_title(loc="left") for axes in (first, second)]
    assert titles == ["RemovalCurve   Kendall's W 0.50 (0.10 to 0.90)", "SaCo   Kendall's W 0.25 (0.00 to 0.75)"]


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
