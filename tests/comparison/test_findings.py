from __future__ import annotations

import re
from dataclasses import replace

import pytest

from quantus_vit.comparison.cases import Case
from quantus_vit.comparison.findings import ReportContent, caveats, findings
from quantus_vit.comparison.methods import METHODS
from quantus_vit.comparison.metrics import METRICS
from quantus_vit.comparison.sampling import Selection
from quantus_vit.comparison.scores import Score
from quantus_vit.comparison.significance import significance
from quantus_vit.comparison.statistics import table
from quantus_vit.comparison.summary import Summary

from .toys import protocol


def content_of(values: dict[tuple[str, str], list[float]], higher: bool = True, **changes) -> ReportContent:
    scores = [
        Score(f"{index}.png", "a", "a", "a", method, metric, value)
        for (metric, method), numbers in values.items()
        for index, value in enumerate(numbers)
    ]
    specs = {
        metric: replace(METRICS["FaithfulnessEstimate"], name=metric.split("[")[0], higher_is_better=higher)
        for metric, _ in values
    }
    content = ReportContent(
        protocol=protocol(),
        environment={},
        dataset="toys",
        task="multiclass",
        labels=("a", "b", "c"),
        selection=Selection((Case(0, "0.png", "a", 0),), {"a": 1, "b": 0, "c": 0}, 1),
        scores=scores,
        predictions=[],
        summary=Summary(table(scores), significance(scores)),
        failures=[],
        notes=[],
        metrics=specs,
        methods={method: METHODS["Random"] for _, method in values},
        foreign_rows=0,
        complete=True,
    )
    return replace(content, **changes)


RISING = [0.01 * index for index in range(12)]
HIGH = [0.5 + 0.02 * index for index in range(12)]


def test_findings_name_the_order_and_the_confirmed_differences() -> None:
    (sentence,) = findings(content_of({("F", "A"): RISING, ("F", "B"): HIGH}))
    assert re.search(r"higher is better\), by mean: B 0\.610 \([^)]*\), A 0\.055 \(", sentence)
    # 12 pairs of one sign: two-sided p = 2 / 2**12
    assert "Significantly different (paired tests, 0.05 after Holm's correction): A and B (p = 0.00049)." in sentence


def test_findings_turn_around_where_lower_is_better() -> None:
    (sentence,) = findings(content_of({("F", "A"): RISING, ("F", "B"): HIGH}, higher=False))
    assert re.search(r"lower is better\), by mean: A 0\.055 \([^)]*\), B 0\.610 \(", sentence)


def test_findings_do_not_claim_what_is_not_confirmed() -> None:
    (sentence,) = findings(content_of({("F", "A"): [0.1, 0.5, 0.3], ("F", "B"): [0.2, 0.4, 0.4]}))
    assert "No two methods differ significantly" in sentence
    assert "no proof that they are equal: a sample of this size shows differences of" in sentence


def test_findings_say_when_the_baseline_decides() -> None:
    sentences = findings(
        content_of(
            {
                ("F[baseline=0.0]", "A"): HIGH,
                ("F[baseline=0.0]", "B"): RISING,
                ("F[baseline=black]", "A"): RISING,
                ("F[baseline=black]", "B"): HIGH,
            }
        )
    )
    assert len(sentences) == 3
    assert "A leads under F[baseline=0.0]; B leads under F[baseline=black]" in sentences[2]


def test_findings_of_a_metric_without_scores() -> None:
    nan = float("nan")
    assert findings(content_of({("F", "A"): [nan, nan]})) == ["F: no image has a score."]


def test_caveats_say_whose_removal_a_method_was_scored_under() -> None:
    names = ("LimeCXR", "LimeCXR[replacement=mean]", "Occlusion")
    values = {("F", name): RISING for name in names}
    methods = {name: METHODS[name.split("[")[0]] for name in names}
    matched = " ".join(caveats(content_of(values, methods=methods)))
    assert "The replacement of LimeCXR, Occlusion is the metric's" in matched
    assert "Where that of LimeCXR[replacement=mean] is not the metric's" in matched
    own = " ".join(caveats(content_of(values, methods=methods, protocol=protocol(lime_replacement="mean"))))
    assert "Where that of LimeCXR, LimeCXR[replacement=mean], Occlusion is not the metric's" in own
    assert "is the metric's, so that" not in own
    assert "Replacing parts" not in " ".join(caveats(content_of(values)))


