"""Options that are chosen on the Val split: against the best of a search by hand, and by the command on phantoms."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from quantus_vit.cli import main
from quantus_vit.comparison import choose_on_val
from quantus_vit.comparison.cases import data_digest
from quantus_vit.comparison.metrics import METRICS, build_scorers
from quantus_vit.comparison.protocol import Protocol

from .test_command import checkpoint, fails  # noqa: F401
from .toys import Images, classifier_of, contribution, lungs_and_lesion, protocol

METRIC = "MaskIoU[share=Val]"


def val_images() -> Images:
    images = Images([0, 1, 0, 1])
    images.split = "Val"
    return images


def settings(contribution_method: str, **changes) -> Protocol:
    test = Images([0, 1, 2])
    given = {"methods": (contribution_method, "CentrePrior"), "metrics": (METRIC,), "data_digest": data_digest(test)}
    return protocol(**(given | changes))


def overlap(relevance: np.ndarray, mask: np.ndarray, share: float) -> float:
    count = max(1, round(share * relevance.size))
    top = np.zeros(mask.size, dtype=bool)
    top[np.argsort(-relevance, axis=None)[:count]] = True
    return float((top & mask.ravel()).sum() / (top | mask.ravel()).sum())


def test_each_mask_has_the_share_that_is_best_on_val(tmp_path, model, contribution_method) -> None:
    val = val_images()
    found = choose_on_val(tmp_path, settings(contribution_method), classifier_of(model), val, quiet=True)
    masks = dict(zip(("lung", "infection"), lungs_and_lesion(sick=True), strict=True))
    for name, mask in masks.items():
        means = {}
        for share in METRICS["MaskIoU"].choices["share"]:
            values = []
            for index, record in enumerate(val.records):
                image = val.sample(index, None).image[None]
                target = val.class_names.index(record.labels[0])
                values.append(overlap(contribution(model, image, [target])[0, 0], mask, share))
            means[share] = np.mean(values)
        best = max(means, key=means.__getitem__)
        assert found.chosen_values()[f"MaskIoU[share=Val,mask={name}]"] == best


@pytest.mark.parametrize(("mask", "share"), [("lung", 0.5), ("infection", 0.1)])  # they fill 36/64 and 6/64
def test_a_map_of_the_mask_itself_has_the_masks_own_area(tmp_path, model, mask: str, share: float) -> None:
    asked = settings(f"MaskPrior[mask={mask}]", methods=(f"MaskPrior[mask={mask}]",))
    found = choose_on_val(tmp_path, asked, classifier_of(model), val_images(), quiet=True)
    assert found.chosen_values()[f"MaskIoU[share=Val,mask={mask}]"] == share


def test_the_chosen_share_is_what_is_scored(contribution_method) -> None:
    chosen = ("MaskIoU[share=Val,mask=lung]=0.3", "MaskIoU[share=Val,mask=infection]=0.02")
    scorers = build_scorers(settings(contribution_method, chosen=chosen), ("infection", "lung"))
    assert {scorer.mask: scorer.build().share for scorer in scorers} == {"lung": 0.3, "infection": 0.02}


def test_nothing_is_chosen_where_nothing_is_asked(tmp_path, model, contribution_method) -> None:
    plain = settings(contribution_method, metrics=("MaskIoU[share=0.2]",))
    assert choose_on_val(tmp_path, plain, classifier_of(model), val_images()) is plain
    assert not list(tmp_path.iterdir())


def test_a_rerun_and_a_report_take_the_scores_that_are_there(tmp_path, model, contribution_method) -> None:
    asked, classifier, val = settings(contribution_method), classifier_of(model), val_images()
    with pytest.raises(ValueError, match=r"holds no scores by which MaskIoU\[share=Val\] was chosen"):
        choose_on_val(tmp_path, asked, classifier, val, report_only=True)
    first = choose_on_val(tmp_path, asked, classifier, val, quiet=True)
    val.broken = {index: ValueError("read again") for index in range(4)}
    assert choose_on_val(tmp_path, asked, classifier, val, report_only=True) == first


def test_the_compared_split_is_refused(tmp_path, model, contribution_method) -> None:
    test = Images([0, 1, 2])
    with pytest.raises(ValueError, match="on other images than those that are compared"):
        choose_on_val(tmp_path, settings(contribution_method), classifier_of(model), test)


def test_scorers_without_a_choice_are_refused(contribution_method) -> None:
    with pytest.raises(ValueError, match=r"MaskIoU\[share=Val,mask=lung\]: share has not been chosen on the Val split"):
        build_scorers(settings(contribution_method), ("lung",))


def test_settings_of_before_had_nothing_chosen(contribution_method) -> None:
    saved = settings(contribution_method).to_dict()
    del saved["chosen"]
    assert Protocol.from_dict(saved) == settings(contribution_method)
    chosen = replace(settings(contribution_method), chosen=("MaskIoU[share=Val,mask=lung]=0.3",))
    assert Protocol.from_dict(json.loads(json.dumps(chosen.to_dict()))) == chosen
    assert "chosen" in chosen.differences(Protocol.from_dict(saved))[0]


def test_one_command_chooses_and_reports(tmp_path, checkpoint, capsys) -> None:  # noqa: F811
    out = tmp_path / "out"
    arguments = ["compare", "--model", checkpoint, "--protocol", "custom", "--methods", "InputXGradient", "Random",
                 "--metrics", METRIC, "--samples", "2", "--out", str(out), "--quiet", "--device", "cpu"]  # fmt: skip
    assert main(arguments) == 0
    chosen = json.loads((out / "config.json").read_text())["protocol"]["chosen"]
    rows = [f"MaskIoU[share=Val,mask={mask}]" for mask in ("infection", "lung")]
    assert [entry.rpartition("=")[0] for entry in chosen] == rows
    assert json.loads((out / "val" / "config.json").read_text())["protocol"]["split"] == "Val"
    with (out / "table1.csv").open() as file:
        assert {row["metric"] for row in csv.DictReader(file)} == set(rows)
    assert "cases of the Val split before the run" in (out / "report.html").read_text()
    capsys.readouterr()
    assert main([*arguments, "--report-only"]) == 0
    assert "on other images than those that are compared" in fails(capsys, *arguments, "--split", "Val")
