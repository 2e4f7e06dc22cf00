"""DICOM files of a map: the overlay as a Secondary Capture, and the map as a Parametric Map or a Segmentation."""

from __future__ import annotations

from .parametric_map import parametric_map
from .secondary_capture import secondary_capture
from .segmentation import segmentation
from .source import DicomSource, SeriesBook, read_source, save_dataset

__all__ = [
    "DicomSource",
    "SeriesBook",
    "parametric_map",
    "read_source",
    "save_dataset",
    "secondary_capture",
    "segmentation",
]
