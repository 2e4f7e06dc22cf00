"""The page as text: what stands in it, what it escapes, what it leaves out, and its parts against other sources."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import math
import re
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from quantus_vit.cli.main import main
from quantus_vit.comparison.confounders import ConfounderRow, RelianceRow
from quantus_vit.comparison.pictures import PictureStore
from quantus_vit.comparison.rank_rows import RankRow
from quantus_vit.comparison.report import page as page_module
from quantus_vit.comparison.report import write_report
from quantus_vit.comparison.report.answer import answer, distrust, places
from quantus_vit.comparison.report.bands import curve_bands
from quantus_vit.comparison.report.bundle import script
from quantus_vit.comparison.report.explorer import disagreement
from quantus_vit.comparison.report.grids import MAP_SIDE, pack_map, pack_mask, pack_picture
from quantus_vit.comparison.report.reading import read_run
from quantus_vit.comparison.report.recording import model_quality
from quantus_vit.comparison.report.sections.ranking import _in_words
from quantus_vit.comparison.report.svg import Line
from quantus_vit.comparison.scores import Curve, Score
from quantus_vit.comparison.significance import SignificanceRow
from quantus_vit.comparison.statistics import TableRow, write_table

from .folders import CASES, EVIL, METHODS, METRICS, SIDE, relevance, write_folder


class Tags(HTMLParser):
    """Elements and ids of a page, as a browser's parser sees them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def ids(self) -> list[str]:
        return [attrs["id"] for _, attrs in self.tags if attrs.get("id")]


@pytest.fixture
def folder(tmp_path) -> Path:
    return write_folder(tmp_path / "run")


def data_of(page: str, name: str = "explorer-data") -> dict:
    return json.loads(re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', page)[1])


def test_names_of_files_are_text_wherever_they_stand(folder) -> None:
    page = write_report([folder]).read_text()
    tags = Tags(page)
    assert EVIL not in page
    assert not [attrs for tag, attrs in tags.tags if "onerror" in attrs]
    assert [case["path"] for case in data_of(page)["cases"]] == [path for path, _ in CASES]
    assert "&lt;b&gt;odd&lt;/b&gt;" in page


def test_ids_are_unique_and_contents_lead_to_sections(folder) -> None:
    page = write_report([folder]).read_text()
    tags = Tags(page)
    assert len(set(tags.ids())) == len(tags.ids())
    links = [attrs["href"][1:] for tag, attrs in tags.tags if tag == "a" and attrs.get("href", "").startswith("#")]
    assert set(links) <= set(tags.ids())
    assert {"answer", "ranking", "explorer", "curves", "groups", "failures", "settings"} <= set(links)


def test_the_policy_names_the_one_script_and_style_by_their_hashes(folder) -> None:
    page = write_report([folder]).read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)[1]
    for tag in ("script", "style"):
        text = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}';" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not [attrs for _, attrs in Tags(page).tags if "style" in attrs]


def test_the_script_is_one_without_imports() -> None:
    text = script()
    assert not re.search(r"^\s*(import|export)\b", text, re.MULTILINE)
    assert text.index("function decodeMap") < text.index("function mediaLoader") < text.index("startExplorer();")


def test_answer_in_two_sentences_with_intervals_and_doubts(folder) -> None:
    first, second = answer(read_run(folder))
    assert first.startswith(
        "By RemovalCurve[removal=tokens], the metric that was declared to decide, AttnLRP with 0.600"
    )
    assert "before LimeCXR with 0.250" in first
    assert "their difference (0.350, 0.100 to 0.600) is significant (p = 0.03" in first
    assert second.startswith("Of 2 methods 1 is significantly better than the best control, Random with 0.000")
    assert second.endswith("not so LimeCXR.")
    doubts = distrust(read_run(folder))
    assert any("4 cases are few" in sentence for sentence in doubts)
    assert any("Sparseness (5 of 12)" in sentence for sentence in doubts)
    assert doubts[-1] == "A caveat."


def test_a_control_on_fewer_images_is_not_the_best_control(folder) -> None:
    with (folder / "table1.csv").open("a") as file:
        file.write(f"MaskPrior,{METRICS[0]},0.9,0.8,1.0,0.9,2,0,faithfulness,,control,0\n")
    _, second = answer(read_run(folder))
    assert "the best control, Random with 0.000" in second


