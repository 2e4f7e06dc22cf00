"""``report.html``: one self-contained page with the tables, figures, settings, versions and caveats of a comparison.

Knows rows and files; it computes nothing but counts and sentences.
"""

from __future__ import annotations

import base64
import html
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .findings import ALPHA, ReportContent, caveats, findings
from .protocol import Protocol

__all__ = ["write_report"]

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; color: #1d2430; background: #fff;
       max-width: 1180px; margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.7rem; margin-bottom: .2rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem;
     border-bottom: 1px solid #d5dae2; padding-bottom: .2rem; }
.lead { color: #4a5566; margin-top: 0; } figure { margin: 1rem 0; } figure img { max-width: 100%; height: auto; }
figcaption, .small { font-size: .87rem; color: #4a5566; } .warning { background: #fff4dc;
     border-left: 4px solid #e69f00; padding: .5rem .9rem; margin: .8rem 0; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .87rem; margin: .6rem 0; }
th, td { padding: .28rem .6rem; border-bottom: 1px solid #e3e7ee; text-align: left; vertical-align: top; }
td { white-space: nowrap; } td.long { white-space: normal; overflow-wrap: anywhere; }
th { background: #f3f5f9; } td.number { text-align: right; font-variant-numeric: tabular-nums; }
tr.best td { font-weight: 600; } code { background: #f3f5f9; padding: .05rem .3rem; overflow-wrap: anywhere; }
"""


def write_report(folder: Path, content: ReportContent) -> Path:
    """Write ``report.html`` into the result folder; figures that lie there are embedded."""
    body = [
        *_heading(content),
        *_table1(content),
        *_findings(content),
        *_figures(folder, content),
        *_by_class(content),
        *_significance(content),
        *_ties(content),
        *_caveats(content),
        *_failures(content),
        *_settings(content),
    ]
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Comparison of explanations</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>\n'
        f"<body>\n{chr(10).join(body)}\n</body></html>\n"
    )
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
        f'<p class="lead">{_text(", ".join(protocol.methods))} on {_text(source)}. '
        f"{_text(content.selection.describe())} The model predicts {right} of {len(content.predictions)} correctly. "
        f"Maps explain the {explained} {noun}.</p>",
        f'<p class="lead">{_text(_protocol_line(protocol))}</p>',
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
    return f"{text}."


def _table1(content: ReportContent) -> list[str]:
    best = set()
    for metric in {row.metric for row in content.table}:
        scored = [row for row in content.table if row.metric == metric and not math.isnan(row.mean)]
        if scored:
            pick = max if content.metrics[metric].higher_is_better else min
            best.add((metric, pick(scored, key=lambda row: row.mean).method))
    masked = any(row.mask_kind for row in content.table)
    rows = [
        (
            (
                row.metric,
                row.method,
                row.mean,
                f"{_number(row.ci_low)} to {_number(row.ci_high)}",
                row.median,
                row.n,
                row.nan,
                *((row.mask_kind,) if masked else ()),
            ),
            (row.metric, row.method) in best,
        )
        for row in content.table
    ]
    return [
        "<h2>Table 1</h2>",
        *_html_table(
            ("metric", "method", "mean", "95 % interval", "median", "n", "nan", *(("masks",) if masked else ())), rows
        ),
        '<p class="small">Percentile bootstrap interval of the mean over images. Bold: best mean of the metric, which '
        "need not be a difference that the tests below confirm. nan: images without a score, as of a constant "
        "map.</p>",
    ]


def _findings(content: ReportContent) -> list[str]:
    items = "".join(f"<li>{_text(sentence)}</li>" for sentence in findings(content))
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
                f'<figure><img alt="{_text(caption)}" src="data:image/png;base64,{data}">'
                f"<figcaption>{_text(caption)}</figcaption></figure>"
            )
    return lines


def _by_class(content: ReportContent) -> list[str]:
    rows = [
        ((row.metric, row.method, row.label, row.mean, row.q1, row.median, row.q3, row.n, row.nan), False)
        for row in content.by_class
    ]
    noun = "class" if content.task == "multiclass" else "finding"
    header = ("metric", "method", noun, "mean", "1st quartile", "median", "3rd quartile", "n", "nan")
    return [f"<h2>By {noun}</h2>", *_html_table(header, rows)]


def _significance(content: ReportContent) -> list[str]:
    if not content.significance:
        return []
    rows = [
        (
            (
                row.metric,
                f"{row.method_a} - {row.method_b}",
                row.n,
                row.mean_difference,
                f"{_number(row.ci_low)} to {_number(row.ci_high)}",
                f"{row.p:.2g}",
                f"{row.p_holm:.2g}",
                row.rank_biserial,
            ),
            row.p_holm < ALPHA,
        )
        for row in content.significance
    ]
    header = ("metric", "pair", "n", "mean difference", "95 % interval", "p", "p (Holm)", "rank-biserial r")
    return [
        "<h2>Paired tests</h2>",
        *_html_table(header, rows),
        f'<p class="small">Two-sided Wilcoxon signed-rank tests on the images that both methods have a score of; '
        f"Holm's correction over all rows; bold where p (Holm) &lt; {ALPHA}.</p>",
    ]


def _ties(content: ReportContent) -> list[str]:
    if not content.spread:
        return []
    rows = [
        (
            (
                row.metric,
                row.method,
                row.n,
                row.mean_spread,
                row.max_spread,
                f"{_number(row.mean_low)} to {_number(row.mean_high)}",
            ),
            False,
        )
        for row in content.spread
    ]
    header = ("metric", "method", "images", "mean spread of an image", "largest spread", "mean over images, by order")
    return [
        "<h2>Tie-breaking</h2>",
        f"<p>Superpixels give all their pixels one value, and steps of the metric cut through them. Where that decides "
        f"a score, it is averaged over {content.protocol.tie_breaks} random tie-breaking orders:</p>",
        *_html_table(header, rows),
    ]


def _caveats(content: ReportContent) -> list[str]:
    items = "".join(f"<li>{_text(sentence)}</li>" for sentence in caveats(content))
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
        lines += ["<h2>Failures</h2>", *_html_table(header, rows)]
    if content.notes:
        kinds = Counter((row.method, row.note.split(":")[0]) for row in content.notes)
        example = {(row.method, row.note.split(":")[0]): row.note for row in reversed(content.notes)}
        rows = [((method, kind, count, example[method, kind]), False) for (method, kind), count in kinds.items()]
        lines += ["<h2>Warnings</h2>", *_html_table(("method", "warning", "maps", "the first"), rows)]
    return lines


def _settings(content: ReportContent) -> list[str]:
    settings = [((name, _plain(value)), False) for name, value in content.protocol.to_dict().items()]
    environment = [((name, _plain(value)), False) for name, value in content.environment.items() if value]
    specs = {spec.name: spec for spec in content.metrics.values()}.values()
    definitions = [((spec.name, spec.category, spec.summary), False) for spec in specs]
    methods = [((label, spec.role, spec.summary), False) for label, spec in content.methods.items()]
    return [
        "<h2>Settings</h2>",
        *_html_table(("metric", "category", "what it measures"), definitions),
        *_html_table(("method", "role", "what the map is"), methods),
        *_html_table(("setting", "value"), settings),
        "<h2>Environment</h2>",
        *_html_table(("what", "value"), environment),
    ]


def _html_table(header: Sequence[str], rows: Iterable[tuple[Sequence[Any], bool]]) -> list[str]:
    head = "".join(f"<th>{_text(name)}</th>" for name in header)
    lines = ['<div class="scroll"><table>', f"<tr>{head}</tr>"]
    for cells, strong in rows:
        row = "".join(
            f'<td class="number">{_number(cell)}</td>' if isinstance(cell, (int, float)) else _text_cell(str(cell))
            for cell in cells
        )
        lines.append(f'<tr class="best">{row}</tr>' if strong else f"<tr>{row}</tr>")
    return [*lines, "</table></div>"]


def _text_cell(text: str) -> str:
    # Short cells stay on one line, so that intervals and names are read at a glance.
    return f'<td class="long">{_text(text)}</td>' if len(text) > 45 else f"<td>{_text(text)}</td>"


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _text(value: Any) -> str:
    return html.escape(str(value))
