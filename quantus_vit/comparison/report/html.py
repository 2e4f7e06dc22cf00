"""Pieces of HTML: text, numbers, tables, sections. Knows nothing of what they show.

All text goes through :func:`text_of`, so that no name of a file, class or method is read as HTML.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Section", "breakable", "data_table", "items", "number", "plain", "text_of"]

_LONG = 45


@dataclass(frozen=True)
class Section:
    """A part of the page with an entry in the table of contents.

    Parameters
    ----------
    anchor : str
        Of its heading, an HTML id.
    title : str
    body : tuple of str
        Lines of HTML.
    """

    anchor: str
    title: str
    body: tuple[str, ...]

    def html(self) -> str:
        """The section as HTML."""
        heading = f'<h2 id="{self.anchor}-title">{text_of(self.title)}</h2>'
        lines = "\n".join(self.body)
        return f'<section id="{self.anchor}" aria-labelledby="{self.anchor}-title">\n{heading}\n{lines}\n</section>'


def text_of(value: Any) -> str:
    """Text in which nothing is read as HTML."""
    return html.escape(str(value))


def breakable(name: str) -> str:
    """A name as HTML that may go on in the next line where its words part: ``FaithfulnessEstimate[baseline=black]``."""
    return "<wbr>".join(text_of(part) for part in re.split(r"(?<=[a-z])(?=[A-Z])|(?=\[)|(?<==)|(?<=,)", name))


def number(value: float) -> str:
    """Whole numbers as they are, others with three digits; small ones by their power of ten."""
    if isinstance(value, int):
        return str(value)
    if math.isnan(value):
        return "nan"
    if 0 < abs(value) < 0.0005:
        return f"{value:.1e}"
    return f"{value:.3f}"


def plain(value: Any) -> str:
    """A setting as text; lists by commas."""
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def items(sentences: Iterable[str]) -> str:
    """A list of sentences."""
    return f"<ul>{''.join(f'<li>{text_of(sentence)}</li>' for sentence in sentences)}</ul>"


def data_table(title: str, header: Sequence[str], rows: Iterable[Sequence[Any]], strong: Iterable[int] = ()) -> str:
    """A table that the page lets sort, filter and copy.

    Parameters
    ----------
    title : str
        Its caption, and the name of the scrolling region around it.
    header : sequence of str
    rows : iterable of sequences
        Cells: numbers stand to the right, with three digits, and keep all of them for sorting and copying.
    strong : iterable of int
        Numbers of the rows that stand out.
    """
    out = set(strong)
    head = "".join(f'<th scope="col">{text_of(name)}</th>' for name in header)
    body = []
    for index, cells in enumerate(rows):
        row = "".join(_cell(cell) for cell in cells)
        body.append(f'<tr class="best">{row}</tr>' if index in out else f"<tr>{row}</tr>")
    return (
        f'<div class="table"><div class="scroll" tabindex="0" role="region" aria-label="{text_of(title)}">'
        f"<table><caption>{text_of(title)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>\n{chr(10).join(body)}\n</tbody></table></div></div>"
    )


def _cell(cell: Any) -> str:
    if isinstance(cell, bool) or not isinstance(cell, (int, float)):
        text = str(cell)
        # Short cells stay on one line, so that intervals and names are read at a glance.
        return f'<td class="long">{text_of(text)}</td>' if len(text) > _LONG else f"<td>{text_of(text)}</td>"
    if isinstance(cell, int):
        return f'<td class="number">{cell}</td>'
    return f'<td class="number" data-value="{cell:.9g}">{number(cell)}</td>'
