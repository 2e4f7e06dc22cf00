"""``report.html``: one self-contained page with the tables, figures, settings, versions and caveats of a comparison.

Knows rows and files; it computes nothing but counts and sentences.
"""

from __future__ import annotations

import base64
import math
from collections import Counter
from pathlib import Path
from typing import Any

from .findings import ReportContent, caveats, findings
from .meta_evaluation import EVERY_CONTROL
from .page import html_page, html_table, number, plain, text_of
from .protocol import Protocol
from .report_rankings import by_prediction_section, meta_section, ranks_section, tests_section

__all__ = ["write_report"]


def write_report(folder: Path, content: ReportContent) -> Path:
    """Write ``report.html`` into the result folder; figures that lie there are embedded."""
    body = [
        *_heading(content),
        *_table1(content),
        *_findings(content),
        *_figures(folder, content),
        *_by_class(content),
        *by_prediction_section(content),
        *tests_section(content),
        *ranks_section(content),
        *_ties(content),
        *_caveats(content),
        *_failures(content),
        *_settings(content),
    ]
    page = html_page("Comparison of explanations", body)
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8", errors="backslashreplace")
    return path


def _heading(content: ReportContent) -> list[str]:
    protocol = content.protocol
    source = "synthetic phantoms" if content.dataset == "phantom" else f"{content.dataset}, {protocol.split}"
    right = sum(row.correct for row in content.predictions)
    explained = "true" if protocol.target == "label" else "predicted"
    noun = "class" if content.task == "multiclass" else "finding"
    lines = [
        "<h1>Comparison of explanation methods</h1>",
        f'<p class="lead">{text_of(", ".join(protocol.methods))} on {text_of(source)}. '
        f"{text_of(content.selection.describe())} The model predicts {right} of {len(content.predictions)} correctly. "
        f"Maps explain the {explained} {noun}.</p>",
        f'<p class="lead">{text_of(_protocol_line(protocol))}</p>',
    ]
    if not content.complete:
        covered = len({(row.path, row.label) for row in content.scores})
        lines.append(
            f'<p class="warning">The run is not finished: scores cover {covered} of '
            f"{len(content.selection.cases)} cases. The same command goes on from here.</p>"
        )
    if content.foreign_rows:
        lines.append(
            f'<p class="warning">scores.csv holds {content.foreign_rows} rows of no case of this run, or twice; they '
            "are in no table.</p>"
        )
    if content.dataset == "phantom":
        lines.append(
            '<p class="warning">Phantoms are drawn by code, with lesions far more regular than real ones: this '
            "shows that the methods work, not how they rank on patients.</p>"
        )
    return lines


def _protocol_line(protocol: Protocol) -> str:
    text = f"Protocol {protocol.protocol}, version {protocol.protocol_version}"
    if protocol.overrides:
        text += f", with other {', '.join(protocol.overrides)}"
    if protocol.primary:
        text += f". Declared to decide, before the scores were known: {protocol.primary}"
    return f"{text}."


def _table1(content: ReportContent) -> list[str]:
    table, best = content.summary.table, _best(content)
    masked, clustered = any(row.mask_kind for row in table), any(row.n_patients for row in table)
    trust = {row.metric: f"{row.preferred} of {row.n}" for row in content.summary.meta if row.control == EVERY_CONTROL}
    rows = []
    for row in table:
        method = row.method + (" (control)" if row.role == "control" else "")
        interval = f"{number(row.ci_low)} to {number(row.ci_high)}"
        cells: list[Any] = [row.metric, method, row.mean, interval, row.median, row.n, row.nan]
        cells += [row.n_patients] if clustered else []
        cells += [row.mask_kind] if masked else []
        cells += [trust.get(row.metric, "not judged")] if trust else []
        rows.append((cells, (row.metric, row.method) in best))
    header = ["metric", "method", "mean", "95 % interval", "median", "n", "nan"]
    header += [name for name, shown in (("patients", clustered), ("masks", masked), ("truth first", trust)) if shown]
    return [
        "<h2>Table 1</h2>",
        *html_table(header, rows),
        f'<p class="small">Percentile bootstrap interval of the mean over {"patients" if clustered else "images"}. A '
        "control knows nothing of the model's reasons; a method must beat it to have said anything. Bold: best mean of "
        "the metric, which need not be a difference that the tests below confirm. nan: images without a score, as of a "
        "constant map.</p>",
        *meta_section(content),
    ]


