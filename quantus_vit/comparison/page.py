"""Pieces of a page of HTML: its frame, tables, numbers and text. Knows nothing of what they show."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["html_page", "html_table", "number", "plain", "text_of"]

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


def html_page(title: str, body: Sequence[str]) -> str:
    """A whole page of lines of HTML."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{text_of(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>\n'
        f"<body>\n{chr(10).join(body)}\n</body></html>\n"
    )


def html_table(header: Sequence[str], rows: Iterable[tuple[Sequence[Any], bool]]) -> list[str]:
    """Lines of a table: cells of each row (numbers to the right, with three digits), and whether it stands out."""
    head = "".join(f"<th>{text_of(name)}</th>" for name in header)
    lines = ['<div class="scroll"><table>', f"<tr>{head}</tr>"]
    for cells, strong in rows:
        row = "".join(
            f'<td class="number">{number(cell)}</td>' if isinstance(cell, (int, float)) else _text_cell(str(cell))
            for cell in cells
        )
        lines.append(f'<tr class="best">{row}</tr>' if strong else f"<tr>{row}</tr>")
    return [*lines, "</table></div>"]


def _text_cell(text: str) -> str:
    # Short cells stay on one line, so that intervals and names are read at a glance.
    return f'<td class="long">{text_of(text)}</td>' if len(text) > 45 else f"<td>{text_of(text)}</td>"


def number(value: float) -> str:
    """Whole numbers as they are, others with three digits."""
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def plain(value: Any) -> str:
    """A setting as text; lists by commas."""
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def text_of(value: Any) -> str:
    """Text in which nothing is read as HTML."""
    return html.escape(str(value))
