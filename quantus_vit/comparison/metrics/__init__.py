"""The metrics of a comparison: a table of specs, one module a family, and their calls on the maps of an image.

To add one: a module here with ``SPECS = (MetricSpec(...),)``, or in another package an entry point of the group
``quantus_vit.metrics``.
"""

from __future__ import annotations

from ..collecting import collect_specs
from .base import CATEGORIES, METRICS, VAL, MetricSpec, Scorer, build_scorers, by_baseline, common_settings, of_quantus

__all__ = [
    "CATEGORIES",
    "METRICS",
    "VAL",
    "MetricSpec",
    "Scorer",
    "build_scorers",
    "by_baseline",
    "common_settings",
    "of_quantus",
]

for _spec in collect_specs(__name__, __path__):
    METRICS.add(_spec)
