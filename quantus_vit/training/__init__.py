"""Reference fine-tuning of timm ViTs on chest X-rays, and the checkpoints it writes.

Importing this package imports no Lightning; only :mod:`.fit` and :mod:`.module` do.
"""

from __future__ import annotations

from .checkpoint import ModelConfig, build_model, load_checkpoint, save_checkpoint

__all__ = ["ModelConfig", "build_model", "load_checkpoint", "save_checkpoint"]
