"""A tree of X-rays in COVID-QU-Ex's layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from quantus_vit.data import CLASS_NAMES


@pytest.fixture
def xrays(tmp_path: Path) -> Path:
    """Three classes that brightness tells apart: 6 images each to train on, 2 to validate and to test."""
    root = tmp_path / "xrays"
    random = np.random.default_rng(0)
    for split, count in (("Train", 6), ("Val", 2), ("Test", 2)):
        for label, name in enumerate(CLASS_NAMES):
            folder = root / "Lung Segmentation Data" / split / name / "images"
            folder.mkdir(parents=True)
            for number in range(count):
                values = random.integers(90 * label, 90 * label + 60, (32, 32), dtype=np.uint8)
                Image.fromarray(values).save(folder / f"{name} ({number}).png")
    return root
