"""LIME with a preset for chest X-rays. Needs the extra ``lime`` (lime, scikit-image)."""

from __future__ import annotations

from quantus_vit.lime.explainer import LimeCXR, LocalFitWarning
from quantus_vit.lime.explanation import dense_map
from quantus_vit.lime.figures import explanation_figure, outline_picture, overlay_picture, top_segments
from quantus_vit.lime.segmentation import cxr_segments, grid_segments, lime_default_segments

__all__ = [
    "LimeCXR",
    "LocalFitWarning",
    "cxr_segments",
    "dense_map",
    "explanation_figure",
    "grid_segments",
    "lime_default_segments",
    "outline_picture",
    "overlay_picture",
    "top_segments",
]
