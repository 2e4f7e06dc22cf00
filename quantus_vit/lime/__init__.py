"""LIME with a preset for chest X-rays. Needs the extra ``lime`` (lime, scikit-image)."""

from __future__ import annotations

try:
    from .explainer import LimeCXR
    from .explanation import LocalFitWarning, dense_map
    from .figures import explanation_figure, outline_picture, overlay_picture, top_segments
    from .segmentation import cxr_segments, grid_segments, lime_default_segments
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] not in ("lime", "skimage", "sklearn"):
        raise
    raise ImportError(
        f"LimeCXR needs {error.name!r}, which is not installed: pip install 'quantus-vit[lime]'"
    ) from error

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
