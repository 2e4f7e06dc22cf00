"""Pictures of maps: their colours and scales, figures for notebooks, and files in the formats that people take away."""

from __future__ import annotations

from .drawing import TISSUE, add_colour_bar, draw_outline, draw_relevance, draw_xray
from .lettering import elided, make_legible, width_of
from .picture import Picture
from .scales import colour_table, is_signed, label_of, scale_of, shared_scale, with_sign
from .sheet import SheetColumn, SheetRow, draw_sheet
from .show import show
from .visualize import visualize

__all__ = [
    "TISSUE",
    "Picture",
    "SheetColumn",
    "SheetRow",
    "add_colour_bar",
    "colour_table",
    "draw_outline",
    "draw_relevance",
    "draw_sheet",
    "draw_xray",
    "elided",
    "is_signed",
    "label_of",
    "make_legible",
    "scale_of",
    "shared_scale",
    "show",
    "visualize",
    "width_of",
    "with_sign",
]
