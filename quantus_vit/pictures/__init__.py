"""Pictures of maps: their colours and scales, figures for notebooks, and files in the formats that people take away."""

from __future__ import annotations

from .drawing import add_colour_bar, draw_outline, draw_relevance, draw_xray
from .scales import colour_table, is_signed, label_of, scale_of, shared_scale

__all__ = [
    "add_colour_bar",
    "colour_table",
    "draw_outline",
    "draw_relevance",
    "draw_xray",
    "is_signed",
    "label_of",
    "scale_of",
    "shared_scale",
]
