"""The map as a Parametric Map (PS3.3 A.75): float32 relevance, a value a pixel of the source image."""

from __future__ import annotations

from typing import Any

from ..explanation import Explanation
from .frames import add_common, has_place, pixel_spacing
from .source import OWN_SCHEME, DicomSource, SeriesBook, code, item_of, new_dataset, new_uid, set_all

__all__ = ["parametric_map"]

_AXES = {"L": (1, 0, 0), "R": (-1, 0, 0), "P": (0, 1, 0), "A": (0, -1, 0), "H": (0, 0, 1), "F": (0, 0, -1)}
"""Letters of Patient Orientation as directions in the patient."""

_FRONTAL = [1, 0, 0, 0, 0, -1]
""""L\\F", how a chest film hangs."""


def parametric_map(explanation: Explanation, source: DicomSource, book: SeriesBook) -> Any:
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
        Pixels that the model does not see hold 0.
    """
    dataset = new_dataset(source, explanation, book, "ParametricMapStorage", "Relevance map", "OT")
    shared, frame = add_common(dataset, explanation, source, "RELEVANCE")
    values = explanation.without_gaps.astype("<f4")
    kind = ["DERIVED", "PRIMARY", "NONE", "NONE"]
    low, high = float(values.min()), float(values.max())
    quantity = item_of(
        ValueType="CODE", ConceptNameCodeSequence=[code("246205007", "SCT", "Quantity")],
        ConceptCodeSequence=[code("RELEVANCE", OWN_SCHEME, "Relevance of a pixel to a model's output")],
    )  # fmt: skip
    mapping = item_of(
        DoubleFloatRealWorldValueFirstValueMapped=low, DoubleFloatRealWorldValueLastValueMapped=high,
        RealWorldValueIntercept=0.0, RealWorldValueSlope=1.0, LUTLabel="RELEVANCE",
        LUTExplanation="Relevance to a model's output", QuantityDefinitionSequence=[quantity],
        MeasurementUnitsCodeSequence=[code("1", "UCUM", "no units")],
    )  # fmt: skip
    shared.RealWorldValueMappingSequence = [mapping]
    shared.PixelValueTransformationSequence = [item_of(RescaleIntercept=0, RescaleSlope=1, RescaleType="US")]
    shared.ParametricMapFrameTypeSequence = [item_of(FrameType=kind)]
    # A viewer's window: the whole range, from the lowest to the highest value.
    shared.FrameVOILUTSequence = [
        item_of(WindowCenter=_decimal((low + high) / 2), WindowWidth=_decimal(max(high - low, 1e-30)),
                VOILUTFunction="LINEAR_EXACT")
    ]  # fmt: skip
    set_all(
        dataset, ImageType=kind, ContentQualification="RESEARCH", PresentationLUTShape="IDENTITY", BitsAllocated=32,
        RecognizableVisualFeatures="NO", AcquisitionContextSequence=[],
    )  # fmt: skip
    if not has_place(source):
        _add_nominal_plane(dataset, shared, frame, source)
    dataset.FloatPixelData = values.tobytes()
    return dataset


def _add_nominal_plane(dataset: Any, shared: Any, frame: Any, source: DicomSource) -> None:
    """A plane in a frame of reference of its own, which the format asks for and a projection does not have."""
    spacing, direction = pixel_spacing(source), _direction(source)
    unknown = [
        words
        for words, known in (("the size of its pixels (1 mm)", spacing), ("its orientation (frontal)", direction))
        if known is None
    ]
    told = f" and {' and '.join(unknown)}" if unknown else ""
    shared.DerivationImageSequence[
        0
    ].DerivationDescription += (
        f". A projection: the position of its plane{told} is nominal, in a frame of reference of its own"
    )
    set_all(dataset, FrameOfReferenceUID=new_uid(), PositionReferenceIndicator="")
    if spacing is None:
        shared.PixelMeasuresSequence = [item_of(PixelSpacing=[1, 1])]
    shared.PlaneOrientationSequence = [item_of(ImageOrientationPatient=direction or _FRONTAL)]
    frame.PlanePositionSequence = [item_of(ImagePositionPatient=[0, 0, 0])]


def _direction(source: DicomSource) -> list[int] | None:
    """Direction of rows and of columns by Patient Orientation (C.7.6.1.1.1), where it says both."""
    words = source.get("PatientOrientation")
    words = [words] if isinstance(words, str) else list(words or ())
    if len(words) != 2 or not all(str(word)[:1] in _AXES for word in words):
        return None
    first, second = (_AXES[str(word)[0]] for word in words)
    return None if first == second or all(a == -b for a, b in zip(first, second, strict=True)) else [*first, *second]


def _decimal(value: float) -> str:
    """A decimal string (DS) of at most 16 characters."""
    return f"{value:.8g}"
