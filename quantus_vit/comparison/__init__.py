"""Comparison of explanation methods on one model: protocol -> runner -> statistics -> figures -> report.

The paper's table and figures (Komorowski et al., 2023) from one call, :func:`~.pipeline.compare`; the command line is a
thin layer over it. Knows Quantus' public calls, the data sets and the models; no relevance engine. Names are imported
when they are first asked for, so that the tables of names need neither torch nor Quantus.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .pipeline import compare
    from .planning import protocol_for
    from .protocol import Protocol
    from .val_choice import choose_on_val

__all__ = ["Protocol", "choose_on_val", "compare", "protocol_for"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name == "compare":
        from .pipeline import compare

        return compare
    if name == "choose_on_val":
        from .val_choice import choose_on_val

        return choose_on_val
    if name == "protocol_for":
        from .planning import protocol_for

        return protocol_for
    if name == "Protocol":
        from .protocol import Protocol

        return Protocol
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
