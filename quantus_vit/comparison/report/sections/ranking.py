"""Who comes first: heat map of methods by metrics, critical differences, tests, and which metrics can be trusted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ...findings import ALPHA
from ...meta_evaluation import EVERY_CONTROL, MetaRow
from ...rank_rows import RankRow
from ...significance import POWER
from ...statistics import TableRow
from ..answer import best_rows, deciding_metric, places
from ..html import Section, breakable, data_table, folded, items, number, text_of
from ..reading import MetricFacts, RunFolder
from ..svg import critical_difference_diagram, rank_list

__all__ = ["heat_map", "ranking_section"]

_LEVELS = 5


def ranking_section(run: RunFolder) -> Section | None:
    """All of it; None where nothing has a score."""
    if not run.table:
        return None
    body = [*heat_map(run), *_critical_differences(run), *_table1(run), *_tests(run), *_meta(run)]
    return Section("ranking", "Ranking", tuple(body))


def heat_map(run: RunFolder) -> list[str]:
    """Rank and mean of every method under every metric; the interval in the line below, on hover and on focus."""
    metrics = [metric for metric in run.metrics if any(row.metric == metric.row for row in run.table)]
    trust = {row.metric: row for row in run.meta if row.control == EVERY_CONTROL}
    head = "".join(_metric_head(run, metric, trust.get(metric.row)) for metric in metrics)
    ranked = {metric.row: places(run, metric) for metric in metrics}
    rows = {(row.metric, row.method): row for row in run.table}
    body = []
    deciding = deciding_metric(run)
    first = ranked[deciding.row] if deciding is not None else {}
    for method in sorted(run.methods, key=lambda method: first.get(method.label, len(run.methods))):
        cells = [_heat_cell(rows.get((metric.row, method.label)), ranked[metric.row]) for metric in metrics]
        body.append(f'<tr><th scope="row">{breakable(method.title)}</th>{"".join(cells)}</tr>')
    described = (
        "Place and mean of every method under every metric: 1 and the strongest blue is the best. The rows are in the "
        "order of the deciding metric. Point at a cell, or "
        "go there with the arrow keys, for its interval. A control knows nothing of the model's reasons."
    )
    if trust:
        described += (
            " Under a metric's name: in how many phantoms it prefers the true lesion to every control; &#10003; where "
            "in all of them."
        )
    return [
        f"<p>{described}</p>",
        '<div class="scroll" tabindex="0" role="region" aria-label="Heat map of places">'
        '<table class="heat" aria-label="Places of the methods under each metric">'
        f'<thead><tr><th scope="col">method</th>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>',
        # Empty at first, since a screen reader would speak of it before the page.
        '<p class="readout" id="heat-readout" aria-live="polite"></p>',
    ]


def _metric_head(run: RunFolder, metric: MetricFacts, judged: MetaRow | None) -> str:
    lines = [breakable(metric.row), f"<small>{'higher' if metric.higher_is_better else 'lower'} is better</small>"]
    if metric.row == run.protocol["primary"]:
        lines.append('<small class="mark">declared to decide</small>')
    if judged is not None and judged.n:
        sure = judged.preferred == judged.n
        sign, word = ("&#10003;", "trusted") if sure else ("&#9888;", "doubtful")
        lines.append(f'<small class="mark {word}">{sign} truth first in {judged.preferred} of {judged.n}</small>')
    return f'<th scope="col">{"<br>".join(lines)}</th>'


def _heat_cell(row: TableRow | None, ranked: Mapping[str, int]) -> str:
    if row is None or math.isnan(row.mean):
        reason = "no score" if row is None else f"no score ({row.nan} images without one)"
        return f'<td class="heat-none" data-readout="{reason}">-</td>'
    place, count = ranked[row.method], len(ranked)
    level = round((place - 1) / max(count - 1, 1) * (_LEVELS - 1))
    interval = "" if math.isnan(row.ci_low) else f", 95 % interval {number(row.ci_low)} to {number(row.ci_high)}"
    patients = f" of {row.n_patients} patients" if row.n_patients else ""
    nan = f", {row.nan} without a score" if row.nan else ""
    told = f"{row.method} under {row.metric}: place {place} of {count}, mean {number(row.mean)}{interval}, n = {row.n}"
    told = text_of(told + patients + nan)
    return (
        f'<td class="level{level}" title="{told}" data-readout="{told}"><b>{place}</b> '
        f"<span>{number(row.mean)}</span></td>"
    )


def _critical_differences(run: RunFolder) -> list[str]:
    by_metric: dict[str, list[RankRow]] = {}
    for row in run.ranks:
        by_metric.setdefault(row.metric, []).append(row)
    drawn = {metric: rows for metric, rows in by_metric.items() if rows[0].n and len(rows) > 2}
    if not by_metric:
        return []
    deciding = deciding_metric(run)
    lines = ["<h3>Mean ranks</h3>"]
    first = deciding.row if deciding is not None and deciding.row in drawn else next(iter(drawn), None)
    order = [metric for metric in (first, *drawn) if metric is not None]
    for metric in dict.fromkeys(order):
        words = _in_words(metric, drawn[metric])
        # Its words stand below it, and would be heard twice as its name.
        picture = critical_difference_diagram(drawn[metric], f"Mean ranks under {metric}, as told below")
        figure = (
            f'<figure><div class="scroll" tabindex="0" role="region" aria-label="Mean ranks under {text_of(metric)}">'
            f"{picture}</div>{rank_list(drawn[metric])}<figcaption>{text_of(words)}</figcaption></figure>"
        )
        lines.append(figure if metric == first else folded(f"Mean ranks under {metric}", figure))
    others = [_in_words(metric, rows) for metric, rows in by_metric.items() if metric not in drawn]
    lines += [items(others)] if others else []
    header = ("metric", "method", "mean rank", "groups", "n")
    roles = {method.label: method.title for method in run.methods}
    cells = [(r.metric, roles.get(r.method, r.method), r.mean_rank, r.groups, r.n) for r in run.ranks]
    return [
        *lines,
        folded(f"Mean ranks under every metric ({len(cells)} rows)", data_table("Mean ranks", header, cells)),
        '<p class="small">Methods ranked within each image, 1 is the best. Methods that share a letter, or a bar of '
        f"the diagram, lie less than Nemenyi's critical difference apart, at a level of {ALPHA}: they do not differ "
        "significantly.</p>",
    ]


def _in_words(metric: str, rows: Sequence[RankRow]) -> str:
    first = rows[0]
    if not first.n:
        return f"{metric}: no image has a score of every method, so nothing is ranked."
    if first.n == 1:
        return f"{metric}: one patient or image alone has a score of every method, so nothing is tested."
    text = f"{metric}: {first.method} has the best mean rank ({first.mean_rank:.2f} of {len(rows)}, n = {first.n})."
    if len(rows) > 2 and math.isnan(first.p):
        return f"{text} Friedman's test has no result, since the scores are all alike."
    if len(rows) > 2 and not first.p < ALPHA:
        return f"{text} Taken together the methods do not differ significantly (Friedman, p = {first.p:.2g})."
    if len(rows) > 2:
        text += f" Taken together the methods differ (Friedman, p = {first.p:.2g})."
    letters = set(first.groups.split())
    alike = [row.method for row in rows[1:] if letters & set(row.groups.split())]
    difference = f"critical difference {first.critical_difference:.2f}"
    if not alike:
        return f"{text} It differs significantly from all others ({difference})."
    return f"{text} It does not differ significantly from {', '.join(alike)} ({difference})."


def _table1(run: RunFolder) -> list[str]:
    masked, clustered = any(row.mask_kind for row in run.table), any(row.n_patients for row in run.table)
    trust = {row.metric: f"{row.preferred} of {row.n}" for row in run.meta if row.control == EVERY_CONTROL}
    titles = {method.label: method.title for method in run.methods}
    best = {(metric.row, rows[0].method) for metric in run.metrics if (rows := best_rows(run, metric))}
    cells = []
    for row in run.table:
        line = [row.metric, titles.get(row.method, row.method), row.mean]
        line += [f"{number(row.ci_low)} to {number(row.ci_high)}", row.median, row.n, row.nan]
        line += [row.n_patients] if clustered else []
        line += [row.mask_kind] if masked else []
        line += [trust.get(row.metric, "not judged")] if trust else []
        cells.append(line)
    header = ["metric", "method", "mean", "95 % interval", "median", "n", "nan"]
    header += [name for name, shown in (("patients", clustered), ("masks", masked), ("truth first", trust)) if shown]
    strong = [index for index, row in enumerate(run.table) if (row.metric, row.method) in best]
    return [
        "<h3>Table 1</h3>",
        data_table("Table 1: means of every method under every metric", header, cells, strong),
        f'<p class="small">Percentile bootstrap interval of the mean over {"patients" if clustered else "images"}. A '
        "control knows nothing of the model's reasons; a method must beat it to have said anything. Bold: best mean of "
        "the metric, which need not be a difference that the tests below confirm. nan: images without a score, as of a "
        "constant map.</p>",
    ]


def _tests(run: RunFolder) -> list[str]:
    if not run.significance:
        return []
    cells = [
        (
            r.metric, f"{r.method_a} - {r.method_b}", r.n, r.mean_difference,
            f"{number(r.ci_low)} to {number(r.ci_high)}", r.p, r.p_holm, r.rank_biserial, r.detectable,
        )
        for r in run.significance
    ]  # fmt: skip
    header = (
        "metric", "pair", "n", "mean difference", "95 % interval", "p", "p (Holm)", "rank-biserial r",
        f"detectable at {POWER:.0%}",
    )  # fmt: skip
    clustered = any(row.n_patients for row in run.table)
    return [
        "<h3>Paired tests</h3>",
        data_table("Paired tests", header, cells, [i for i, r in enumerate(run.significance) if r.p_holm < ALPHA]),
        f'<p class="small">Two-sided Wilcoxon signed-rank tests on the images that both methods have a score of'
        f"{', averaged by patient' if clustered else ''}; Holm's correction over all rows; bold where p (Holm) &lt; "
        f"{ALPHA}. Controls are not tested against each other. Detectable: the true mean difference that a paired t "
        f"test of so many {'patients' if clustered else 'images'} finds with a chance of {POWER:.0%} at a level of "
        f"{ALPHA} before correction; a smaller one would probably go unseen.</p>",
    ]


def _meta(run: RunFolder) -> list[str]:
    if not run.meta:
        return []
    controls = list(dict.fromkeys(row.control for row in run.meta))
    found = {(row.metric, row.control): row for row in run.meta}
    cells = [
        [metric, *(_share(found.get((metric, control))) for control in controls)]
        for metric in dict.fromkeys(row.metric for row in run.meta)
    ]
    return [
        "<h3>Does a metric measure anything?</h3>",
        '<p class="small">On phantoms the lesion decides by construction. For each metric: in how many phantoms '
        "that the model predicts right it gives the lesion's outline a better score than a map that knows nothing of "
        "the decision, with the share's 95 % Wilson interval. A metric that fails here cannot say which method is the "
        "more faithful. Metrics of localisation know the outline: that they find it shows their direction alone."
        f"{_whose(run)}</p>",
        data_table("How often each metric prefers the truth", ("metric", *controls), cells),
    ]


def _whose(run: RunFolder) -> str:
    """Whose verdict it is, where the run has not judged by itself."""
    sources = dict.fromkeys(row.source for row in run.meta if row.source)
    if not sources:
        return ""
    known = {row.metric for row in run.meta}
    others = [metric.row for metric in run.metrics if metric.row not in known]
    text = f" Not judged in this run, but {'; '.join(sources)}, with the same settings of the metric."
    text += f" Not judged: {', '.join(others)}." if others else ""
    return text_of(f"{text} --meta-evaluation judges the metrics of a run.")


def _share(row: MetaRow | None) -> str:
    if row is None or not row.n:
        return "no score"
    return f"{row.preferred} of {row.n} ({row.ci_low:.2f} to {row.ci_high:.2f})"
