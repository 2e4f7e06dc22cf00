from __future__ import annotations

from quantus_vit.comparison.findings import ReportContent, findings
from quantus_vit.comparison.sampling import Selection
from quantus_vit.comparison.scores import Score
from quantus_vit.comparison.statistics import significance, table

from .toys import protocol


def content_of(values: dict[tuple[str, str], list[float]], higher: bool = True) -> ReportContent:
    scores = [
        Score(f"{index}.png", 0, 0, 0, method, metric, value)
        for (metric, method), numbers in values.items()
        for index, value in enumerate(numbers)
    ]
    return ReportContent(
        protocol=protocol(),
        environment={},
        class_names=("a", "b", "c"),
        selection=Selection((0,), (1, 0, 0), 1),
        scores=scores,
        table=table(scores),
        by_class=[],
        significance=significance(scores),
        spread=[],
        failures=[],
        notes=[],
        higher_is_better={metric: higher for metric, _ in values},
        complete=True,
    )


RISING = [0.01 * index for index in range(12)]
HIGH = [0.5 + 0.02 * index for index in range(12)]


def test_findings_name_the_order_and_the_confirmed_differences() -> None:
    (sentence,) = findings(content_of({("F", "A"): RISING, ("F", "B"): HIGH}))
    assert "higher is better), by mean: B 0.610, A 0.055." in sentence
    # 12 pairs of one sign: two-sided p = 2 / 2**12
    assert "Different at 0.05 after Holm's correction: A and B (p = 0.00049)." in sentence


def test_findings_turn_around_where_lower_is_better() -> None:
    (sentence,) = findings(content_of({("F", "A"): RISING, ("F", "B"): HIGH}, higher=False))
    assert "lower is better), by mean: A 0.055, B 0.610." in sentence


def test_findings_do_not_claim_what_is_not_confirmed() -> None:
    (sentence,) = findings(content_of({("F", "A"): [0.1, 0.5, 0.3], ("F", "B"): [0.2, 0.4, 0.4]}))
    assert "No two methods differ by the paired tests" in sentence


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
    assert findings(content_of({("F", "A"): [nan, nan]})) == ["F: no score at all."]
