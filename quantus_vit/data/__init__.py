"""Data sets of chest X-rays: public sets in their own formats, one's own images, and synthetic phantoms."""

from __future__ import annotations

from .base import DATASETS, Annotation, DatasetSpec, Record, Sample, XrayDataset, find_dataset, open_data
from .conventions import CLASS_NAMES, IMAGENET_MEAN, IMAGENET_STD, SPLITS, XraySample
from .covid_qu_ex import COVID_QU_EX, CovidQuEx, download_covid_qu_ex
from .phantom import CONFOUNDED, PHANTOM, ConfoundedPhantom, Phantom
from .preprocessing import Preprocessing
from .python_file import PYTHON

__all__ = [
    "CLASS_NAMES",
    "DATASETS",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "SPLITS",
    "Annotation",
    "ConfoundedPhantom",
    "CovidQuEx",
    "DatasetSpec",
    "Phantom",
    "Preprocessing",
    "Record",
    "Sample",
    "XrayDataset",
    "XraySample",
    "download_covid_qu_ex",
    "find_dataset",
    "open_data",
]

for _spec in (PHANTOM, CONFOUNDED, COVID_QU_EX, PYTHON):
    if _spec.name not in DATASETS:
        DATASETS.add(_spec)
