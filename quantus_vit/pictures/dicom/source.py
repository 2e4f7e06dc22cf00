"""What all DICOM files of a map share: patient and study of the source, new series, equipment, and how they are saved.

Knows pydicom (the extra ``dicom``), imported when the first of them is made. Attributes and their types are those of
DICOM PS3.3, whose module a function names.
"""

from __future__ import annotations

import datetime
import importlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import IO, Any

from ..._version import __version__
from ...data.dicom import read_header
from ...files import write_whole
from ..explanation import Explanation

__all__ = [
    "OWN_SCHEME", "DicomSource", "SeriesBook", "code", "item_of", "new_dataset", "new_uid", "pydicom",
    "read_source", "save_dataset", "set_all", "set_pixels", "source_item",
]  # fmt: skip

_PATIENT = (
    "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "PatientIdentityRemoved",
    "DeidentificationMethod", "DeidentificationMethodCodeSequence",
)  # fmt: skip
_STUDY = (
    "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName",
    "StudyDescription", "PatientAge", "PatientSize", "PatientWeight",
)  # fmt: skip
_MAY_BE_EMPTY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
_LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
_NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID")
_FIRST_SERIES = 9001
"""Number of the first new series: far from those of a scanner."""


def pydicom() -> ModuleType:
    """The package, or what to install."""
    try:
        return importlib.import_module("pydicom")
    except ImportError:
        raise ImportError("DICOM files are written by pydicom: pip install 'quantus-vit[dicom]'") from None


@dataclass(frozen=True)
class DicomSource:
    """The header of the file that a map is of.

    Parameters
    ----------
    header : pydicom.Dataset
        Without the pixels.
    """

    header: Any

    def get(self, keyword: str) -> Any:
        """An attribute, or None where it is missing or empty."""
        value = self.header.get(keyword)
        return None if value is None or value == "" else value


def read_source(path: str | os.PathLike[str]) -> DicomSource:
    """Read what the files of a map take over.

    Raises
    ------
    FileNotFoundError, ImportError
        As :func:`quantus_vit.data.dicom.read_dicom`.
    ValueError
        The file is no DICOM, or lacks the identifiers of its study or its own.
    """
    pydicom()
    header = read_header(path)
    missing = [keyword for keyword in _NEEDED if not header.get(keyword)]
    if missing:
        raise ValueError(f"{os.fspath(path)!r} lacks {', '.join(missing)}, so nothing can be filed beside it in DICOM")
    return DicomSource(header)


@dataclass
class SeriesBook:
    """Which new series the files of a run belong to: one for each study, kind of file and method."""

    _known: dict[tuple[str, str, str], tuple[str, int]] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)

    def entry(self, source: DicomSource, kind: str, method: str) -> tuple[str, int, int]:
        """UID and number of the series, and the next number of an instance within it."""
        key = (str(source.header.StudyInstanceUID), kind, method)
        if key not in self._known:
            number = _FIRST_SERIES + sum(study == key[0] for study, _, _ in self._known)
            self._known[key] = (new_uid(), number)
        uid, number = self._known[key]
        self._counts[uid] = self._counts.get(uid, 0) + 1
        return uid, number, self._counts[uid]


def new_uid() -> str:
    """A UID made of a random number ("2.25."), which needs no registered root."""
    return str(pydicom().uid.generate_uid(prefix=None))


