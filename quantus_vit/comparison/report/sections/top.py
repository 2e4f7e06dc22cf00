"""The head of the page: question, answer, protocol, what to distrust; and the model's own quality."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ...meta_evaluation import wilson_interval
from ..answer import answer, distrust, question
from ..html import Section, data_table, folded, items, number, text_of
from ..reading import RunFolder

__all__ = ["model_section", "top_section"]

Estimate = tuple[float, float, float]


def top_section(run: RunFolder) -> Section:
    """Question, answer in two sentences, protocol, findings, and what to distrust."""
    protocol, facts = run.protocol, run.facts
    source = {"phantom": "synthetic phantoms"}.get(facts["dataset"], f"{facts['dataset']}, {protocol['split']}")
    explained = "true" if protocol["target"] == "label" else "predicted"
    noun = "class" if facts["task"] == "multiclass" else "finding"
    right = sum(run.predictions[case.key].correct for case in run.cases if case.key in run.predictions)
    low, high = wilson_interval(right, len(run.predictions))
    share = f" (95 % interval of the share {low:.2f} to {high:.2f})" if run.predictions else ""
    body = [
        f'<p class="question">{text_of(question(run))}</p>',
        f'<p class="answer">{text_of(" ".join(answer(run)))}</p>',
        f"<p>{text_of(_protocol_line(protocol))}</p>",
        f"<p>{text_of(', '.join(protocol['methods']))} on {text_of(source)}. {text_of(facts['selection'])} The model "
        f"predicts {right} of {len(run.predictions)} correctly{share}. Maps explain the {explained} {noun}.</p>",
        '<div class="warning" role="note"><h3>What to distrust</h3>',
        items(distrust(run)),
        "</div>",
        folded("All findings in words", items(facts["findings"])),
    ]
    return Section("answer", "Question and answer", tuple(body))


def _protocol_line(protocol: Mapping[str, Any]) -> str:
    text = f"Protocol {protocol['protocol']}, version {protocol['protocol_version']}"
    if protocol["overrides"]:
        text += f"; other than it says: {', '.join(protocol['overrides'])}"
    if protocol["primary"]:
        text += f". Declared to decide, before the scores were known: {protocol['primary']}"
    return f"{text}."


def model_section(run: RunFolder) -> Section | None:
    """How good the model itself is, where training left its ``metrics.json``."""
    splits = run.facts["model_quality"] or {}
    body = [line for name, values in splits.items() if isinstance(values, dict) for line in _split(name, values, run)]
    if not body:
        return None
    note = (
        "<p>Maps of a model that is often wrong show what misled it. These numbers are of its training's own test:</p>"
    )
    return Section("model", "The model", (note, *body))


def _split(name: str, values: Mapping[str, Any], run: RunFolder) -> list[str]:
    title = {"val": "Validation images", "test": "Test images"}.get(name, name)
    rows = [("accuracy", *_cells(_with_interval(values.get("accuracy"), values, None)))]
    labels = [
        ("calibration_error", "expected calibration error"),
        ("mean_auroc", "mean AUROC"),
        ("brier", "Brier score"),
    ]
    rows += [(label, *_cells(_estimate(values[key]))) for key, label in labels if values.get(key) is not None]
    for key in ("recall", "specificity", "auroc"):
        for label, value in (values.get(key) or {}).items():
            shown = "AUROC" if key == "auroc" else key
            found = _with_interval(value, values, label) if key == "recall" else _estimate(value)
            rows.append((f"{shown}, {label}", *_cells(found)))
    lines = [f"<h3>{text_of(title)}, n = {text_of(values.get('count', '?'))}</h3>"]
    lines.append(data_table(f"{title}: quality of the model", ("measure", "value", "95 % interval"), rows))
    return [*lines, *_confusion(title, values, run)]


def _cells(estimate: Estimate) -> tuple[Any, str]:
    value, low, high = estimate
    return value, "" if math.isnan(low) else f"{number(low)} to {number(high)}"


def _estimate(value: Any) -> Estimate:
    """[value, low, high], or a bare number; nan for what is undefined."""
    parts = value if isinstance(value, list) else [value, None, None]
    first, low, high = (math.nan if part is None else float(part) for part in (*parts, None, None, None)[:3])
    return first, low, high


def _with_interval(value: Any, values: Mapping[str, Any], label: str | None) -> Estimate:
    """An estimate; a bare share of counts that the confusion matrix has gets its Wilson interval from them."""
    found, confusion = _estimate(value), values.get("confusion") or []
    labels = list(values.get("recall") or {})
    square = bool(confusion) and all(len(row) == len(confusion) for row in confusion)
    if not math.isnan(found[1]) or not square or (label is not None and label not in labels):
        return found
    if label is None:
        hits, n = sum(row[i] for i, row in enumerate(confusion)), sum(map(sum, confusion))
    else:
        row = confusion[labels.index(label)]
        hits, n = row[labels.index(label)], sum(row)
    return (found[0], *wilson_interval(hits, n))


def _confusion(title: str, values: Mapping[str, Any], run: RunFolder) -> list[str]:
    confusion, labels = values.get("confusion") or [], list(values.get("recall") or run.facts["class_names"])
    if len(confusion) != len(labels):
        return []
    multiclass = values.get("task", "multiclass") == "multiclass"
    header = labels if multiclass else ["found", "missed", "false alarm", "rejected"]
    rows = []
    for label, counts in zip(labels, confusion, strict=True):
        total = sum(counts)
        cells: list[Any] = [label]
        for count in counts:
            low, high = wilson_interval(count, total)
            cells.append(f"{count} ({count / total:.0%}, {low:.0%} to {high:.0%})" if multiclass and total else count)
        rows.append(cells)
    corner = "true class" if multiclass else "finding"
    caption = f"{title}: confusion" + (", called as (share of the row, 95 % Wilson interval)" if multiclass else "")
    return [data_table(caption, (corner, *header), rows)]