def test_a_method_that_left_cases_unanswered_is_marked_where_it_leads(folder) -> None:
    table = (folder / "table1.csv").read_text()
    row = next(line for line in table.splitlines() if line.startswith(f"AttnLRP,{METRICS[0]}"))
    (folder / "table1.csv").write_text(table.replace(row, row.replace(",4,0,", ",3,1,")))
    assert "n = 3, 1 without a score)" in answer(read_run(folder))[0]
    doubts = [text for text in distrust(read_run(folder)) if text.startswith("Cases without a score")]
    assert len(doubts) == 1
    assert "AttnLRP for 1 of 4. Means over different cases are not comparable" in doubts[0]


def test_nothing_is_said_to_be_tested_on_one_case(folder) -> None:
    rows = [
        SignificanceRow(METRICS[0], *pair, 1, 0.3, math.nan, math.nan, math.nan, math.nan, math.nan, math.nan, 1)
        for pair in (("AttnLRP", "LimeCXR"), ("AttnLRP", "Random"), ("LimeCXR", "Random"))
    ]
    write_table(folder / "significance.csv", SignificanceRow, rows)
    first, second = answer(read_run(folder))
    assert "the two were not tested against each other" in first
    assert second.startswith("Too few cases to test anything against the best control, Random with 0.000")


@pytest.mark.parametrize(("n", "tests", "said"), [(4, 1, True), (6, 1, False), (6, 2, True), (7, 3, False)])
def test_tests_that_can_never_be_significant_are_told(folder, n, tests, said) -> None:
    """By scipy's own test of differences that all have one sign, the clearest case there is."""
    p = stats.wilcoxon(np.arange(1.0, n + 1)).pvalue
    assert (p * tests >= 0.05) == said
    pairs = [("AttnLRP", "Random"), ("AttnLRP", "LimeCXR"), ("LimeCXR", "Random")][:tests]
    rows = [SignificanceRow(METRICS[0], *pair, n, 0.1, 0.0, 0.2, 0.0, 0.3, 0.9, 0.5, n) for pair in pairs]
    write_table(folder / "significance.csv", SignificanceRow, rows)
    assert any("No difference can be significant" in text for text in distrust(read_run(folder))) == said


@pytest.mark.parametrize(("n", "said"), [(1, "nothing is tested"), (4, "has no result")])
def test_ranks_without_a_test_say_so(n: int, said: str) -> None:
    ranks = [RankRow("AUPRC", name, "method", 2.0, n, math.nan, math.nan, math.nan, "a") for name in ("A", "B", "C")]
    sentence = _in_words("AUPRC", ranks)
    assert said in sentence
    assert "nan" not in sentence


def test_one_method_alone_is_named_against_the_control(folder) -> None:
    table = (folder / "table1.csv").read_text().splitlines(keepends=True)
    (folder / "table1.csv").write_text("".join(line for line in table if not line.startswith("LimeCXR")))
    first, second = answer(read_run(folder))
    assert first.endswith("n = 4) is the only method with a score.")
    assert second.startswith("AttnLRP is significantly better than the best control, Random with 0.000")


def test_an_unfinished_run_says_so_first(folder) -> None:
    run = read_run(write_folder(folder, complete=False))
    assert distrust(run)[0].startswith("The run is not finished: scores cover 4 of 4 cases")


def test_sections_without_data_are_left_out(folder) -> None:
    for name in ("curves.csv", "meta_evaluation.csv", "errors.csv", "notes.csv", "by_class.csv", "sensitivity.csv"):
        (folder / name).unlink()
    for file in (folder / "pictures").iterdir():
        file.unlink()
    ids = Tags(write_report([folder]).read_text()).ids()
    assert not {"curves", "explorer", "failures", "groups", "sensitivity", "confounders", "model"} & set(ids)
    assert {"answer", "ranking", "settings"} <= set(ids)


