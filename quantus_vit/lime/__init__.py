"""LIME with a preset for chest X-rays. Needs the extra ``lime`` (lime, scikit-image)."""

from __future__ import annotations

from quantus_vit.lime.explainer import LimeCXR, LocalFitWarning, dense_map
from quantus_vit.lime.segmentation import cxr_segments, grid_segments, lime_default_segments

__all__ = ["LimeCXR", "LocalFitWarning", "cxr_segments", "dense_map", "grid_segments", "lime_default_segments"]
