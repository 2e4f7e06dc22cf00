"""``--quiet``: no progress bars of other packages either. Knows where Hugging Face's packages switch theirs."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

__all__ = ["hidden_bars"]


@contextmanager
def hidden_bars(quiet: bool) -> Iterator[None]:
    """Hide the bars with which Hugging Face's packages download and load models, and show them again afterwards.

    Parameters
    ----------
    quiet : bool
        Otherwise nothing is done.
    """
    if not quiet or find_spec("huggingface_hub") is None:
        yield
        return
    hub = importlib.import_module("huggingface_hub.utils")
    shown = not hub.are_progress_bars_disabled()
    # Transformers asks the hub's package when it is imported, and keeps a switch of its own from then on.
    hub.disable_progress_bars()
    _switch_transformers("disable_progress_bar")
    try:
        yield
    finally:
        if shown:
            hub.enable_progress_bars()
            _switch_transformers("enable_progress_bar")


def _switch_transformers(function: str) -> None:
    if "transformers" in sys.modules:
        getattr(importlib.import_module("transformers.utils.logging"), function)()
