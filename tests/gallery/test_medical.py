"""DICOM and NIfTI: what is taken over, what is burned in, where pixels lie, and that nothing else tells the patient."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.font_manager import findfont, get_font

from quantus_vit.gallery.formats import affine_of
from quantus_vit.pictures import lettering
from quantus_vit.pictures.compositing import burned_in
from quantus_vit.pictures.dicom import SeriesBook, parametric_map, read_source, save_dataset, secondary_capture
from quantus_vit.pictures.dicom import segmentation as segmentation_of
from quantus_vit.pictures.explanation import RESEARCH_ONLY, Explanation
from quantus_vit.pictures.lettering import fonted, legible
from quantus_vit.pictures.numbers import save_nifti

from .conftest import MARK, explain

pydicom = pytest.importorskip("pydicom")


def errors_of(path: Path) -> list[str]:
    """What dciodvfy of dicom3tools finds wrong; a skip where it is not installed."""
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy (Debian's dicom3tools) is not installed")
    done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True)
    assert done.stderr.strip(), "dciodvfy said nothing, not even the kind of the file"
    return [line for line in done.stderr.splitlines() if line.startswith("Error")]


def explanation_of(path: Path, shape: tuple[int, int], signed: bool = True) -> Explanation:
    relevance = np.zeros(shape, np.float32)
    relevance[2:5, 3:9] = 2.0
    relevance[6, 6] = 0.9
    relevance[-3:, -4:] = -1.0
    relevance[:, 0] = np.nan
    grey = np.full(shape, 0.25, np.float32)
    return Explanation(
        "image0001", grey, relevance, signed, "AttnLRP", "Pneumonia", 0.93, "Pneumonia (prob. 0.93)",
        "0123456789abcdef", str(path),
    )  # fmt: skip


@pytest.fixture
def written(marked_dicom, tmp_path):
    """The three kinds of files of one source."""
    explanation, source, book = explanation_of(marked_dicom, (48, 60)), read_source(marked_dicom), SeriesBook()
    files = {
        "capture": secondary_capture(explanation, source, book), "map": parametric_map(explanation, source, book),
        "segment": segmentation_of(explanation, source, book, 0.5),
    }  # fmt: skip
    for name, dataset in files.items():
        save_dataset(dataset, tmp_path / f"{name}.dcm")
    return {name: tmp_path / f"{name}.dcm" for name in files}


def test_patient_and_study_are_the_sources_and_series_and_instance_are_new(written, marked_dicom) -> None:
    source = pydicom.dcmread(marked_dicom)
    files = [pydicom.dcmread(path) for path in written.values()]
    for file in files:
        for keyword in (
            "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate", "StudyTime",
            "AccessionNumber", "StudyID", "ReferringPhysicianName",
        ):  # fmt: skip
            assert str(file[keyword].value) == str(source[keyword].value), keyword
        assert "Müller" in str(file.PatientName)
        references = str(file)
        assert source.SOPInstanceUID in references
        assert file.Manufacturer == "quantus-vit"
        assert RESEARCH_ONLY in references
        assert "diagnos" not in references.replace(RESEARCH_ONLY, "").lower()
    identifiers = [uid for file in files for uid in (file.SeriesInstanceUID, file.SOPInstanceUID)]
    assert len({*identifiers, source.SeriesInstanceUID, source.SOPInstanceUID}) == 8


@pytest.mark.parametrize("kind", ["capture", "map", "segment"])
def test_a_validator_finds_no_errors_in_files_of_a_projection(written, kind) -> None:
    assert errors_of(written[kind]) == []


@pytest.mark.parametrize("kind", ["capture", "map", "segment"])
def test_a_validator_finds_no_errors_in_files_of_a_section(tmp_path, kind) -> None:
    from pydicom.data import get_testdata_file

    path = Path(get_testdata_file("CT_small.dcm"))
    explanation, source, book = explanation_of(path, (128, 128)), read_source(path), SeriesBook()
    made = {"capture": secondary_capture, "map": parametric_map}
    dataset = made[kind](explanation, source, book) if kind in made else segmentation_of(explanation, source, book, 0.5)
    save_dataset(dataset, tmp_path / "a.dcm")
    if kind != "capture":
        file, original = pydicom.dcmread(tmp_path / "a.dcm"), pydicom.dcmread(path)
        assert file.FrameOfReferenceUID == original.FrameOfReferenceUID
        place = file.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient
        assert list(place) == list(original.ImagePositionPatient)
    assert errors_of(tmp_path / "a.dcm") == []


def test_the_capture_shows_the_image_the_map_and_the_warning(written) -> None:
    file = pydicom.dcmread(written["capture"])
    assert file.BurnedInAnnotation == "YES"
    assert (file.Modality, file.ConversionType) == ("OT", "WSD")
    assert file.SourceImageSequence[0].ReferencedSOPClassUID == pydicom.uid.DigitalXRayImageStorageForPresentation
    pixels = file.pixel_array.astype(int)
    zoom = pixels.shape[1] // 60
    assert f"drawn as {zoom} x {zoom}" in file.DerivationDescription
    image = pixels[: 48 * zoom : zoom, ::zoom]
    assert (image[20, 30] == 64).all()  # a quarter of 255, where there is no relevance
    assert image[3, 5, 0] > image[3, 5, 2] + 60  # orange: for
    assert image[-2, -2, 2] > image[-2, -2, 1] + 20  # purple: against
    band = pixels[48 * zoom :]
    yellow = (band[..., 0] > 200) & (band[..., 1] > 180) & (band[..., 2] < 120)
    columns = np.flatnonzero(yellow.any(axis=0))
    assert yellow.sum() > 300
    assert columns.max() < pixels.shape[1] - 2  # no letter is cut off
    assert np.ptp(columns) > pixels.shape[1] * 0.5


def test_letters_of_any_script_are_burned_in_by_a_font_that_has_them_or_as_codes(marked_dicom, monkeypatch) -> None:
    explanation = explanation_of(marked_dicom, (48, 60))

    def band(name: str) -> np.ndarray:
        return burned_in(replace(explanation, target=name))[0]

    monkeypatch.setattr(lettering, "_installed", lambda: ())
    assert legible("肺炎 1") == "[U+80BA U+708E] 1"
    np.testing.assert_array_equal(band("肺炎"), band("[U+80BA U+708E]"))
    # A font that comes with matplotlib stands for one of a system that has the letter, and the default has not.
    default = get_font(findfont("DejaVu Sans")).get_charmap()
    letter = chr(min(code for code in get_font(findfont("STIXGeneral")).get_charmap() if code not in default))
    monkeypatch.setattr(lettering, "_installed", lambda: ("STIXGeneral",))
    assert [Path(file).name for _, file in fonted(f"a{letter}")] == ["DejaVuSans.ttf", "STIXGeneral.ttf"]
    assert legible(letter) == letter
    assert not np.array_equal(band(f"a{letter}"), band("a"))  # it leaves ink


def test_the_parametric_map_holds_the_values(written, marked_dicom) -> None:
    file = pydicom.dcmread(written["map"])
    expected = np.nan_to_num(explanation_of(marked_dicom, (48, 60)).relevance, nan=0.0)
    values = np.frombuffer(file.FloatPixelData, "<f4").reshape(file.Rows, file.Columns)
    np.testing.assert_array_equal(values, expected)
    shared, frame = file.SharedFunctionalGroupsSequence[0], file.PerFrameFunctionalGroupsSequence[0]
    assert [float(side) for side in shared.PixelMeasuresSequence[0].PixelSpacing] == [0.15, 0.2]
    assert list(shared.PlaneOrientationSequence[0].ImageOrientationPatient) == [1, 0, 0, 0, 0, -1]
    assert list(frame.PlanePositionSequence[0].ImagePositionPatient) == [0, 0, 0]
    assert "nominal" in shared.DerivationImageSequence[0].DerivationDescription
    mapping = shared.RealWorldValueMappingSequence[0]
    assert (mapping.RealWorldValueIntercept, mapping.RealWorldValueSlope) == (0, 1)
    assert mapping.DoubleFloatRealWorldValueFirstValueMapped == -1.0
    assert mapping.DoubleFloatRealWorldValueLastValueMapped == 2.0


def test_the_segment_is_what_reaches_the_stated_threshold(written, marked_dicom) -> None:
    file = pydicom.dcmread(written["segment"])
    relevance = explanation_of(marked_dicom, (48, 60)).relevance
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(file.pixel_array.astype(bool), relevance >= 1.0)
    segment = file.SegmentSequence[0]
    assert segment.SegmentLabel == "Relevance >= 0.5 of its maximum"
    assert "at least 0.5 of the map's largest value 2" in segment.SegmentDescription
    assert segment.SegmentAlgorithmType == "AUTOMATIC"


def test_a_map_that_nothing_speaks_for_has_no_segment(marked_dicom) -> None:
    explanation = explanation_of(marked_dicom, (48, 60))
    against = Explanation(**{**explanation.__dict__, "relevance": -np.abs(explanation.relevance)})
    with pytest.raises(ValueError, match="no pixel speaks for 'Pneumonia'"):
        segmentation_of(against, read_source(marked_dicom), SeriesBook(), 0.5)


def test_files_without_the_identifiers_of_a_study_are_refused(tmp_path, write_dicom) -> None:
    path = write_dicom(tmp_path / "a.dcm", np.arange(64, dtype=np.uint8).reshape(8, 8))
    with pytest.raises(ValueError, match=r"a\.dcm' lacks StudyInstanceUID, SeriesInstanceUID"):
        read_source(path)


@pytest.mark.parametrize("kind", ["parametric", "segmentation", "none"])
def test_the_command_writes_dicom(tmp_path, marked_dicom, model_file, kind) -> None:
    out = tmp_path / "out"
    given = ["--model", f"{model_file}:squashing", "--method", "AttentionRollout", "--quiet", "--out", out]
    assert explain(marked_dicom, *given, "--format", "dicom", "--dicom-map", kind, "--threshold", "0.25") == 0
    names = sorted(path.name for path in out.glob("*.dcm"))
    beside = [] if kind == "none" else [f"image0001-AttentionRollout-{kind}.dcm"]
    assert names == sorted([*beside, "image0001-AttentionRollout.dcm"])
    for name in names:
        file = pydicom.dcmread(out / name)
        assert str(file.PatientID) == f"ID{MARK}"
    if kind == "segmentation":
        file = pydicom.dcmread(out / beside[0])
        assert file.SegmentSequence[0].SegmentLabel == "Relevance >= 0.25 of its maximum"


def test_nothing_else_tells_the_patient(tmp_path, marked_dicom, model_file, capfd) -> None:
    """Pictures, tables, names, messages: only the DICOM files themselves hold the mark, or what the user asks for."""
    out, broken = tmp_path / "out", marked_dicom.with_name(f"broken-{MARK}.dcm")
    broken.write_bytes(marked_dicom.read_bytes()[:400])
    given = ["--model", f"{model_file}:squashing", "--method", "AttentionRollout", "--out", out]
    code = explain(marked_dicom, broken, *given, "--format", "png", "pdf", "svg", "tiff", "dicom", "nifti")
    said = capfd.readouterr()
    assert code == 2
    assert "1 of 2 images could not be explained by every method. image0002: " in said.err
    assert MARK not in said.out
    assert MARK not in said.err
    seen = {path.name for path in out.iterdir()}
    assert {"explain.csv", "maps.npz", "contact_sheet.png", "image0001-AttentionRollout.png"} <= seen
    for path in out.iterdir():
        assert MARK not in path.name
        if path.suffix == ".dcm":
            continue
        assert MARK.encode() not in content_of(path), path.name
        assert b"19330102" not in content_of(path), path.name
    assert explain(marked_dicom, *given, "--names", "file", "--quiet") == 0
    assert (out / f"{MARK}-AttentionRollout.png").exists()


def content_of(path: Path) -> bytes:
    """All bytes of a file, unpacked where it is packed."""
    content = path.read_bytes()
    if path.suffix == ".npz":
        with zipfile.ZipFile(path) as archive:
            content += b"".join(archive.read(name) for name in archive.namelist())
    if path.suffix == ".pdf":
        import re
        import zlib

        for match in re.finditer(rb"stream\r?\n(.*?)endstream", content, re.S):
            try:
                content += zlib.decompress(match[1])
            except zlib.error:
                continue
    if path.suffix == ".gz":
        import gzip

        content += gzip.decompress(content)
    return content


def test_nifti_holds_volumes_the_other_way_round(tmp_path) -> None:
    nibabel = pytest.importorskip("nibabel")
    volume = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    affine = np.diag([0.5, 0.7, 2.0, 1.0])
    affine[:3, 3] = [1, 2, 3]
    for name in ("a.nii", "a.nii.gz"):
        save_nifti(tmp_path / name, volume, affine, "AttnLRP")
        image = nibabel.load(tmp_path / name)
        assert image.shape == (5, 4, 3)
        data = np.asarray(image.dataobj)
        assert data.dtype == np.float32
        np.testing.assert_array_equal(data[4, 2, 1], volume[1, 2, 4])
        np.testing.assert_array_equal(data.T, volume)
        np.testing.assert_allclose(image.affine, affine)
        assert image.header.get_xyzt_units()[0] == "mm"
    save_nifti(tmp_path / "b.nii", volume[0])
    image = nibabel.load(tmp_path / "b.nii")
    assert image.shape == (5, 4, 1)
    assert (int(image.header["qform_code"]), int(image.header["sform_code"])) == (0, 0)
    for shape, place, message in (((2,), "c.nii", "a map"), ((2, 2), "c.img", "ends with .nii")):
        with pytest.raises(ValueError, match=message):
            save_nifti(tmp_path / place, np.zeros(shape))


def test_a_sections_place_in_the_patient_goes_into_nifti(tmp_path, model_file) -> None:
    nibabel = pytest.importorskip("nibabel")
    from pydicom.data import get_testdata_file

    path = get_testdata_file("CT_small.dcm")
    header = pydicom.dcmread(path)
    given = ["--model", f"{model_file}:squashing", "--method", "AttentionRollout", "--quiet"]
    assert explain(path, *given, "--out", tmp_path / "ct.nii.gz") == 0
    image = nibabel.load(tmp_path / "ct.nii.gz")
    assert image.shape == (128, 128, 1)
    x, y, z = (float(value) for value in header.ImagePositionPatient)
    np.testing.assert_allclose(image.affine[:3, 3], [-x, -y, z], rtol=1e-5)
    down, across = (float(value) for value in header.PixelSpacing)
    np.testing.assert_allclose(image.affine @ [2, 3, 0, 1], [-(x + 2 * across), -(y + 3 * down), z, 1], rtol=1e-5)


def test_a_projection_has_no_place(marked_dicom) -> None:
    assert affine_of(str(marked_dicom)) is None
