"""The relevance engine: layer-wise relevance propagation as a second backward through one forward's graph.

It knows torch only: no Quantus, no Captum, no model family.
"""

from __future__ import annotations

from .backward import Trace
from .composites import Composite, attn_lrp, transformer_lrp
from .conservation import ConservationReport
from .cut_watch import allow_cuts
from .forward import trace
from .options import TraceOptions
from .rules import Rule
from .token_removal import TokenRemoval, tokens_removed

__all__ = [
    "Composite",
    "ConservationReport",
    "Rule",
    "TokenRemoval",
    "Trace",
    "TraceOptions",
    "allow_cuts",
    "attn_lrp",
    "tokens_removed",
    "trace",
    "transformer_lrp",
]