def test_caveats_warn_of_boxes() -> None:
    content = content_of({("F", "A"): RISING})
    rows = [replace(row, mask_kind="box") for row in content.summary.table]
    assert "Some masks are boxes" in " ".join(caveats(replace(content, summary=Summary(rows, []))))
    assert "boxes" not in " ".join(caveats(content))


def test_means_stand_with_their_intervals() -> None:
    content = content_of({("F", "A"): RISING, ("F", "B"): HIGH})
    row = next(row for row in content.summary.table if row.method == "A")
    assert f"A 0.055 ({row.ci_low:.3f} to {row.ci_high:.3f})" in findings(content)[0]


def test_a_method_that_does_not_answer_hard_cases_is_set_beside_the_others_on_what_it_answers() -> None:
    nan = float("nan")
    (sentence,) = findings(content_of({("F", "Honest"): [0.9, 0.9, 0.1, 0.1], ("F", "Picky"): [0.6, 0.6, nan, nan]}))
    assert "by mean: Picky 0.600 (0.600 to 0.600; 2 of 4 cases without a score), Honest 0.500 (" in sentence
    assert "over the 2 cases that have scores of all: Honest 0.900, Picky 0.600." in sentence


def test_methods_without_a_case_in_common_are_not_set_beside_each_other() -> None:
    nan = float("nan")
    (sentence,) = findings(content_of({("F", "A"): [0.9, nan], ("F", "B"): [nan, 0.2]}))
    assert "no case has a score of every method" in sentence
    assert "Nothing is tested: no two patients or images have scores of two methods." in sentence


def test_one_image_is_no_test() -> None:
    (sentence,) = findings(content_of({("F", "A"): [0.9], ("F", "B"): [0.1]}))
    assert sentence.endswith("Nothing is tested: no two patients or images have scores of two methods.")
    assert not re.search("significant|nan", sentence)


def test_controls_alone_are_not_said_to_be_tested() -> None:
    content = content_of({("F", "A"): RISING, ("F", "B"): HIGH})
    content = replace(content, summary=replace(content.summary, significance=[]))
    assert findings(content)[0].endswith("Nothing is tested: controls are not tested against each other.")


def test_the_power_is_told_of_the_pairs_that_do_not_differ() -> None:
    close = [value + (-1) ** index * 0.1 for index, value in enumerate(HIGH)]
    values = {("F", "A"): RISING, ("F", "B"): HIGH, ("F", "C"): close}
    (sentence,) = findings(content_of(values))
    assert "A and B (p = " in sentence
    assert "the other pairs do not differ significantly. That is no proof that they are equal" in sentence


def test_caveats_name_what_the_protocol_was_run_without() -> None:
    content = content_of({("F", "A"): RISING}, environment={"left_out": ["MaskPrior", "AUPRC"]})
    assert "Left out of the protocol custom" in " ".join(caveats(content))
    assert "MaskPrior, AUPRC" in " ".join(caveats(content))


def test_many_pairs_that_were_not_tested_are_counted() -> None:
    nan = float("nan")
    values = {("F", name): [0.1 * i + 0.01 * number for i in range(6)] for number, name in enumerate("ABCD")}
    (sentence,) = findings(content_of(values | {("F", "Rare"): [0.4, *[nan] * 5]}))
    assert sentence.endswith("Not tested, for want of cases with scores of both: 4 pairs, all with Rare.")
    assert not re.search(r"differences of \d\S*e-1", sentence)  # equal distances are no power, but rounding


@pytest.mark.parametrize("others", [(), ("B",)])
def test_means_over_the_same_cases_are_not_said_to_be_over_different_ones(others: tuple[str, ...]) -> None:
    nan = float("nan")
    values = {("F", "A"): [nan, *RISING[1:]]} | {("F", name): [nan, *HIGH[1:]] for name in others}
    (sentence,) = findings(content_of(values))
    assert "1 of 12 cases without a score" in sentence
    assert "over different cases" not in sentence


def test_a_method_without_any_score_does_not_make_the_others_means_differ_in_cases() -> None:
    nan = float("nan")
    (sentence,) = findings(content_of({("F", "A"): RISING, ("F", "B"): HIGH, ("F", "Constant"): [nan] * 12}))
    assert "No score at all: Constant." in sentence
    assert "over different cases" not in sentence
