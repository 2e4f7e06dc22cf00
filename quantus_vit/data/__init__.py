"""Data sets of chest X-rays: public sets in their own formats, one's own images, and synthetic phantoms."""

from __future__ import annotations

from .base import Annotation, Record, Sample, XrayDataset
from .chexlocalize import CHEXLOCALIZE
from .conventions import CLASS_NAMES, IMAGENET_MEAN, IMAGENET_STD, SPLITS, XraySample
from .covid_qu_ex import COVID_QU_EX, CovidQuEx, download_covid_qu_ex
from .csv_file import CSV
from .datasets import DATASETS, DatasetSpec, find_dataset, open_data
from .duplicates import find_duplicates
from .folder import FOLDER
from .nih import NIH
from .phantom import CONFOUNDED, PHANTOM, ConfoundedPhantom, Phantom
from .preprocessing import Preprocessing
from .python_file import PYTHON
from .qata import QATA
from .rsna import RSNA
from .siim import SIIM
from .vindr import VINDR

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
    "find_duplicates",
    "open_data",
]

for _spec in (PHANTOM, CONFOUNDED, COVID_QU_EX, FOLDER, CSV, CHEXLOCALIZE, NIH, RSNA, SIIM, VINDR, QATA, PYTHON):
    DATASETS.add(_spec)
