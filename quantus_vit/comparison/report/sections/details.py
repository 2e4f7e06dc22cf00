"""What lies behind the ranking: curves, scores by group, localisation, ties, figures, failures and settings."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Sequence

from PIL import Image

from ...statistics import ClassRow
from ..bands import CurveBand, curve_bands
from ..html import Section, data_table, folded, number, plain, text_of
from ..reading import RunFolder
from ..svg import Line, line_chart

__all__ = ["curves_section", "failures_section", "figures_section", "groups_section", "localisation_section",
           "settings_section", "ties_section"]  # fmt: skip

_ORDERS = {"mif": "most relevant first (lower is better)", "lif": "least relevant first (higher is better)"}
_CAPTIONS = {
    "figure1.png": "Figure 1. Samples of each class, taken from the compared sample.",
    "figure4.png": "Figure 4. For the first image of each class that the model predicts right (if there is one): maps, "
    "each on its own scale, named above it, which ends at the map's 99.5th percentile; opacity grows with relevance. "
    "Outlines: lungs dashed white, lesions blue, where there are masks.",
    "figure5.png": "Figure 5. Scores by class. Whiskers reach the last point within 1.5 interquartile ranges.",
}


def curves_section(run: RunFolder) -> Section | None:
    """Mean removal curves with bands, a chart for each metric and order."""
    bands = curve_bands(run.curves, run.owners)
    if not bands:
        return None
    body = [
        "<p>Change of the model's output for the explained class while patches are removed in the order of a map, mean "
        "over the cases; the band is the 95 % bootstrap interval of the mean at each step. Grey: controls.</p>"
    ]
    body.append('<p id="curves-choice"></p><div class="pairs">')
    for metric, order in dict.fromkeys((band.metric, band.order) for band in bands):
        kept = [band for band in bands if (band.metric, band.order) == (metric, order)]
        body += ["<div>", *_chart(run, metric, order, kept), "</div>"]
    body.append("</div>")
    return Section("curves", "Curves", tuple(body))


def _chart(run: RunFolder, metric: str, order: str, bands: Sequence[CurveBand]) -> list[str]:
    methods = [method.label for method in run.methods if method.role != "control"]
    lines = [
        Line(
            band.method, band.mean.tolist(), band.low.tolist(), band.high.tolist(),
            methods.index(band.method) if band.method in methods else None,
        )
        for band in bands
    ]  # fmt: skip
    title = f"{metric}, {_ORDERS.get(order, order)}, n = {max(band.n for band in bands)}"
    words = f"Lines of {len(lines)} methods; the table below has their numbers"
    chart = line_chart(lines, "share of patches removed", "change of the output", words)
    rows = [
        (band.method, share / (len(band.mean) - 1), mean, f"{number(low)} to {number(high)}", band.n)
        for band in bands
        for share, (mean, low, high) in enumerate(
            zip(band.mean.tolist(), band.low.tolist(), band.high.tolist(), strict=True)
        )
    ]
    header = ("method", "removed share", "mean change", "95 % interval", "n")
    return [
        f"<figure><figcaption>{text_of(title)}</figcaption>{chart}</figure>",
        folded("The numbers of this chart", data_table(title, header, rows)),
    ]


def groups_section(run: RunFolder) -> Section | None:
    """Scores by class or finding, by right and wrong predictions, and by confidence."""
    noun = "class" if run.facts["task"] == "multiclass" else "finding"
    body = []
    if run.by_class:
        body.append(_quartiles(f"Scores by {noun}", noun, run.by_class))
    if len({row.label for row in run.by_prediction}) > 1:
        body.append(_quartiles("Scores by right and wrong predictions", "prediction", run.by_prediction))
    if run.by_confidence:
        body.append(_quartiles("Scores by the model's confidence", "probability", run.by_confidence))
    return Section("groups", f"By {noun} and prediction", tuple(body)) if body else None


def _quartiles(title: str, noun: str, rows: Sequence[ClassRow]) -> str:
    header = ("metric", "method", noun, "mean", "95 % interval", "1st quartile", "median", "3rd quartile", "n", "nan")
    cells = [
        (
            r.metric, r.method, r.label, r.mean, f"{number(r.ci_low)} to {number(r.ci_high)}", r.q1, r.median, r.q3,
            r.n, r.nan,
        )
        for r in rows
    ]  # fmt: skip
    return folded(f"{title} ({len(cells)} rows)", data_table(title, header, cells))


def localisation_section(run: RunFolder) -> Section | None:
    """Scores against masks, and by the size of the lesion."""
    rows = [row for row in run.table if row.category == "localisation"]
    by_size, sizes = run.other_table("by_size.csv")
    if not rows and not sizes:
        return None
    body = []
    if rows:
        header = ("metric", "method", "masks", "mean", "95 % interval", "n")
        cells = [
            (r.metric, r.method, r.mask_kind, r.mean, f"{number(r.ci_low)} to {number(r.ci_high)}", r.n) for r in rows
        ]
        body += [
            "<p>How far maps and masks agree. A model may well look elsewhere than a radiologist: a low score is no "
            "proof of a bad map.</p>",
            data_table("Scores against masks", header, cells),
        ]
    if sizes:
        body += [
            "<h3>By size of the mask</h3>",
            "<p>Area is the mean share of the image that the masks cover: what AUPRC, relevance mass and rank accuracy "
            "and the pointing game give a map that knows nothing.</p>",
            data_table("Scores by size of the mask", _named(by_size), sizes),
        ]
    return Section("localisation", "Localisation", tuple(body))


def _named(header: Sequence[str]) -> list[str]:
    """Columns of a file as words."""
    return [name.replace("_", " ").replace("ci low", "95 % low").replace("ci high", "95 % high") for name in header]


def ties_section(run: RunFolder) -> Section | None:
    """How far the order of equal values moves a score."""
    if not run.spread:
        return None
    cells = [
        (r.metric, r.method, r.n, r.mean_spread, r.max_spread, f"{number(r.mean_low)} to {number(r.mean_high)}")
        for r in run.spread
    ]
    header = ("metric", "method", "images", "mean spread of an image", "largest spread", "mean over images, by order")
    text = (
        "Superpixels give all their pixels one value, and steps of the metric cut through them. Where that decides a "
        f"score, it is averaged over {run.protocol['tie_breaks']} random tie-breaking orders:"
    )
    return Section(
        "ties",
        "Tie-breaking",
        (f"<p>{text}</p>", data_table("Spread of scores over tie-breaking orders", header, cells)),
    )


def figures_section(run: RunFolder) -> Section | None:
    """The paper's figures that lie in the folder."""
    body = []
    for name, caption in _CAPTIONS.items():
        file = run.folder / name
        if file.exists():
            alt = text_of(caption.split(". ")[1])
            body.append(
                f'<figure><div class="scroll picture" tabindex="0" role="region" aria-label="{alt}"><img alt="{alt}" '
                f'src="{_picture(file.read_bytes())}"></div><figcaption>{text_of(caption)}</figcaption></figure>'
            )
    return Section("figures", "Figures", tuple(body)) if body else None