def new_dataset(
    source: DicomSource, explanation: Explanation, book: SeriesBook, storage: str, kind: str, modality: str
) -> Any:
    """A data set with the modules Patient, General Study, General Series, General Equipment and SOP Common.

    Parameters
    ----------
    source : DicomSource
    explanation : Explanation
    book : SeriesBook
    storage : str
        Name of the SOP class in pydicom, such as "SecondaryCaptureImageStorage".
    kind : str
        What the series holds, in words.
    modality : str
    """
    dataset = pydicom().Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"  # UTF-8 holds the names of every other set
    for keyword in (*_PATIENT, *_STUDY):
        value = source.get(keyword)
        if value is not None:
            setattr(dataset, keyword, value)
        elif keyword in _MAY_BE_EMPTY:
            setattr(dataset, keyword, "")
    uid, number, instance = book.entry(source, kind, explanation.method)
    now = datetime.datetime.now()
    date, time = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    set_all(
        dataset, SOPClassUID=getattr(pydicom().uid, storage), SOPInstanceUID=new_uid(), Modality=modality,
        SeriesInstanceUID=uid, SeriesNumber=number, InstanceNumber=instance, SeriesDate=date, SeriesTime=time,
        InstanceCreationDate=date, InstanceCreationTime=time, ContentDate=date, ContentTime=time,
        SeriesDescription=_short(f"{kind}: {explanation.method} (research use only)"),
        Manufacturer="quantus-vit", ManufacturerModelName="quantus-vit explain", SoftwareVersions=__version__,
        DeviceSerialNumber=explanation.model_digest or "none",
    )  # fmt: skip
    for keyword in _LOSSY:  # what was lost once stays lost
        if source.get(keyword) is not None:
            setattr(dataset, keyword, source.header[keyword].value)
    _add_body_part(dataset, source)
    dataset.ContributingEquipmentSequence = [_contribution()]
    return dataset


def _add_body_part(dataset: Any, source: DicomSource) -> None:
    """Which part of the body, and of which side; empty where it is not known."""
    dataset.PatientOrientation = source.get("PatientOrientation") or ""
    part, side = source.get("BodyPartExamined"), source.get("Laterality")
    if part is not None:
        dataset.BodyPartExamined = part
    # A Segmentation may not say it; others must, unless the part is one that nobody has two of.
    if dataset.Modality != "SEG" and (side is not None or part is None):
        dataset.Laterality = side or ""


def _contribution() -> Any:
    return item_of(
        Manufacturer="quantus-vit", SoftwareVersions=__version__,
        PurposeOfReferenceCodeSequence=[code("109102", "DCM", "Processing Equipment")],
    )  # fmt: skip


def _short(text: str, length: int = 64) -> str:
    """Text that a long string (LO) of DICOM takes: 64 characters, no backslash."""
    text = text.replace("\\", "/")
    return text if len(text) <= length else text[: length - 3].rstrip() + "..."


def set_all(dataset: Any, **attributes: Any) -> None:
    """Set attributes by their keywords."""
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)


def set_pixels(dataset: Any, content: bytes) -> None:
    """Set the pixels, padded to an even number of bytes."""
    dataset.PixelData = content + b"\0" * (len(content) % 2)
    dataset["PixelData"].VR = "OB"


def item_of(**attributes: Any) -> Any:
    """An item of a sequence."""
    item = pydicom().Dataset()
    set_all(item, **attributes)
    return item


def code(value: str, scheme: str, meaning: str) -> Any:
    """A coded concept."""
    return item_of(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


OWN_SCHEME = "99QVIT"
"""Designator of this package's private codes; such ones begin with 99."""


def source_item(source: DicomSource) -> Any:
    """Reference to the source image."""
    return item_of(
        ReferencedSOPClassUID=source.header.SOPClassUID, ReferencedSOPInstanceUID=source.header.SOPInstanceUID,
        PurposeOfReferenceCodeSequence=[code("121322", "DCM", "Source image for image processing operation")],
    )  # fmt: skip


def save_dataset(dataset: Any, path: Path) -> None:
    """Write a data set as a file of explicit little-endian values; whole, or not at all."""
    package = pydicom()
    dataset.file_meta = package.dataset.FileMetaDataset()
    set_all(
        dataset.file_meta, MediaStorageSOPClassUID=dataset.SOPClassUID,
        MediaStorageSOPInstanceUID=dataset.SOPInstanceUID, TransferSyntaxUID=package.uid.ExplicitVRLittleEndian,
    )  # fmt: skip

    def write(file: IO[bytes]) -> None:
        if int(package.__version__.split(".")[0]) >= 3:
            package.dcmwrite(file, dataset, enforce_file_format=True)
        else:
            dataset.is_little_endian, dataset.is_implicit_VR = True, False
            package.dcmwrite(file, dataset, write_like_original=False)

    write_whole(path, write)
