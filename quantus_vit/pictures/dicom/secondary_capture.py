"""The overlay as a Secondary Capture Image (PS3.3 A.8), with what it is and is not burned into its pixels."""

from __future__ import annotations

from typing import Any

from ..compositing import burned_in
from ..explanation import RESEARCH_ONLY, Explanation
from .source import DicomSource, SeriesBook, new_dataset, set_all, set_pixels, source_item

__all__ = ["secondary_capture"]


def secondary_capture(explanation: Explanation, source: DicomSource, book: SeriesBook) -> Any:
    """Make the data set.

    Parameters
    ----------
    explanation : Explanation
    source : DicomSource
        Of the explained file; patient and study are taken over.
    book : SeriesBook
        Of this run.

    Returns
    -------
    pydicom.Dataset
    """
    pixels, zoom = burned_in(explanation)
    dataset = new_dataset(source, explanation, book, "SecondaryCaptureImageStorage", "Overlay", "OT")
    enlarged = f"; each pixel of the source drawn as {zoom} x {zoom}" if zoom > 1 else ""
    set_all(
        dataset, ConversionType="WSD", ImageType=["DERIVED", "SECONDARY", "OTHER"],
        DerivationDescription=f"{RESEARCH_ONLY}. Relevance map laid over the source image: {explanation.subject}; band "
        f"with text and colour scale below the image{enlarged}", SourceImageSequence=[source_item(source)],
        ImageComments=RESEARCH_ONLY, BurnedInAnnotation="YES", SamplesPerPixel=3, PhotometricInterpretation="RGB",
        PlanarConfiguration=0, Rows=pixels.shape[0], Columns=pixels.shape[1], BitsAllocated=8, BitsStored=8, HighBit=7,
        PixelRepresentation=0,
    )  # fmt: skip
    set_pixels(dataset, pixels.tobytes())
    return dataset
