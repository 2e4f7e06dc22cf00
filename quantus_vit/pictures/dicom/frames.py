"""What a Parametric Map and a Segmentation share: one frame, where it lies, and which image it was derived from.

Attributes are those of DICOM PS3.3 C.7.6.16 (multi-frame functional groups) and C.7.6.17 (dimensions).
"""

from __future__ import annotations

from typing import Any

from ..explanation import RESEARCH_ONLY, Explanation
from .source import OWN_SCHEME, DicomSource, code, item_of, new_uid, pydicom, set_all, source_item

__all__ = ["add_common", "has_place", "pixel_spacing"]


def add_common(dataset: Any, explanation: Explanation, source: DicomSource, label: str) -> tuple[Any, Any]:
    """Modules Image Pixel (but its bits), Multi-frame Functional Groups, Dimension, and Common Instance Reference.

    Parameters
    ----------
    dataset : pydicom.Dataset
        Gets the modules.
    explanation : Explanation
    source : DicomSource
    label : str
        Content Label: capital letters and underscores.

    Returns
    -------
    shared, frame : pydicom.Dataset
        Items of the functional groups of all frames, and of the one frame.
    """
    rows, columns = explanation.relevance.shape
    orientation = pydicom().uid.UID(new_uid())
    set_all(
        dataset, Rows=rows, Columns=columns, NumberOfFrames=1, SamplesPerPixel=1, BurnedInAnnotation="NO",
        PhotometricInterpretation="MONOCHROME2", ContentLabel=label, ContentCreatorName="",
        ContentDescription=RESEARCH_ONLY, ImageComments=RESEARCH_ONLY,
        DimensionOrganizationSequence=[item_of(DimensionOrganizationUID=orientation)],
        DimensionIndexSequence=[
            item_of(
                DimensionIndexPointer=0x00209057, FunctionalGroupPointer=0x00209111,
                DimensionOrganizationUID=orientation, DimensionDescriptionLabel="Frame",
            )
        ],
        ReferencedSeriesSequence=[
            item_of(
                SeriesInstanceUID=source.header.SeriesInstanceUID,
                ReferencedInstanceSequence=[
                    item_of(
                        ReferencedSOPClassUID=source.header.SOPClassUID,
                        ReferencedSOPInstanceUID=source.header.SOPInstanceUID,
                    )
                ],
            )
        ],
    )  # fmt: skip
    dataset.setdefault("LossyImageCompression", "00")
    derivation = item_of(
        DerivationDescription=f"{RESEARCH_ONLY}. Relevance map: {explanation.subject}",
        DerivationCodeSequence=[code("RELEVANCE", OWN_SCHEME, "Relevance of pixels to a model's output")],
        SourceImageSequence=[source_item(source)],
    )
    shared = item_of(DerivationImageSequence=[derivation])
    frame = item_of(FrameContentSequence=[item_of(DimensionIndexValues=1, StackID="1", InStackPositionNumber=1)])
    _add_place(dataset, shared, frame, source)
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = [frame]
    return shared, frame


def _add_place(dataset: Any, shared: Any, frame: Any, source: DicomSource) -> None:
    """Size of a pixel where the source says it, and its place in the patient where there is one."""
    spacing = pixel_spacing(source)
    if spacing is not None:
        shared.PixelMeasuresSequence = [item_of(PixelSpacing=spacing)]
        if source.get("SliceThickness") is not None:
            shared.PixelMeasuresSequence[0].SliceThickness = source.header.SliceThickness
    if has_place(source):
        dataset.FrameOfReferenceUID = source.header.FrameOfReferenceUID
        dataset.PositionReferenceIndicator = source.get("PositionReferenceIndicator") or ""
        direction = list(source.header.ImageOrientationPatient)
        shared.PlaneOrientationSequence = [item_of(ImageOrientationPatient=direction)]
        frame.PlanePositionSequence = [item_of(ImagePositionPatient=list(source.header.ImagePositionPatient))]


def pixel_spacing(source: DicomSource) -> list[Any] | None:
    """Distance of rows and of columns in mm; of a projection at the detector."""
    spacing = source.get("PixelSpacing") or source.get("ImagerPixelSpacing")
    return None if spacing is None else list(spacing)


def has_place(source: DicomSource) -> bool:
    """Whether the source says where its plane lies in the patient, as a section does and a projection does not."""
    needed = ("FrameOfReferenceUID", "ImagePositionPatient", "ImageOrientationPatient")
    return all(source.get(keyword) is not None for keyword in needed)
