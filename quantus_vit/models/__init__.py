"""Models from wherever they come, as one record: :func:`load_model` and the table :data:`MODELS`.

Importing this package imports neither timm nor any other source of models; a source does so when it loads.
"""

from __future__ import annotations

from . import callables, checkpoint, huggingface, timm
from .base import LINKS, MODELS, Classifier, ModelSpec, weights_digest
from .loading import load_model
from .matching import match_classes, parse_mapping

__all__ = [
    "LINKS",
    "MODELS",
    "Classifier",
    "ModelSpec",
    "load_model",
    "match_classes",
    "parse_mapping",
    "weights_digest",
]

for _source in (checkpoint.SPEC, timm.SPEC, huggingface.SPEC, callables.SPEC):
    MODELS.add(_source)
