"""Pieces of HTML: text, numbers, tables, sections. Knows nothing of what they show.

All text goes through :func:`text_of`, so that no name of a file, class or method is read as HTML.
"""

from __future__ import annotations

import html
import itertools
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Section", "breakable", "data_table", "folded", "items", "number", "plain", "text_of"]

_LONG = 45
_PARTS = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=\w)(?=\[)|(?<==)|(?<=,)(?!\s)")


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
    """Text as HTML whose names may go on in the next line where their words part, as ``SaCo[groups=5]`` before "[".

    For cells and labels: within sentences a screen reader would pause at every such place.
    """
    return "<wbr>".join(text_of(part) for part in _PARTS.split(name))


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
    head = "".join(f'<th scope="col">{breakable(name)}</th>' for name in header)
    body = []
    for index, cells in enumerate(rows):
        headers = _row_headers(cells)
        row = "".join(_cell(cell, at < headers) for at, cell in enumerate(cells))
        body.append(f'<tr class="best">{row}</tr>' if index in out else f"<tr>{row}</tr>")
    return (
        f'<div class="table"><div class="scroll" tabindex="0" role="region" aria-label="{text_of(title)}">'
        f"<table><caption>{text_of(title)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>\n{chr(10).join(body)}\n</tbody></table></div></div>"
    )


def folded(words: str, content: str) -> str:
    """Content that is shown when its line of words is pressed."""
    return f"<details><summary>{text_of(words)}</summary>{content}</details>"


def _row_headers(cells: Sequence[Any]) -> int:
    """How many cells name the row: the first texts, two at most, as metric and method; never all."""
    texts = itertools.takewhile(lambda cell: isinstance(cell, str), cells[:-1])
    return min(2, sum(1 for _ in texts))


def _cell(cell: Any, names_row: bool = False) -> str:
    if isinstance(cell, bool) or not isinstance(cell, (int, float)):
        text = str(cell)
        # Short cells stay on one line, so that intervals are read at a glance; names may break on a narrow screen.
        shown, (tag, scope) = breakable(text), ("th", ' scope="row"') if names_row else ("td", "")
        kind = ' class="long"' if len(text) > _LONG else ' class="name"' if "<wbr>" in shown else ""
        return f"<{tag}{scope}{kind}>{shown}</{tag}>"
    if isinstance(cell, int):
        return f'<td class="number">{cell}</td>'
    return f'<td class="number" data-value="{cell:.9g}">{number(cell)}</td>'
