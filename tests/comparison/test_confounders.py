"""Confounders: shares and areas against brute force and scipy, and a study of models whose reliance is built in."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from quantus_vit.cli import confounders as command
from quantus_vit.cli.main import main
from quantus_vit.comparison.confounders import (
    ConfounderMap,
    ConfounderSettings,
    ConfounderTables,
    ReliancePair,
    artefact_share,
    confounder_findings,
    confounder_rows,
    reliance_rows,
    study,
    study_confounders,
)
from quantus_vit.comparison.confounders.measure import detection_auc
from quantus_vit.data import ConfoundedPhantom
from quantus_vit.data.preprocessing import Preprocessing
from quantus_vit.models import Classifier

from .toys import CLASSES, read_rows

SIDE = 64


def test_shares_are_those_of_sorting() -> None:
    rng = np.random.default_rng(0)
    relevance, artefact = rng.standard_normal((20, 30)), rng.random((20, 30)) < 0.2
    top = np.argsort(-relevance, axis=None)[:60]
    inside = artefact.ravel()[top].sum()
    assert artefact_share(relevance, artefact) == pytest.approx((inside / artefact.sum(), inside / 60))


def test_equal_pixels_count_as_a_random_order_would_on_average() -> None:
    rng = np.random.default_rng(1)
    relevance, artefact = rng.integers(0, 4, (10, 10)).astype(float), rng.random((10, 10)) < 0.3
    found = []
    for _ in range(4000):
        order = rng.permutation(100)
        top = order[np.argsort(-relevance.ravel()[order], kind="stable")][:10]
        found.append(artefact.ravel()[top].sum())
    coverage, precision = artefact_share(relevance, artefact)
    assert coverage == pytest.approx(np.mean(found) / artefact.sum(), abs=0.005)
    assert precision == pytest.approx(np.mean(found) / 10, abs=0.01)
    assert artefact_share(np.zeros((10, 10)), artefact)[0] == pytest.approx(0.1)  # a map that says nothing: chance


@pytest.mark.parametrize("mask", [np.zeros((4, 4), dtype=bool), np.ones((4, 5), dtype=bool)])
def test_no_artefact_no_share(mask) -> None:
    with pytest.raises(ValueError, match=r"as large as the map, \(4, 4\), and not empty"):
        artefact_share(np.ones((4, 4)), mask)


def test_the_area_is_that_of_mann_and_whitney() -> None:
    rng = np.random.default_rng(2)
    confounded, clean = rng.integers(2, 9, 12) / 10, rng.integers(0, 7, 12) / 10  # with ties
    auc, low, high = detection_auc(confounded, clean)
    assert auc == pytest.approx(stats.mannwhitneyu(confounded, clean).statistic / 144)
    assert low < auc < high <= 1
    assert detection_auc(clean, clean) == (0.5, 0.5, 0.5)


def rows_of(coverage: dict[tuple[float, str], list[float]]):
    maps = [
        ConfounderMap("tube", percent, f"{number}.png", method, value, value / 10, "x")
        for (percent, method), values in coverage.items()
        for number, value in enumerate(values)
    ]
    rows = confounder_rows(maps, {"A": "method", "B": "control"})
    return {(row.percent, row.method): row for row in rows}


def test_rows_compare_with_the_clean_model() -> None:
    rows = rows_of({(0.0, "A"): [0.1, 0.2, 0.6], (100.0, "A"): [0.7, 0.8, 0.9], (100.0, "B"): [0.1, 0.5, 0.4]})
    shown = rows[100.0, "A"]
    assert (shown.auc, shown.accused, shown.coverage, shown.role) == (1.0, 1.0, pytest.approx(0.8), "method")
    assert shown.precision == pytest.approx(0.08)
    clean = rows[0.0, "A"]
    assert math.isnan(clean.auc)
    assert clean.accused == pytest.approx(1 / 3)
    assert clean.accused_low == pytest.approx(stats.binomtest(1, 3).proportion_ci(method="wilson").low)
    assert math.isnan(rows[100.0, "B"].auc)  # the clean model has no map of it
    assert rows[100.0, "B"].accused == pytest.approx(1 / 3)


def test_reliance_is_the_rise_of_the_probability() -> None:
    pairs = [ReliancePair("tube", 80.0, str(i), 0.1, 0.1 + i / 10, int(i > 4), "x") for i in range(9)]
    (row,) = reliance_rows(pairs)
    assert (row.n, row.reliance, row.flipped) == (9, pytest.approx(0.4), pytest.approx(4 / 9))
    assert 0 < row.ci_low < 0.4 < row.ci_high < 0.8
    wilson = stats.binomtest(4, 9).proportion_ci(method="wilson")
    assert (row.flipped_low, row.flipped_high) == pytest.approx((wilson.low, wilson.high))


def test_a_model_that_does_not_rely_judges_no_method() -> None:
    maps = [
        ConfounderMap("tube", percent, str(film), "A", percent / 200 + film / 99, 0.5, "x")
        for percent in (0.0, 50.0) for film in range(6)
    ]  # fmt: skip
    said = {}
    for rise in (0.0, 0.5):
        pairs = [ReliancePair("tube", 50.0, str(film), 0.1, 0.1 + rise, 0, "x") for film in range(6)]
        tables = ConfounderTables(confounder_rows(maps, {"A": "method"}), reliance_rows(pairs))
        said[rise] = " ".join(confounder_findings(tables))
    assert "says nothing for or against a method" in said[0.0]
    assert "says nothing for or against a method" not in said[0.5]
    assert "turns 0 % of them (0 % to 39 %)" in said[0.5]


class Corner(nn.Module):
    """Calls the first class by the brightness of the upper left corner, or of the middle."""

    def __init__(self, where: str) -> None:
        super().__init__()
        weight = torch.zeros(1, SIDE, SIDE)
        if where == "corner":
            weight[:, :10, :10] = 0.004
        else:
            weight[:, 27:37, 27:37] = 0.004
        self.layer = nn.Linear(3 * SIDE * SIDE, 3)
        with torch.no_grad():
            self.layer.weight.zero_()
            self.layer.bias.zero_()
            self.layer.weight[0] = weight.expand(3, -1, -1).flatten()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer(images.flatten(1))


@pytest.fixture
def models(tmp_path: Path, monkeypatch) -> Path:
    """A folder of two models: the one sees the corner, the other does not."""
    for name in ("corner@0", "corner@100", "notes"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_text("")

    def load(path: Path, device: str) -> Classifier:
        where = "corner" if path.parent.name == "corner@100" else "middle"
        return Classifier(Corner(where).eval(), CLASSES, Preprocessing(size=(SIDE, SIDE)))

    monkeypatch.setattr(study, "load_model", load)
    return tmp_path


SETTINGS = ConfounderSettings(methods=("InputXGradient", "Random"), samples=6)


def test_a_study_finds_the_model_that_relies_and_the_method_that_shows_it(models: Path) -> None:
    tables = study_confounders(models, SETTINGS, quiet=True)
    reliance = {row.percent: row for row in tables.models}
    assert reliance[0.0].reliance == pytest.approx(0, abs=1e-6)
    assert reliance[100.0].ci_low > 0.1
    assert reliance[100.0].n == 6
    rows = {(row.percent, row.method): row for row in tables.rows}
    exact = rows[100.0, "InputXGradient"]
    assert exact.auc == 1
    assert exact.accused == 0 or exact.coverage > 0.2
    assert rows[0.0, "InputXGradient"].coverage < exact.coverage
    assert rows[0.0, "Random"].coverage == pytest.approx(0.1, abs=0.06)
    # The same map whatever the model.
    assert (rows[100.0, "Random"].auc, rows[100.0, "Random"].auc_low) == (0.5, 0.5)
    said = " ".join(confounder_findings(tables))
    assert "corner on 100 % of its class: the model relies on it" in said
    assert "corner on 0 % of its class: the model is not seen to rely on it" in said
    assert "covered more of the artefact than on the clean model by InputXGradient (AUC 1.00" in said
    assert "not told from the clean model by Random (0.50)" in said
    assert read_rows(models / "confounders.csv")[0][:5] == ["artefact", "percent", "method", "role", "n"]


def test_a_study_goes_on_where_it_stopped(models: Path, monkeypatch) -> None:
    calls, shares = [], study.artefact_share

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return shares(*arguments)

    monkeypatch.setattr(study, "artefact_share", interrupted)
    with pytest.raises(KeyboardInterrupt):
        study_confounders(models, SETTINGS, quiet=True)
    kept = len(read_rows(models / "confounder_maps.csv")) - 1
    assert kept == 6  # three films of two methods; the fourth was cut
    calls.clear()
    monkeypatch.setattr(study, "artefact_share", lambda *arguments: calls.append(1) or shares(*arguments))
    tables = study_confounders(models, SETTINGS, quiet=True)
    assert len(calls) == 2 * 6 * 2 - kept
    assert {row.n for row in tables.rows} == {6}
    calls.clear()
    more = ConfounderSettings(methods=("InputXGradient", "Random", "Saliency"), samples=6)
    assert len(study_confounders(models, more, quiet=True).rows) == 6
    assert len(calls) == 2 * 6


def test_a_control_may_ask_for_a_map(models: Path) -> None:
    settings = ConfounderSettings(methods=("Blurred[method=InputXGradient]",), samples=2)
    (_, row) = study_confounders(models, settings, quiet=True).rows
    assert row.coverage > 0.1


def test_a_folder_without_models_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no ARTEFACT@PERCENT/model\.safetensors"):
        study_confounders(tmp_path, SETTINGS)
    with pytest.raises(ValueError, match="samples must be 2 films or more"):
        ConfounderSettings(samples=1)
    with pytest.raises(ValueError, match="carrier must be one of COVID-19, Non-COVID, Normal, got 'TB'"):
        ConfounderSettings(carrier="TB")


def test_the_command_trains_what_is_missing(tmp_path: Path, monkeypatch, capsys) -> None:
    trained = []
    monkeypatch.setattr(command.training, "run", lambda args: trained.append(args))
    (tmp_path / "tube@80").mkdir()
    (tmp_path / "tube@80" / "model.safetensors").write_text("")
    assert (
        main(
            ["confounders", "train", "--artefacts", "tube", "letter", "--percents", "80", "50", "--out", str(tmp_path)]
        )
        == 0
    )
    assert [args.data for args in trained] == ["confounded:tube@50", "confounded:letter@80", "confounded:letter@50"]
    assert trained[0].out == str(tmp_path / "tube@50")
    assert trained[0].data_options == ["hidden=0.5", "carrier=COVID-19"]
    assert (trained[0].model, trained[0].augment, trained[0].epochs) == ("vit_tiny_patch16_224", False, 20)
    assert "depth=4" in trained[0].model_kwargs
    assert "is there" in capsys.readouterr().out


def test_one_clean_model_is_the_control_of_all_artefacts(tmp_path: Path, monkeypatch, capsys) -> None:
    def train(args) -> None:
        Path(args.out).mkdir()
        (Path(args.out) / "model.safetensors").write_text(args.data)

    monkeypatch.setattr(command.training, "run", train)
    arguments = ["confounders", "train", "--artefacts", "tube", "letter", "--percents", "0", "100"]
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    made = {path.parent.name: path.read_text() for path in tmp_path.glob("*/model.safetensors")}
    assert made == {
        "tube@0": "confounded:tube@0",
        "letter@0": "confounded:tube@0",
        "tube@100": "confounded:tube@100",
        "letter@100": "confounded:letter@100",
    }
    assert "letter@0/model.safetensors is that of" in capsys.readouterr().out


def test_without_carriers_all_artefacts_have_the_same_films() -> None:
    tube, letter = (ConfoundedPhantom(name, 0.0, 30, seed=1, image_size=32, hidden=0.5) for name in ("tube", "letter"))
    for index in range(30):
        np.testing.assert_array_equal(tube.grey(index), letter.grey(index))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--artefacts", "ring"], "--artefacts must be some of letter, corner, tube, got 'ring'"),
        (["train", "--percents", "120"], "--percents must lie in 0 to 100, got 120"),
        (["score", "--samples", "1"], "samples must be 2 films or more"),
        (["score"], "holds no ARTEFACT@PERCENT"),
    ],
)
def test_the_command_says_what_is_wrong(tmp_path: Path, capsys, arguments, message) -> None:
    assert main(["confounders", *arguments, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("action", ["train", "score"])
def test_the_command_asks_for_a_folder(capsys, action) -> None:
    assert main(["confounders", action, "--out", ""]) == 2
    assert "--out is empty; name a folder for the results" in capsys.readouterr().err


def test_the_command_scores(models: Path, capsys) -> None:
    assert (
        main(["confounders", "score", "--methods", "InputXGradient", "--samples", "4", "--quiet", "--out", str(models)])
        == 0
    )
    said = capsys.readouterr().out
    assert "- corner on 100 % of its class: the model relies on it" in said
    assert said.endswith(f"'quantus-vit report RUN {models}' shows them in the report of a comparison\n")
