"""Reference fine-tuning of timm ViTs on chest X-rays, and the checkpoints it writes.

Importing this package imports no Lightning; only :mod:`.fit` and :mod:`.module` do. Names are imported when they are
first asked for, so that :mod:`.settings` alone needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .checkpoint import ModelConfig, build_model, load_checkpoint, save_checkpoint

__all__ = ["ModelConfig", "build_model", "load_checkpoint", "save_checkpoint"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import checkpoint

    return getattr(checkpoint, name)
