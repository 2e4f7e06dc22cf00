"""Comparison of explanation methods on one model: protocol -> runner -> statistics -> figures -> report.

The paper's table and figures (Komorowski et al., 2023) from one call, :func:`~.pipeline.compare`; the command line is a
thin layer over it. Knows Quantus' public calls, the data sets and the checkpoint format; no relevance engine.
"""

from __future__ import annotations

from .pipeline import compare
from .protocol import Protocol

__all__ = ["Protocol", "compare"]