def _best(content: ReportContent) -> set[tuple[str, str]]:
    """The method with the best mean of each metric."""
    best = set()
    for metric in {row.metric for row in content.summary.table}:
        scored = [row for row in content.summary.table if row.metric == metric and not math.isnan(row.mean)]
        if scored:
            pick = max if content.metrics[metric].higher_is_better else min
            best.add((metric, pick(scored, key=lambda row: row.mean).method))
    return best


def _findings(content: ReportContent) -> list[str]:
    items = "".join(f"<li>{text_of(sentence)}</li>" for sentence in findings(content))
    return ["<h2>Findings</h2>", f"<ul>{items}</ul>"]


_CAPTIONS = {
    "figure1.png": "Figure 1. Samples of each class, taken from the compared sample.",
    "figure4.png": "Figure 4. For the first image of each class that the model predicts right (if there is one): the "
    "map for each class, and LIME's superpixels of the largest weight, for the explained class. Every map "
    "has its own scale, named above it, which ends at the map's 99.5th percentile; opacity grows with "
    "relevance. Outlines: lungs dashed white, lesions blue, where there are masks.",
    "figure5.png": "Figure 5. Scores by class. Whiskers reach the last point within 1.5 interquartile ranges.",
}


def _figures(folder: Path, content: ReportContent) -> list[str]:
    lines = ["<h2>Figures</h2>"]
    for name, caption in _CAPTIONS.items():
        file = folder / name
        if file.exists():
            data = base64.b64encode(file.read_bytes()).decode()
            lines.append(
                f'<figure><img alt="{text_of(caption)}" src="data:image/png;base64,{data}">'
                f"<figcaption>{text_of(caption)}</figcaption></figure>"
            )
    return lines


def _by_class(content: ReportContent) -> list[str]:
    rows = [
        ((row.metric, row.method, row.label, row.mean, row.q1, row.median, row.q3, row.n, row.nan), False)
        for row in content.summary.by_class
    ]
    noun = "class" if content.task == "multiclass" else "finding"
    header = ("metric", "method", noun, "mean", "1st quartile", "median", "3rd quartile", "n", "nan")
    return [f"<h2>By {noun}</h2>", *html_table(header, rows)]


def _ties(content: ReportContent) -> list[str]:
    if not content.summary.spread:
        return []
    rows = [
        (
            (
                row.metric,
                row.method,
                row.n,
                row.mean_spread,
                row.max_spread,
                f"{number(row.mean_low)} to {number(row.mean_high)}",
            ),
            False,
        )
        for row in content.summary.spread
    ]
    header = ("metric", "method", "images", "mean spread of an image", "largest spread", "mean over images, by order")
    return [
        "<h2>Tie-breaking</h2>",
        f"<p>Superpixels give all their pixels one value, and steps of the metric cut through them. Where that decides "
        f"a score, it is averaged over {content.protocol.tie_breaks} random tie-breaking orders:</p>",
        *html_table(header, rows),
    ]


def _caveats(content: ReportContent) -> list[str]:
    items = "".join(f"<li>{text_of(sentence)}</li>" for sentence in caveats(content))
    return ["<h2>Caveats</h2>", f"<ul>{items}</ul>"]


def _failures(content: ReportContent) -> list[str]:
    lines: list[str] = []
    rows: list[tuple[tuple[Any, ...], bool]]
    if content.failures:
        rows = [
            ((row.path, row.label, row.method or "reading the image", row.metric, row.cause, row.error), False)
            for row in content.failures
        ]
        header = ("image", "class", "method", "metric", "cause", "error")
        lines += ["<h2>Failures</h2>", *html_table(header, rows)]
    if content.notes:
        kinds = Counter((row.method, row.note.split(":")[0]) for row in content.notes)
        example = {(row.method, row.note.split(":")[0]): row.note for row in reversed(content.notes)}
        rows = [((method, kind, count, example[method, kind]), False) for (method, kind), count in kinds.items()]
        lines += ["<h2>Warnings</h2>", *html_table(("method", "warning", "maps", "the first"), rows)]
    return lines


def _settings(content: ReportContent) -> list[str]:
    settings = [((name, plain(value)), False) for name, value in content.protocol.to_dict().items()]
    environment = [((name, plain(value)), False) for name, value in content.environment.items() if value]
    specs = {spec.name: spec for spec in content.metrics.values()}.values()
    definitions = [((spec.name, spec.category, spec.summary), False) for spec in specs]
    methods = [((label, spec.role, spec.summary), False) for label, spec in content.methods.items()]
    return [
        "<h2>Settings</h2>",
        *html_table(("metric", "category", "what it measures"), definitions),
        *html_table(("method", "role", "what the map is"), methods),
        *html_table(("setting", "value"), settings),
        "<h2>Environment</h2>",
        *html_table(("what", "value"), environment),
    ]
