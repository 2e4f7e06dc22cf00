"""The map as a Segmentation (PS3.3 A.51): the pixels whose relevance reaches a stated share of the largest."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..explanation import Explanation
from .frames import add_common
from .source import OWN_SCHEME, DicomSource, SeriesBook, code, item_of, new_dataset, set_all, set_pixels

__all__ = ["segmentation"]

_COLOUR = (43803, 42911, 53513)
"""Orange for displays, as CIELab of unsigned 16 bits."""


def segmentation(explanation: Explanation, source: DicomSource, book: SeriesBook, threshold: float) -> Any:
    """Make the data set.

    Parameters
    ----------
    explanation : Explanation
    source : DicomSource
        Of the explained file; patient and study are taken over.
    book : SeriesBook
        Of this run.
    threshold : float
        In (0, 1]: the share of the map's largest value from which on a pixel is inside. It stands in the segment's
        description.

    Returns
    -------
    pydicom.Dataset
        One segment.

    Raises
    ------
    ValueError
        No pixel has positive relevance, so that there is nothing to delineate.
    """
    largest = float(np.max(explanation.relevance, initial=0.0, where=explanation.seen))
    if largest <= 0:
        raise ValueError(
            f"{explanation.method}: no pixel speaks for {explanation.target!r}, so that a segmentation would be empty"
        )
    inside = explanation.seen & (explanation.relevance >= threshold * largest)
    dataset = new_dataset(source, explanation, book, "SegmentationStorage", "Relevance region", "SEG")
    _, frame = add_common(dataset, explanation, source, "RELEVANCE_REGION")
    frame.SegmentIdentificationSequence = [item_of(ReferencedSegmentNumber=1)]
    stated = f"relevance of at least {threshold:g} of the map's largest value {largest:.3g}"
    segment = item_of(
        SegmentNumber=1, SegmentLabel=f"Relevance >= {threshold:g} of its maximum",
        SegmentDescription=f"{stated}: {explanation.subject}", SegmentAlgorithmType="AUTOMATIC",
        SegmentAlgorithmName=explanation.method[:64], RecommendedDisplayCIELabValue=list(_COLOUR),
        SegmentedPropertyCategoryCodeSequence=[code("309825002", "SCT", "Spatial and Relational Concept")],
        SegmentedPropertyTypeCodeSequence=[code("REGION", OWN_SCHEME, "Region of relevance to a model's output")],
    )  # fmt: skip
    set_all(
        dataset, ImageType=["DERIVED", "PRIMARY"], SegmentationType="BINARY", SegmentSequence=[segment],
        SegmentsOverlap="NO", BitsAllocated=1, BitsStored=1, HighBit=0, PixelRepresentation=0,
    )  # fmt: skip
    set_pixels(dataset, np.packbits(inside.reshape(-1), bitorder="little").tobytes())
    return dataset
