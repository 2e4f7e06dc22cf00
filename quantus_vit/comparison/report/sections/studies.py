"""Sections of the studies that go beyond one table of scores; each shows the CSV files that its study has written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...confounders import ConfounderRow, ConfounderTables, RelianceRow, confounder_findings
from ..html import Section, data_table, folded, items, number, text_of
from ..reading import RunFolder
from ..row_files import read_rows

__all__ = ["confounders_section", "removal_section", "sensitivity_section"]


def sensitivity_section(run: RunFolder) -> Section | None:
    """Whether the ranking holds over settings that nobody can call right or wrong."""
    header, rows = run.other_table("sensitivity.csv")
    if not rows or not {"method", "rank"} <= set(header):
        return None
    agreement_header, agreement = run.other_table("sensitivity_agreement.csv")
    body = [
        "<p>The methods ranked anew in every setting of a grid: metrics, removals, sizes of a step, numbers of LIME's "
        "samples, seeds. Kendall's W is 1 where all settings rank alike and 0 where they have nothing in common. A "
        "ranking holds where the 95 % interval of W starts at 0.8 or more, and one method comes first in 90 % of the "
        "settings.</p>"
    ]
    if agreement:
        body.append(_agreement_table(agreement_header, agreement))
    body.append(data_table("Places of each method over the settings", _PLACES, _places(header, rows)))
    table = data_table("Every setting", _words(header), rows)
    body.append(folded(f"Every setting ({len(rows)} rows)", table))
    return Section("sensitivity", "Sensitivity", tuple(body))


_AGREEMENT = {
    "kendall_w": "Kendall's W",
    "ci_low": "95 % from",
    "ci_high": "95 % to",
    "winner": "first most often",
    "winner_share": "share of settings",
    "holds": "ranking holds",
}
"""Columns of ``sensitivity_agreement.csv`` as words."""


def _agreement_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    words = [_AGREEMENT.get(name, name) for name in header]
    shown = [[_agreement_cell(name, cell) for name, cell in zip(header, row, strict=True)] for row in rows]
    return data_table("Agreement of the settings", words, shown)


def _agreement_cell(name: str, cell: Any) -> Any:
    if name == "holds":
        return "yes" if cell else "no"
    return (cell or "none alone") if name == "winner" else cell


_DIGESTS = ("settings",)
"""Columns that only a rerun reads."""

_PLACES = ("method", "settings", "mean place", "best", "worst", "first in")


def _places(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    method, rank = header.index("method"), header.index("rank")
    found = []
    for name in dict.fromkeys(row[method] for row in rows):
        ranks = [float(row[rank]) for row in rows if row[method] == name and row[rank] == row[rank]]
        if ranks:
            first = sum(place == 1 for place in ranks)
            found.append(
                [name, len(ranks), sum(ranks) / len(ranks), min(ranks), max(ranks), f"{first} of {len(ranks)}"]
            )
    return sorted(found, key=lambda entry: float(entry[2]))


def removal_section(run: RunFolder) -> Section | None:
    """How far each removal takes the model from what it was trained on."""
    header, rows = run.other_table("removal_shift.csv")
    if not rows:
        return None
    text = (
        "How far random removals move the model's logits and last features, in units of the distance between two "
        "images: a removal that moves them far shows the model images unlike those it was trained on, and its scores "
        "measure that, too. Outlying: above 1 the model is farther from all images than these are from each other; "
        "changed: the share of images whose predicted class changes."
    )
    kept = [index for index, column in enumerate(header) if column not in _DIGESTS]
    words = _words([header[index] for index in kept])
    table = data_table("Shift under random removal", words, [[row[index] for index in kept] for row in rows])
    return Section("removal", "Removals", (f"<p>{text_of(text)}</p>", table))


def confounders_section(folders: Sequence[Path]) -> Section | None:
    """Which methods show a planted confounder, and which accuse it where it plays no part.

    Parameters
    ----------
    folders : sequence of Path
        Of ``quantus-vit confounders score``; one without its tables is left out.
    """
    studies = {folder: _confounders_of(folder) for folder in folders}
    studies = {folder: tables for folder, tables in studies.items() if tables.rows}
    if not studies:
        return None
    body = [
        "<p>Models that were trained on phantoms with a planted artefact, and clean models beside them: which methods "
        "show the artefact, and which accuse it where it plays no part. Coverage: the share of the artefact's area "
        "among the most relevant 10 % of the pixels (chance 0.1); precision: the share of these that is the artefact. "
        "AUC: how well the coverage tells the model from the clean one on the same films (0.5: not at all). Accused: "
        "the share of maps that have half of the artefact or more in the top 10 %.</p>"
    ]
    for folder, tables in studies.items():
        name = f", {folder.resolve().name}" if len(studies) > 1 else ""
        body += [f"<h3>{text_of(name[2:])}</h3>"] if name else []
        body += [
            items(confounder_findings(tables)),
            data_table(f"Methods on models with a planted artefact{name}", _OF_METHODS, map(_method, tables.rows)),
            data_table(f"How far the models rely on the artefact{name}", _OF_MODELS, map(_model, tables.models)),
        ]
    return Section("confounders", "Confounders", tuple(body))


def _confounders_of(folder: Path) -> ConfounderTables:
    return ConfounderTables(
        read_rows(folder / "confounders.csv", ConfounderRow), read_rows(folder / "confounder_models.csv", RelianceRow)
    )


_OF_METHODS = ("artefact", "percent", "method", "films", "coverage", "precision", "AUC", "accused")
_OF_MODELS = ("artefact", "percent", "films", "rise of the class's probability", "films turned")


def _method(row: ConfounderRow) -> list[Any]:
    title = f"{row.method} (control)" if row.role == "control" else row.method
    return [
        row.artefact, f"{row.percent:g} %", title, row.n, _told(row.coverage, row.coverage_low, row.coverage_high),
        _told(row.precision, row.precision_low, row.precision_high), _told(row.auc, row.auc_low, row.auc_high),
        _told(row.accused, row.accused_low, row.accused_high),
    ]  # fmt: skip


def _model(row: RelianceRow) -> list[Any]:
    turned = _told(row.flipped, row.flipped_low, row.flipped_high)
    return [row.artefact, f"{row.percent:g} %", row.n, _told(row.reliance, row.ci_low, row.ci_high), turned]


def _told(value: float, low: float, high: float) -> str:
    """A number with its interval, where it has one; a dash where it is not defined, as the AUC of the clean model."""
    if math.isnan(value) or math.isnan(low):
        return "-" if math.isnan(value) else number(value)
    return f"{number(value)} ({number(low)} to {number(high)})"


def _words(header: Sequence[str]) -> list[str]:
    """Columns of a file as words."""
    return [name.replace("_", " ") for name in header]