def _picture(data: bytes) -> str:
    """A picture as a data URI, in the smallest form that shows no loss in print at its size."""
    with Image.open(io.BytesIO(data)) as image:
        file = io.BytesIO()
        image.convert("RGB").save(file, "JPEG", quality=88, optimize=True)
    packed, kind = min((file.getvalue(), "jpeg"), (data, "png"), key=lambda pair: len(pair[0]))
    return f"data:image/{kind};base64,{base64.b64encode(packed).decode()}"


def failures_section(run: RunFolder) -> Section | None:
    """What failed, and what methods warned of."""
    body = []
    if run.failures:
        rows = [
            (r.path, r.label, r.method or "reading the image", r.metric, r.cause, r.error) for r in run.failures
        ]  # fmt: skip
        header = ("image", "class", "method", "metric", "cause", "error")
        body += ["<h3>Failures</h3>", data_table("What failed", header, rows)]
    if run.notes:
        kinds = Counter((row.method, row.note.split(":")[0]) for row in run.notes)
        example = {(row.method, row.note.split(":")[0]): row.note for row in reversed(run.notes)}
        cells = [(method, kind, count, example[method, kind]) for (method, kind), count in kinds.items()]
        body += ["<h3>Warnings</h3>", data_table("Warnings", ("method", "warning", "maps", "the first"), cells)]
    return Section("failures", "Failures and notes", tuple(body)) if body else None


def settings_section(run: RunFolder) -> Section:
    """What was compared, how, and with what."""
    metrics = list({m.name: (m.name, m.category, m.summary) for m in run.metrics}.values())
    methods = [(m.label, m.role, m.summary) for m in run.methods]
    settings = [(name, plain(value)) for name, value in run.protocol.items()]
    environment = [(name, plain(value)) for name, value in run.environment.items() if value]
    body = (
        data_table("Metrics of this run", ("metric", "category", "what it measures"), metrics),
        data_table("Methods of this run", ("method", "role", "what the map is"), methods),
        folded("All settings", data_table("All settings", ("setting", "value"), settings)),
        folded("Environment", data_table("Environment", ("what", "value"), environment)),
    )
    return Section("settings", "Settings", body)
