"""Sections of the report on what the tests and rankings confirm. Knows rows; it computes nothing but counts."""

from __future__ import annotations

from collections.abc import Sequence

from .findings import ALPHA, ReportContent
from .meta_evaluation import MetaRow
from .page import html_table, number, text_of
from .rank_rows import RankRow
from .significance import POWER

__all__ = ["by_prediction_section", "meta_section", "ranks_section", "tests_section"]


def by_prediction_section(content: ReportContent) -> list[str]:
    """Scores where the model is right, and where it is wrong."""
    if len({row.label for row in content.summary.by_prediction}) < 2:
        return []
    rows = [
        ((row.metric, row.method, row.label, row.mean, row.q1, row.median, row.q3, row.n, row.nan), False)
        for row in content.summary.by_prediction
    ]
    header = ("metric", "method", "prediction", "mean", "1st quartile", "median", "3rd quartile", "n", "nan")
    return ["<h2>By right and wrong predictions</h2>", *html_table(header, rows)]


def tests_section(content: ReportContent) -> list[str]:
    """Paired tests, with the difference that each could have shown."""
    if not content.summary.significance:
        return []
    rows = [
        (
            (
                row.metric,
                f"{row.method_a} - {row.method_b}",
                row.n,
                row.mean_difference,
                f"{number(row.ci_low)} to {number(row.ci_high)}",
                f"{row.p:.2g}",
                f"{row.p_holm:.2g}",
                row.rank_biserial,
                row.detectable,
            ),
            row.p_holm < ALPHA,
        )
        for row in content.summary.significance
    ]
    clustered = any(row.n_patients for row in content.summary.table)
    header = (
        "metric", "pair", "n", "mean difference", "95 % interval", "p", "p (Holm)", "rank-biserial r",
        f"detectable at {POWER:.0%}",
    )  # fmt: skip
    return [
        "<h2>Paired tests</h2>",
        *html_table(header, rows),
        f'<p class="small">Two-sided Wilcoxon signed-rank tests on the images that both methods have a score of'
        f"{', averaged by patient' if clustered else ''}; Holm's correction over all rows; bold where p (Holm) &lt; "
        f"{ALPHA}. Controls are not tested against each other. Detectable: the true mean difference that a paired t "
        f"test of so many {'patients' if clustered else 'images'} finds with a chance of {POWER:.0%} at a level of "
        f"{ALPHA} before correction; a smaller one would probably go unseen.</p>",
    ]


def ranks_section(content: ReportContent) -> list[str]:
    """Mean ranks of the methods, and in words which of them are told apart."""
    rows = content.summary.ranks
    if not rows:
        return []
    metrics = {
        metric: [row for row in rows if row.metric == metric] for metric in dict.fromkeys(r.metric for r in rows)
    }
    sentences = "".join(f"<li>{text_of(_in_words(metric, ranked))}</li>" for metric, ranked in metrics.items())
    cells = [
        ((row.metric, row.method + (" (control)" if row.role == "control" else ""), row.mean_rank, row.groups), False)
        for row in rows
    ]
    return [
        "<h2>Ranks</h2>",
        f"<ul>{sentences}</ul>",
        *html_table(("metric", "method", "mean rank", "groups"), cells),
        f'<p class="small">Methods ranked within each image, 1 is the best. Methods that share a letter lie less than '
        f"Nemenyi's critical difference apart, at a level of {ALPHA}: they do not differ significantly.</p>",
    ]


def _in_words(metric: str, rows: Sequence[RankRow]) -> str:
    first = rows[0]
    if not first.n:
        return f"{metric}: no image has a score of every method, so nothing is ranked."
    text = f"{metric}: {first.method} has the best mean rank ({first.mean_rank:.2f} of {len(rows)}, n = {first.n})."
    if len(rows) > 2 and not first.p < ALPHA:
        return f"{text} Taken together the methods do not differ significantly (Friedman, p = {first.p:.2g})."
    if len(rows) > 2:
        text += f" Taken together the methods differ (Friedman, p = {first.p:.2g})."
    letters = set(first.groups.split())
    alike = [row.method for row in rows[1:] if letters & set(row.groups.split())]
    if not alike:
        return f"{text} It differs significantly from all others (critical difference {first.critical_difference:.2f})."
    return (
        f"{text} It does not differ significantly from {', '.join(alike)} (critical difference "
        f"{first.critical_difference:.2f})."
    )


def meta_section(content: ReportContent) -> list[str]:
    """How often each metric prefers a map that is right by construction."""
    rows = content.summary.meta
    if not rows:
        return []
    controls = list(dict.fromkeys(row.control for row in rows))
    found = {(row.metric, row.control): row for row in rows}
    cells = [
        ((metric, *(_share(found[metric, control]) for control in controls)), False)
        for metric in dict.fromkeys(row.metric for row in rows)
    ]
    return [
        "<h2>Does a metric measure anything?</h2>",
        "<p>On phantoms the lesion decides by construction. For each metric the table has in how many of the phantoms "
        "that the model predicts right it gives the lesion's outline a better score than a map that knows nothing of "
        "the decision, with the share's 95 % Wilson interval. A metric that fails here cannot say which method is the "
        "more faithful. Metrics of localisation know the outline: that they find it shows their direction alone.</p>",
        *html_table(("metric", *controls), cells),
    ]


def _share(row: MetaRow) -> str:
    if not row.n:
        return "no score"
    return f"{row.preferred} of {row.n} ({row.ci_low:.2f} to {row.ci_high:.2f})"
