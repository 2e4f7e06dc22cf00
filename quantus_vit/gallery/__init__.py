"""Many images by several methods: what ``quantus-vit explain`` runs, from files to pictures, maps and a table."""

from __future__ import annotations

from .formats import FORMATS, FormatOptions, PictureFormat
from .gallery import Gallery
from .inputs import InputImage, find_images
from .places import Places
from .settings import Outcome, Settings
from .volumes import VolumeGallery, are_volumes
from .wording import class_index

__all__ = [
    "FORMATS",
    "FormatOptions",
    "Gallery",
    "InputImage",
    "Outcome",
    "PictureFormat",
    "Places",
    "Settings",
    "VolumeGallery",
    "are_volumes",
    "class_index",
    "find_images",
]
