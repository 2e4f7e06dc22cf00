"""The command on several images and methods: what it writes, what it says, and what it does about failures."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import quantus_vit
from quantus_vit.data.images import read_grey, read_stored
from quantus_vit.gallery.gallery import Gallery
from quantus_vit.models import load_model

from .conftest import MODELS, explain


def table_of(folder) -> list[dict[str, str]]:
    with open(folder / "explain.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_one_damaged_image_does_not_stop_the_others(tmp_path, films, model_file, capsys) -> None:
    out = tmp_path / "out"
    methods = ["AttnLRP[conv_gamma=0.5]", "AttentionRollout"]
    code = explain(films, "--model", f"{model_file}:cropping", "--method", *methods, "--out", out, "--target", "Edema")
    assert code == 2
    said = capsys.readouterr()
    assert (
        said.err.strip()
        .splitlines()[-1]
        .startswith("quantus-vit: error: 1 of 3 images could not be explained by every method. b: cannot read ")
    )
    assert "2 of 3 images explained by 2 methods" in said.out
    rows = table_of(out)
    assert [(row["image"], row["method"]) for row in rows] == [
        ("a", methods[0]), ("a", methods[1]), ("b", ""), ("c", methods[0]), ("c", methods[1]),
    ]  # fmt: skip
    assert "as an image" in rows[2]["error"]
    classifier = load_model(f"{model_file}:cropping")
    pictures = {"a": films / "a.png", "c": films / "later" / "c.png"}
    with np.load(out / "maps.npz", allow_pickle=False) as maps:
        assert maps["images"].tolist() == ["a", "c"]
        assert maps["targets"].tolist() == [1, 1]
        assert maps["class_names"].tolist() == ["Nodule", "Edema"]
        for number, name in enumerate(maps["images"]):
            image = classifier.preprocessing.image(read_grey(pictures[str(name)]))[None]
            expected = quantus_vit.AttnLRP(classifier.module, conv_gamma=0.5).attribute(image, 1).sum(1)[0].detach()
            np.testing.assert_allclose(maps[methods[0]][number], expected, atol=1e-5 * float(expected.abs().max()))
            with torch.no_grad():
                probabilities = classifier.module(image).softmax(-1)[0]
            np.testing.assert_allclose(maps["probabilities"][number], probabilities, atol=1e-5)
            row = next(row for row in rows if row["image"] == name)
            np.testing.assert_allclose([float(word) for word in row["probabilities"].split()], probabilities, rtol=1e-4)
            assert row["target"] == "Edema"
            assert float(row["probability"]) == pytest.approx(float(probabilities[1]), rel=1e-4)
            assert row["prediction"] == classifier.class_names[int(probabilities.argmax())]
            assert float(row["seconds"]) > 0
        assert maps["AttentionRollout"].shape == (2, 32, 32)
    written = {row["file"] for row in rows if row["file"]}
    assert written == {
        f"{image}-{method}.png" for image in "ac" for method in ("AttnLRP_conv_gamma_0.5", "AttentionRollout")
    }
    assert {path.name for path in out.iterdir()} == {*written, "explain.csv", "maps.npz", "contact_sheet.png"}
    for name in (*written, "contact_sheet.png"):
        with Image.open(out / name) as picture:
            assert min(picture.size) > 300


def test_two_files_of_one_name_are_told_apart_by_their_source(tmp_path, films, model_file) -> None:
    shutil.copy(films / "a.png", films / "later" / "a.png")
    out = tmp_path / "out"
    paths = [films / "a.png", films / "later" / "a.png"]
    assert explain(*paths, "--model", f"{model_file}:cropping", "--method", "AttentionRollout", "--out", out) == 0
    assert [(row["image"], row["source"]) for row in table_of(out)] == [("a", str(paths[0])), ("a-2", str(paths[1]))]


def test_quiet_says_nothing(tmp_path, films, model_file, capsys) -> None:
    given = ["--model", f"{model_file}:squashing", "--method", "AttentionRollout", "--out", tmp_path / "out"]
    assert explain(films / "a.png", films / "later", *given, "--quiet") == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "explain:" not in said.err
    assert explain(films / "a.png", films / "later", *given) == 0
    said = capsys.readouterr()
    assert re.search(r"explain: 100%.*2/2", said.err)
    assert said.out.startswith("a: predicted ")


def test_tables_say_the_target(tmp_path, films, model_file, capsys) -> None:
    table = tmp_path / "list.csv"
    table.write_text("path,target\nfilms/a.png,edema\nfilms/a.png,0\nfilms/later/c.png,Mass\n")
    out = tmp_path / "out"
    given = ["--model", f"{model_file}:squashing", "--method", "AttentionRollout", "--out", out, "--quiet"]
    assert explain(table, *given) == 2
    assert "c: unknown target 'Mass'; the model's classes are 0 Nodule, 1 Edema" in capsys.readouterr().err
    assert [row["target"] for row in table_of(out)] == ["Edema", "Nodule", ""]


def test_the_float_tiff_is_the_map_in_the_images_own_pixels(tmp_path, films, model_file) -> None:
    out = tmp_path / "map.tif"
    given = ["--model", f"{model_file}:cropping", "--method", "AttnLRP", "--target", "Nodule", "--quiet"]
    assert explain(films / "a.png", *given, "--out", out) == 0
    classifier = load_model(f"{model_file}:cropping")
    grey = read_grey(films / "a.png")
    relevance = quantus_vit.AttnLRP(classifier.module).attribute(classifier.preprocessing.image(grey)[None], 0)
    expected = classifier.preprocessing.undo(relevance.sum(1)[0].detach(), grey.shape)
    values = read_stored(out)
    assert values.dtype == np.float32
    assert values.shape == (40, 64)
    np.testing.assert_array_equal(np.isnan(values), np.isnan(expected))
    assert np.isnan(values)[:, :12].all()  # cut off by the crop of 64 to 40 columns
    np.testing.assert_allclose(values, expected, atol=1e-5 * np.nanmax(np.abs(expected)))
    with Image.open(out) as image:
        told = json.loads(image.tag_v2[270])
    assert told["method"] == "AttnLRP"
    assert told["target"] == "Nodule"
    assert told["model_digest"] == classifier.digest
    tifffile = pytest.importorskip("tifffile")
    np.testing.assert_array_equal(tifffile.imread(out), values)


def test_several_formats_at_once(tmp_path, films, model_file) -> None:
    out = tmp_path / "out"
    given = ["--model", f"{model_file}:squashing", "--method", "AttentionRollout", "--out", out, "--quiet"]
    assert explain(films / "a.png", *given, "--format", "pdf", "tiff", "svg", "jpeg") == 0
    assert table_of(out)[0]["file"] == "|".join(f"a-AttentionRollout.{end}" for end in ("pdf", "tif", "svg", "jpg"))
    pdf = (out / "a-AttentionRollout.pdf").read_bytes()
    assert b"/FontFile2" in pdf
    assert "Research use only" in (out / "a-AttentionRollout.svg").read_text()
    assert explain(films / "a.png", *given, "--format", "pdf") == 0
    assert (out / "contact_sheet.pdf").exists()


def test_sheets_have_a_page_for_each_dozen(tmp_path, films, model_file) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(13):
        (folder / f"{number:02d}.png").write_bytes((films / "a.png").read_bytes())
    out = tmp_path / "out"
    given = ["--model", f"{model_file}:squashing", "--method", "Random", "--format", "tiff", "--out", out, "--quiet"]
    assert explain(folder, *given) == 0
    pages = sorted(path.name for path in out.glob("contact_sheet*"))
    assert pages == ["contact_sheet-2.png", "contact_sheet.png"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--format": "bmp"}, "'bmp'"),
        ({"--format": "tiff", "--out": "x.png"}, "is png, --format says tiff"),
        ({"--threshold": "1.5"}, "--threshold must be a share in (0, 1]"),
        ({"--batch-size": "0"}, "--batch-size must be at least 1, got 0"),
        ({"--format": "dicom"}, "takes patient and study from a DICOM image"),
    ],
)
def test_what_the_options_refuse(tmp_path, films, model_file, capsys, monkeypatch, changes, message) -> None:
    monkeypatch.chdir(tmp_path)
    if changes.get("--format") == "dicom":
        pytest.importorskip("pydicom")
    options = {"--model": f"{model_file}:squashing", "--out": "out", **changes}
    assert explain(films / "a.png", *(word for pair in options.items() for word in pair)) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("quantus-vit: error: ")
    assert message in error


def test_the_image_itself_is_never_overwritten(films, model_file, capsys) -> None:
    before = (films / "a.png").read_bytes()
    out = films / "later" / ".." / "a.png"
    assert explain(films / "a.png", "--model", f"{model_file}:squashing", "--out", out) == 2
    assert "is the image itself" in capsys.readouterr().err
    assert (films / "a.png").read_bytes() == before


@pytest.mark.parametrize("precision", ["double", "bfloat16"])
def test_a_model_of_another_precision_gets_its_images_in_it(films, model_file, tmp_path, precision) -> None:
    own = tmp_path / "own.py"
    own.write_text(f"{MODELS}\ndef made():\n    made = squashing()\n    made.module.{precision}()\n    return made\n")
    given = ["--method", "AttnLRP", "--format", "tiff", "--quiet"]
    for name, model in (("plain", f"{model_file}:squashing"), (precision, f"{own}:made")):
        assert explain(films / "a.png", "--model", model, *given, "--out", tmp_path / f"{name}.tif") == 0
    plain, other = (np.array(Image.open(tmp_path / f"{name}.tif")) for name in ("plain", precision))
    assert np.corrcoef(plain.ravel(), other.ravel())[0, 1] > 0.99


def test_a_method_named_twice_is_refused(films, model_file, tmp_path, capsys) -> None:
    given = ["--model", f"{model_file}:squashing", "--out", tmp_path / "out"]
    assert explain(films / "a.png", *given, "--method", "AttnLRP", "AttnLRP") == 2
    assert "--method names a method twice: AttnLRP, AttnLRP" in capsys.readouterr().err


def test_a_method_that_fails_on_every_image_stops_at_once(tmp_path, films, model_file, capsys) -> None:
    def broken(model, inputs, targets, **kwargs):
        calls.append(1)
        raise RuntimeError("nothing works")

    calls: list[int] = []
    for number in range(6):
        (films / f"d{number}.png").write_bytes((films / "a.png").read_bytes())
    quantus_vit.register_method("Broken", broken)
    try:
        with pytest.raises(RuntimeError, match="nothing works"):
            explain(
                films, "--model", f"{model_file}:squashing", "--method", "Broken", "--out", tmp_path / "o", "--quiet"
            )
    finally:
        quantus_vit.unregister_method("Broken")
    assert len(calls) == 3


def test_a_method_that_fails_on_one_image_leaves_its_place_empty(tmp_path, films, model_file, capsys) -> None:
    def picky(model, inputs, targets, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            return np.full((1, 1, 32, 32), np.nan, np.float32)
        return np.ones((1, 1, 32, 32), np.float32)

    calls: list[int] = []
    (films / "b.png").write_bytes((films / "a.png").read_bytes())
    quantus_vit.register_method("Picky", picky)
    out = tmp_path / "out"
    try:
        given = ["--model", f"{model_file}:squashing", "--method", "Picky", "AttentionRollout", "--out", out, "--quiet"]
        assert explain(films, *given) == 2
    finally:
        quantus_vit.unregister_method("Picky")
    assert "b: Picky: the map has values that are no finite numbers" in capsys.readouterr().err
    with np.load(out / "maps.npz") as maps:
        assert np.isnan(maps["Picky"]).all(axis=(1, 2)).tolist() == [False, True, False]
        assert np.isfinite(maps["AttentionRollout"]).all()


def test_an_interrupt_leaves_whole_files(tmp_path, films, model_file, monkeypatch, capsys) -> None:
    read = Gallery._read

    def interrupted(self, image, results):
        if image.name == "c":
            raise KeyboardInterrupt
        return read(self, image, results)

    monkeypatch.setattr(Gallery, "_read", interrupted)
    out = tmp_path / "out"
    given = ["--model", f"{model_file}:squashing", "--method", "AttentionRollout", "--out", out, "--quiet"]
    assert explain(films, *given) == 130
    assert [row["image"] for row in table_of(out)] == ["a", "b"]
    with np.load(out / "maps.npz") as maps:
        assert maps["AttentionRollout"].shape == (1, 32, 32)
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_batches_on_a_gpu_are_those_that_the_method_takes(tmp_path, films, model_file, monkeypatch) -> None:
    """On a CPU images go one by one; where a method takes batches they come in the size that is asked for."""
    from quantus_vit.comparison.explaining import MethodCall

    sizes: list[int] = []
    explain_all = MethodCall.explain_all

    def counted(self, classifier, images, device):
        sizes.append(len(images))
        return explain_all(self, classifier, images, device)

    monkeypatch.setattr(MethodCall, "explain_all", counted)
    monkeypatch.setattr(MethodCall, "takes_batches", lambda self, device: True)
    for number in range(4):
        (films / f"d{number}.png").write_bytes((films / "a.png").read_bytes())
    given = ["--model", f"{model_file}:squashing", "--method", "AttnLRP", "--quiet", "--format", "tiff"]
    assert explain(films, *given, "--out", tmp_path / "many", "--batch-size", "3") == 2
    assert sizes == [2, 3, 1]  # the damaged image is in the first three
    monkeypatch.undo()
    assert explain(films, *given, "--out", tmp_path / "single") == 2
    with np.load(tmp_path / "many" / "maps.npz") as many, np.load(tmp_path / "single" / "maps.npz") as single:
        largest = np.abs(single["AttnLRP"]).max()
        np.testing.assert_allclose(many["AttnLRP"], single["AttnLRP"], atol=1e-5 * largest)


def test_help_is_quick() -> None:
    code = (
        "import sys\nfrom quantus_vit.cli import main\nmain(['explain', '--help'])\n"
        "assert 'torch' not in sys.modules and 'matplotlib' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
