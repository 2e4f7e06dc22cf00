"""Models from wherever they come, as one record: :func:`load_model` and the table :data:`MODELS`.

Importing this package imports neither timm nor any other source of models; a source does so when it loads.
"""

from __future__ import annotations

from . import checkpoint
from .base import LINKS, MODELS, TASKS, Classifier, ModelSpec, weights_digest
from .loading import load_model

__all__ = ["LINKS", "MODELS", "TASKS", "Classifier", "ModelSpec", "load_model", "weights_digest"]

for _source in (checkpoint.SPEC,):
    MODELS.add(_source)