def test_studies_have_a_section_each_where_their_files_are(folder) -> None:
    (folder / "sensitivity.csv").write_text(
        "metric,removal,seed,method,rank\nM,mean,0,AttnLRP,1.0\nM,mean,0,LimeCXR,2.0\n"
        "M,black,0,AttnLRP,2.0\nM,black,0,LimeCXR,1.0\nM,blur,0,AttnLRP,1.0\nM,blur,0,LimeCXR,2.0\n"
    )
    (folder / "sensitivity_agreement.csv").write_text(
        "group,settings,kendall_w,ci_low,ci_high,winner,winner_share,holds\n"
        "all,3,0.11,0.0,0.5,AttnLRP,0.667,0\nseed=0,3,1.0,0.9,1.0,AttnLRP,1.0,1\n"
    )
    (folder / "removal_shift.csv").write_text("removal,logit_shift\nmean,0.25\n")
    page = write_report([folder]).read_text()
    assert {"sensitivity", "removal"} <= set(Tags(page).ids())
    assert "<td>2 of 3</td>" in page  # AttnLRP comes first in two settings of three
    assert "ranking holds" in page
    assert page.index("<td>no</td>") < page.index("<td>yes</td>")  # as words, not as 0 and 1


def write_study(folder: Path) -> Path:
    """Tables of a study of confounders: a clean model and one that relies on its tube, which one method shows."""
    folder.mkdir()
    nan = float("nan")
    rows = [
        ConfounderRow("tube", 0.0, "AttnLRP", "method", 20, 0.1, 0.05, 0.2, 0.02, 0.01, 0.03, nan, nan, nan, 0, 0, 0.1),
        ConfounderRow("tube", 100.0, "AttnLRP", "method", 20, 0.8, 0.7, 0.9, 0.2, 0.1, 0.3, 0.95, 0.9, 1, 0.9, 0.7, 1),
    ]
    models = [RelianceRow("tube", 0.0, 20, 0.01, -0.02, 0.03, 0.0), RelianceRow("tube", 100.0, 20, 0.8, 0.7, 0.9, 1.0)]
    write_table(folder / "confounders.csv", ConfounderRow, rows)
    write_table(folder / "confounder_models.csv", RelianceRow, models)
    return folder


