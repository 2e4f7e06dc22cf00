"""Sections of the studies that go beyond one table of scores; each shows the CSV files that its study has written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..html import Section, data_table, text_of
from ..reading import RunFolder

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
    body.append(f"<details><summary>Every setting ({len(rows)} rows)</summary>{table}</details>")
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
    shown = [
        [("yes" if cell else "no") if name == "holds" else cell for name, cell in zip(header, row, strict=True)]
        for row in rows
    ]
    return data_table("Agreement of the settings", words, shown)


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
    text = (
        "How far random removals move the model's logits and last features, in units of the distance between two "
        "images: a removal that moves them far shows the model images unlike those it was trained on, and its scores "
        "measure that, too. Outlying: above 1 the model is farther from all images than these are from each other; "
        "changed: the share of images whose predicted class changes."
    )
    return _files(run, "removal", "Removals", text, {"removal_shift.csv": "Shift under random removal"})


def confounders_section(run: RunFolder) -> Section | None:
    """Which methods show a planted confounder, and which accuse it where it plays no part."""
    text = "Models trained on phantoms with a planted artefact, and a clean model beside them: who shows the artefact."
    files = {
        "confounders.csv": "Methods on models with a planted artefact",
        "confounder_models.csv": "How far the models rely on the artefact",
    }
    return _files(run, "confounders", "Confounders", text, files)


def _files(run: RunFolder, anchor: str, title: str, text: str, files: dict[str, str]) -> Section | None:
    body = [f"<p>{text_of(text)}</p>"]
    for name, caption in files.items():
        header, rows = run.other_table(name)
        kept = [index for index, column in enumerate(header) if column not in _DIGESTS]
        if rows:
            words = _words([header[index] for index in kept])
            body.append(data_table(caption, words, [[row[index] for index in kept] for row in rows]))
    return Section(anchor, title, tuple(body)) if len(body) > 1 else None


def _words(header: Sequence[str]) -> list[str]:
    """Columns of a file as words."""
    return [name.replace("_", " ") for name in header]
