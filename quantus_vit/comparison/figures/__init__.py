"""Figures of a comparison, drawn from arrays and rows; no model and no data set comes in here.

They are made with matplotlib's objects alone, so a caller's pyplot state and backend stay as they are.
"""

from __future__ import annotations

from .boxplots import draw_boxplots
from .maps import LimeRegions, MapRow, draw_map_rows
from .samples import draw_samples

__all__ = ["LimeRegions", "MapRow", "draw_boxplots", "draw_map_rows", "draw_samples"]