def test_a_study_of_confounders_is_shown_where_it_is_given(folder, tmp_path, capsys) -> None:
    study = write_study(tmp_path / "study")
    assert main(["report", str(study), str(folder), "--out", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "confounders" in Tags(page).ids()
    assert "tube on 100 % of its class: the model relies on it" in page
    assert "<td>0.950 (0.900 to 1.000)</td>" in page  # AUC
    start = page.index('<section id="confounders"')
    assert "nan" not in page[start : page.index("</section>", start)]
    assert "confounders" not in Tags(write_report([folder]).read_text()).ids()
    other = write_folder(tmp_path / "other")
    assert main(["report", str(folder), str(other), str(study), "--out", str(tmp_path / "page.html")]) == 0
    assert {"scores", "confounders"} <= set(Tags((tmp_path / "page.html").read_text()).ids())
    assert main(["report", str(study)]) == 2
    assert f"{str(study)!r} is a study of confounders, which is shown beside" in capsys.readouterr().err
    (study / "confounder_models.csv").write_text("artefact,percent\n")
    assert main(["report", str(folder), str(study)]) == 2
    assert "confounder_models.csv' lacks the columns ci_high, ci_low, flipped, n, reliance" in capsys.readouterr().err


def test_the_model_page_opens_the_report_with_intervals(folder) -> None:
    quality = {
        "test": {
            "count": 157, "accuracy": 121 / 157, "recall": {"COVID-19": 21 / 26, "Normal": 100 / 131},
            "confusion": [[21, 5], [31, 100]], "calibration_error": [0.05, 0.02, 0.09],
        }
    }  # fmt: skip
    page = write_report([write_folder(folder, model_quality=quality)]).read_text()
    assert Tags(page).ids().index("model") < Tags(page).ids().index("answer")
    assert "0.020 to 0.090" in page
    # Wilson's interval of 121 of 157 by his formula.
    z, p, n = 1.959964, 121 / 157, 157
    middle, half = (
        (p + z**2 / (2 * n)) / (1 + z**2 / n),
        z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n),
    )
    assert f"{middle - half:.3f} to {middle + half:.3f}" in page
    assert "21 (81%" in page


def test_quality_is_taken_from_beside_the_model(tmp_path) -> None:
    model = tmp_path / "model.safetensors"
    assert model_quality(str(model)) is None
    model.touch()
    assert model_quality(str(model)) is None
    (tmp_path / "metrics.json").write_text('{"test": {"count": 3}}')
    assert model_quality(str(model)) == {"test": {"count": 3}}
    assert model_quality("timm:vit_tiny_patch16_224") is None


def unpacked(packed: dict) -> np.ndarray:
    """What the page's codec makes of a map, in NumPy."""
    steps = np.frombuffer(zlib.decompress(base64.b64decode(packed["data"])), np.uint8).reshape(packed["h"], packed["w"])
    codes = np.cumsum(steps, axis=1, dtype=np.uint8).astype(np.int8).astype(float)
    return np.sign(codes) * (codes / 127) ** 2 * packed["max"]


def test_a_map_survives_packing_and_keeps_every_sign() -> None:
    generator = np.random.default_rng(0)
    values = (generator.normal(size=(40, 56)) ** 3).astype(np.float32)
    values[3, 5] = 0.0
    packed = pack_map(values)
    result = unpacked(packed)
    assert packed["signed"]
    np.testing.assert_array_equal(np.sign(result), np.sign(values))
    # A step of the root's codes: |sqrt(v) - sqrt(v')| is at most 1/127 of the root of the largest.
    largest = np.abs(values).max()
    assert (np.abs(np.sqrt(np.abs(result)) - np.sqrt(np.abs(values))) <= np.sqrt(largest) / 127 + 1e-6).all()
    assert packed["full"] == pytest.approx(np.quantile(np.abs(values), 0.995, method="higher"))


def test_larger_maps_are_means_over_areas() -> None:
    values = np.random.default_rng(1).random((2 * MAP_SIDE, 2 * MAP_SIDE)).astype(np.float32)
    packed = pack_map(values)
    means = values.reshape(MAP_SIDE, 2, MAP_SIDE, 2).mean(axis=(1, 3))
    assert (packed["h"], packed["w"]) == (MAP_SIDE, MAP_SIDE)
    np.testing.assert_allclose(np.sqrt(unpacked(packed)), np.sqrt(means), atol=1 / 127)
    assert not packed["signed"]


def test_empty_maps_and_odd_values_do_not_break_packing() -> None:
    assert not unpacked(pack_map(np.zeros((4, 4)))).any()
    assert np.isfinite(unpacked(pack_map(np.array([[np.nan, np.inf], [1.0, -1.0]])))).all()


def test_masks_and_pictures_survive_packing(tmp_path) -> None:
    mask = np.random.default_rng(2).random((13, 11)) > 0.5
    bits = np.unpackbits(np.frombuffer(zlib.decompress(base64.b64decode(pack_mask(mask))), np.uint8), count=mask.size)
    np.testing.assert_array_equal(bits.reshape(mask.shape).astype(bool), mask)
    grey = np.linspace(0, 255, 64 * 64).reshape(64, 64).astype(np.uint8)
    data = base64.b64decode(pack_picture(grey).partition(",")[2])
    assert np.abs(np.asarray(Image.open(io.BytesIO(data)).convert("L")).astype(int) - grey).max() < 12
    store = PictureStore(tmp_path)
    store.save("x/y.png", "COVID-19", grey, {"lung": grey > 100}, {"lung": "pixel"})
    picture = store.load("x/y.png", "COVID-19")
    np.testing.assert_array_equal(picture.grey, grey)
    np.testing.assert_array_equal(picture.masks["lung"], grey > 100)
    assert store.load("x/y.png", "Normal") is None


def test_bands_are_bootstrap_intervals_of_whole_patients() -> None:
    generator = np.random.default_rng(3)
    rows, owners = [], {}
    for number in range(12):
        values = generator.normal(size=3).round(3)
        rows.append(Curve(f"{number}", "A", "M", "R", "mif", " ".join(map(str, values))))
        owners[f"{number}", "A"] = number // 3
    (band,) = curve_bands(rows, owners)
    curves = np.array([row.values() for row in rows])
    changes = curves - curves[:, :1]
    np.testing.assert_allclose(band.mean, changes.mean(axis=0), atol=1e-12)
    assert band.mean[0] == band.low[0] == band.high[0] == 0
    # By hand: four patients of three cases each, 256 equally likely draws.
    patients = changes.reshape(4, 3, 3).mean(axis=1)
    draws = np.stack(np.meshgrid(*[np.arange(4)] * 4), axis=-1).reshape(-1, 4)
    exact = np.quantile(patients[draws].mean(axis=1)[:, 1], [0.025, 0.975])
    np.testing.assert_allclose([band.low[1], band.high[1]], exact, atol=0.15)
    (alone,) = curve_bands(rows[:3], owners)
    assert np.isnan(alone.low).all()


def test_disagreement_is_zero_for_equal_orders_and_two_for_opposite_ones() -> None:
    one = np.random.default_rng(4).random((28, 28)).astype(np.float32)
    assert disagreement([one, 5 * one]) == pytest.approx(0.0, abs=1e-3)
    assert disagreement([one, -one]) == pytest.approx(2.0, abs=1e-3)
    assert disagreement([one]) is None
    assert disagreement([one, np.zeros_like(one)]) is None


def test_no_two_lines_look_alike() -> None:
    looks = {Line("m", (), (), (), number).classes for number in range(64)}
    assert len(looks) == 64


def test_the_explorer_has_scores_predictions_and_maps(folder) -> None:
    page = write_report([folder]).read_text()
    data, media = data_of(page), data_of(page, "media-1")
    assert [method["label"] for method in data["methods"]] == list(METHODS)
    assert data["cases"][2]["scores"] == [[0.9, -0.9], [0.3, -0.3], [-0.1, 0.1]]
    prediction = data["cases"][2]["predictions"][0]
    assert (prediction["predicted"], prediction["correct"], prediction["target"]) == ("Normal", False, "COVID-19")
    kept = {(entry["method"], entry["class"]) for entry in media["maps"]}
    assert kept == {(0, "COVID-19"), (1, "COVID-19"), (2, "COVID-19"), (0, "Normal")}
    entry = next(one for one in media["maps"] if (one["method"], one["class"]) == (0, "COVID-19"))
    np.testing.assert_allclose(unpacked(entry), relevance(0, 0, 0)[0], atol=0.04)
    assert (media["h"], media["w"]) == (SIDE, SIDE)
    assert [(mask["name"], mask["kind"]) for mask in media["masks"]] == [("lung", "pixel"), ("infection", "box")]
    shared = max(data_of(page, f"media-{n}")["maps"][1]["full"] for n in range(2, 5))
    assert data["methods"][1]["shared"] == pytest.approx(max(shared, media["maps"][2]["full"]))


def test_beyond_a_limit_pictures_lie_beside_the_page(folder) -> None:
    page = write_report([folder], most_inside=1000)
    text, beside = page.read_text(), folder / "report_files"
    assert "media-1" not in text
    assert data_of(text)["folder"] == "report_files"
    assert sorted(file.name for file in beside.iterdir()) == ["1.js", "2.js", "3.js", "4.js"]
    assert (beside / "2.js").read_text().startswith('quantusVitMedia(2,{"h":32')
    write_report([folder])
    assert not beside.exists()


def test_87_images_and_8_methods_stay_below_10_megabytes() -> None:
    """Three methods with noise in every pixel, five by patches, all of them random; pictures of films, with grain."""
    generator = np.random.default_rng(5)
    noise = generator.normal(size=(224, 224)).astype(np.float32)
    grid = Image.fromarray(generator.random((14, 14)).astype(np.float32))
    patches = np.asarray(grid.resize((224, 224), Image.Resampling.BILINEAR))
    film = np.clip(160 * patches + 40 + 4 * noise, 0, 255).astype(np.uint8)
    maps = 3 * len(pack_map(noise)["data"]) + 5 * len(pack_map(patches)["data"]) + 8 * 150
    assert 87 * (maps + len(pack_picture(film))) < page_module.MOST_INSIDE


def test_runs_side_by_side(tmp_path) -> None:
    first = write_folder(tmp_path / "a" / "run")
    second = write_folder(tmp_path / "b" / "run", sample_seed=1)
    page = write_report([first, second])
    assert page == first / "side_by_side.html"
    text, data = page.read_text(), data_of(page.read_text())
    assert data["runs"] == ["a/run", "b/run"]
    assert [method["label"] for method in data["methods"]][:4] == [f"a/run: {m}" for m in METHODS] + ["b/run: AttnLRP"]
    assert len(data["cases"]) == len(CASES)
    assert "<td>1. 0.600 (-0.200 to 0.800)</td>" in text
    assert "sample_seed" in text
    assert re.findall(r'<th scope="row">(sample_seed|split)</th>', text) == ["sample_seed"]
    cells = r'tokens\]</th><td class="number">2</td>.*?data-value="([\d.]+)'
    agreement = re.search(cells, text[text.index('id="agreement"') :])
    assert float(agreement[1]) == 1.0
    with pytest.raises(ValueError, match="a folder is given twice"):
        write_report([first, first])


def test_what_to_distrust_names_the_runs_it_is_about(tmp_path) -> None:
    runs = [write_folder(tmp_path / name, **changes) for name, changes in (
        ("done", {}), ("cut", {"complete": False}), ("drawn", {"dataset": "phantom"}))]  # fmt: skip
    page = write_report(runs).read_text()
    warned = html.unescape(page[page.index("What to distrust") : page.index("</ul>", page.index("What to distrust"))])
    assert "<li>All runs: 4 cases are few" in warned
    assert "<li>cut: The run is not finished" in warned
    assert "<li>drawn: Phantoms are drawn by code" in warned


def test_damaged_and_foreign_folders_are_refused_with_the_reason(folder, tmp_path, capsys) -> None:
    assert main(["report", str(tmp_path / "nothing")]) == 2
    assert "is no result folder of 'quantus-vit compare'" in capsys.readouterr().err
    (folder / "table1.csv").write_text("method,metric\nA,B\n")
    assert main(["report", str(folder)]) == 2
    assert "lacks the columns" in capsys.readouterr().err
    (folder / "run.json").unlink()
    assert main(["report", str(folder)]) == 2
    assert "--report-only" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "reason"), [("{}", "'cases' is missing"), ("[]", ""), ("{", "")])
