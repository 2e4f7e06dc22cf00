"""Figures for print: PNG and PDF in the widths of one and two columns of a journal, drawn from a result folder.

One module a figure; each adds its spec to the table.
"""

from __future__ import annotations

from ..collecting import collect_specs
from .base import FIGURES, FigureSpec, PrintRequest, print_figures

__all__ = ["FIGURES", "FigureSpec", "PrintRequest", "print_figures"]

for _spec in collect_specs(__name__, __path__):
    FIGURES.add(_spec)
