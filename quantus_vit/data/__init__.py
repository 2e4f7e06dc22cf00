"""Data sets of chest X-rays: the real COVID-QU-Ex layout and synthetic phantoms."""

from __future__ import annotations

from .conventions import CLASS_NAMES, IMAGENET_MEAN, IMAGENET_STD, SPLITS, XraySample
from .covid_qu_ex import CovidQuEx, download_covid_qu_ex
from .phantom import Phantom

__all__ = [
    "CLASS_NAMES",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "SPLITS",
    "CovidQuEx",
    "Phantom",
    "XraySample",
    "download_covid_qu_ex",
]