def test_a_damaged_run_file_is_told_in_one_line(folder, capsys, text, reason) -> None:
    (folder / "run.json").write_text(text)
    assert main(["report", str(folder)]) == 2
    said = capsys.readouterr().err
    assert f"{str(folder)!r} holds a damaged config.json or run.json: {reason}" in said
    assert len(said.splitlines()) == 1


def test_a_page_that_cannot_be_written_is_named(folder, tmp_path, capsys) -> None:
    (tmp_path / "place").mkdir()
    for out in (tmp_path / "place", tmp_path / "nowhere" / "page.html"):
        assert main(["report", str(folder), "--out", str(out)]) == 2
        said = capsys.readouterr().err
        assert said.rstrip().endswith(repr(str(out)))
        assert ".new" not in said


def test_the_command_rebuilds_the_page(folder, tmp_path, capsys) -> None:
    assert main(["report", str(folder), "--out", str(tmp_path / "page.html")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "page.html")
    assert "Explorer" in (tmp_path / "page.html").read_text()


def test_rows_of_other_runs_are_left_out(folder) -> None:
    rows = read_run(folder).scores
    foreign = [replace(rows[0], path="other.png"), replace(rows[0], method="Other"), rows[0]]
    write_table(folder / "scores.csv", Score, [*rows, *foreign])
    assert read_run(folder).scores == rows
    assert len(rows) == len(METHODS) * len(METRICS) * len(CASES)


def test_equal_means_share_a_place(folder) -> None:
    run = read_run(folder)
    rows = [replace(row, mean=0.6) if row.method == "LimeCXR" else row for row in run.table]
    write_table(folder / "table1.csv", TableRow, rows)
    assert places(read_run(folder), run.metrics[0]) == {"AttnLRP": 1, "LimeCXR": 1, "Random": 3}
    assert answer(read_run(folder))[0] == (
        "By RemovalCurve[removal=tokens], the metric that was declared to decide, AttnLRP with 0.600 (95 % interval "
        "-0.200 to 0.800, n = 4) and LimeCXR with 0.600 (95 % interval -0.200 to 0.800, n = 4) share the first place."
    )
    assert places(run, replace(run.metrics[0], higher_is_better=False)) == {"AttnLRP": 3, "LimeCXR": 2, "Random": 1}
