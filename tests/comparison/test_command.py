"""The subcommands compare and explain through the dispatcher, on a tiny random ViT and small phantoms."""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import quantus_vit
from quantus_vit import assets
from quantus_vit.cli import compare as compare_command
from quantus_vit.cli import main
from quantus_vit.cli.compare_settings import settings_of
from quantus_vit.comparison import grouping
from quantus_vit.data.preprocessing import Preprocessing
from quantus_vit.models.checkpoint import ModelConfig, build_model, save_checkpoint

from .toys import read_rows

KWARGS = {"embed_dim": 24, "depth": 2, "num_heads": 2, "patch_size": 8}


def make_checkpoint(path: Path, **config) -> Path:
    torch.manual_seed(0)
    settings = ModelConfig("vit_tiny_patch16_224", KWARGS, **({"preprocessing": Preprocessing(size=(32, 32))} | config))
    return save_checkpoint(path, build_model(settings), settings)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> str:
    return str(make_checkpoint(tmp_path_factory.mktemp("model") / "model.safetensors"))


@pytest.fixture
def xray(tmp_path) -> str:
    path = tmp_path / "some x-ray (1).png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50), dtype=np.uint8)).save(path)
    return str(path)


def fails(capsys, *arguments: str) -> str:
    """The one line that the command says when it refuses."""
    assert main(list(arguments)) == 2
    error = capsys.readouterr().err.strip()
    assert "Traceback" not in error
    assert "\n" not in error
    assert error.startswith("quantus-vit: error: ")
    return error


def test_compare_on_phantoms_with_lrp_lime_and_random(tmp_path, checkpoint, capsys) -> None:
    pytest.importorskip("lime")
    arguments = ["compare", "--checkpoint", checkpoint, "--samples", "3", "--lime-samples", "16", "--tie-breaks", "2"]
    arguments += ["--out", str(tmp_path), "--device", "cpu", "--baselines", "0.0", "black", "--quiet"]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "3 images, protocol quick (version 1)" in said
    assert "3 images: 1 COVID-19, 1 Non-COVID, 1 Normal." in said
    rows = read_rows(tmp_path / "table1.csv")
    assert len(rows) == 1 + 2 * 4
    assert {row[0] for row in rows[1:]} == {"TransformerLRP", "AttnLRP", "LimeCXR", "Random"}
    for method, metric, mean, *_ in rows[1:]:
        assert any(method in line and metric in line and f"{float(mean):.3f}" in line for line in said.splitlines())
    assert (tmp_path / "figure4.png").exists()
    settings = json.loads((tmp_path / "config.json").read_text())["protocol"]
    assert settings["protocol"] == "quick"
    assert sorted(settings["overrides"]) == ["baselines", "lime_samples", "samples", "tie_breaks"]
    assert settings["lime_replacement"] == "baseline"
    assert main(arguments) == 0
    assert read_rows(tmp_path / "table1.csv") == rows
    capsys.readouterr()
    error = fails(capsys, *arguments, "--softmax")
    assert "holds scores of other settings" in error
    assert "softmax: True here, False there" in error


def test_a_model_that_has_moved_goes_on_in_its_folder(tmp_path, checkpoint, capsys) -> None:
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes(Path(checkpoint).read_bytes())
    common = ["compare", "--samples", "3", "--methods", "Random", "--out", str(tmp_path / "out"), "--quiet"]
    assert main([*common, "--model", checkpoint]) == 0
    assert main([*common, "--checkpoint", str(moved)]) == 0
    assert len(read_rows(tmp_path / "out" / "scores.csv")) == 1 + 3


def test_data_typed_in_two_ways_are_the_same_images(tmp_path, checkpoint, monkeypatch) -> None:
    for name in ("COVID-19", "Non-COVID", "Normal"):
        folder = tmp_path / "data" / "Lung Segmentation Data" / "Lung Segmentation Data" / "Test" / name / "images"
        folder.mkdir(parents=True)
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50), dtype=np.uint8)).save(folder / "1.png")
    monkeypatch.chdir(tmp_path)
    for data in ("data", str(tmp_path / "data"), "../" + tmp_path.name + "/data"):
        arguments = ["compare", "--data", data, "--model", checkpoint, "--methods", "Random", "--samples", "3"]
        arguments += ["--metrics", "Sparseness"]
        assert main([*arguments, "--out", "out", "--quiet", "--device", "cpu"]) == 0
        (row,) = read_rows(Path("out/table1.csv"))[1:]
        assert row[6:8] == ["3", "0"]


def test_lower_precision_changes_lime_alone(tmp_path, checkpoint) -> None:
    pytest.importorskip("lime")
    maps = {}
    for precision in ("float32", "bfloat16"):
        out = tmp_path / precision
        common = ["compare", "--checkpoint", checkpoint, "--samples", "1", "--lime-samples", "16", "--quiet"]
        assert main([*common, "--out", str(out), "--precision", precision, "--device", "cpu"]) == 0
        maps[precision] = {
            method: np.load(next((out / "maps" / method).glob("*class0.npz")))["relevance"]
            for method in ("TransformerLRP", "LimeCXR")
        }
    np.testing.assert_array_equal(maps["float32"]["TransformerLRP"], maps["bfloat16"]["TransformerLRP"])
    assert (maps["float32"]["LimeCXR"] != maps["bfloat16"]["LimeCXR"]).any()


def test_a_termination_leaves_tables_and_the_handler_of_before(tmp_path, checkpoint, capsys, monkeypatch) -> None:
    from quantus_vit.comparison import group_scoring, grouping

    monkeypatch.setattr(grouping, "_MAPS_CPU", 1)
    before, score_maps, calls = signal.getsignal(signal.SIGTERM), group_scoring.score_maps, []

    def terminated(*arguments):
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return score_maps(*arguments)

    monkeypatch.setattr(group_scoring, "score_maps", terminated)
    arguments = ["compare", "--checkpoint", checkpoint, "--samples", "3", "--methods", "Random", "--out", str(tmp_path)]
    assert main([*arguments, "--device", "cpu", "--quiet"]) == 130
    assert read_rows(tmp_path / "table1.csv")[1][6] == "2"
    assert signal.getsignal(signal.SIGTERM) is before
    capsys.readouterr()
    assert main([*arguments, "--device", "cpu", "--quiet", "--report-only"]) == 0
    assert main([*arguments, "--device", "cpu", "--quiet"]) == 0
    assert read_rows(tmp_path / "table1.csv")[1][6] == "3"


# Imports once, then forks a run for every line that it reads: torch has started no thread by then.
NURSERY = """
import os, sys
import quantus_vit.comparison.pipeline, quantus, timm
from quantus_vit.comparison import grouping
grouping._MAPS_CPU = 4  # groups of two cases, so that there are many to be killed in
from quantus_vit.cli import compare as compare_command
from quantus_vit.cli import main
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        os._exit(main(sys.argv[1:]))
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_runs_that_are_killed_at_random_lose_nothing_and_count_nothing_twice(tmp_path, checkpoint, monkeypatch) -> None:
    monkeypatch.setattr(grouping, "_MAPS_CPU", 4)
    found = str(Path(quantus_vit.__file__).parents[1])
    common = ["compare", "--checkpoint", checkpoint, "--samples", "12", "--methods", "TransformerLRP", "Random"]
    common += ["--device", "cpu", "--quiet"]
    out = tmp_path / "killed"
    environment = {**os.environ, "PYTHONPATH": found, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", NURSERY, *common, "--out", str(out)]
    generator, deaths = random.Random(0), 0
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as nursery:
        assert nursery.stdin is not None
        assert nursery.stdout is not None
        finished = False
        while not finished and deaths < 8:
            nursery.stdin.write("run\n")
            child = int(nursery.stdout.readline())
            wanted = _lines(out / "scores.csv") + generator.randint(1, 5)
            deadline = time.monotonic() + 60
            while _lines(out / "scores.csv") < wanted and not (out / "report.html").exists():
                assert time.monotonic() < deadline
                time.sleep(0.002)
            time.sleep(generator.uniform(0.0, 0.03))
            os.kill(child, signal.SIGKILL)
            status = int(_last_lines(nursery.stdout))
            finished = status == 0
            deaths += status == signal.SIGKILL
        nursery.stdin.close()
    assert deaths >= 2
    assert main([*common, "--out", str(out)]) == 0
    assert main([*common, "--out", str(tmp_path / "whole")]) == 0
    assert read_rows(out / "scores.csv") == read_rows(tmp_path / "whole" / "scores.csv")
    assert (out / "table1.csv").read_text() == (tmp_path / "whole" / "table1.csv").read_text()


def _last_lines(stream) -> str:
    """The exit status, behind whatever a run printed before it was killed."""
    while not (line := stream.readline()).strip().isdigit():
        assert line
    return line


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_two_runs_at_once_do_not_share_a_folder(tmp_path, checkpoint, capsys) -> None:
    code = (
        "import sys, time; from pathlib import Path; from quantus_vit.files import locked\n"
        "with locked(Path(sys.argv[1])):\n    print('in', flush=True)\n    time.sleep(100)"
    )
    found = str(Path(quantus_vit.__file__).parents[1])
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": found}, stdout=subprocess.PIPE,
    )  # fmt: skip
    arguments = ["compare", "--checkpoint", checkpoint, "--samples", "3", "--methods", "Random", "--out", str(tmp_path)]
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"in\n"
        assert f"another run (process {holder.pid}) is writing into" in fails(capsys, *arguments)
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    assert main([*arguments, "--quiet"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "/nowhere"], "--data /nowhere needs --model SPEC"),
        (["--checkpoint", "/nowhere.safetensors"], "/nowhere.safetensors"),
        (["--samples", "0"], "samples must be a whole number of at least 1, got 0"),
        (["--methods", "TransformerLPR"], "unknown method 'TransformerLPR'; did you mean 'TransformerLRP'?"),
        (["--methods", "TransformerLRP[variant=best]"], "best"),
        (["--metrics", "Faith"], "unknown metric 'Faith'"),
        (["--metrics", "FaithfulnessEstimate[steps=3]"], "steps"),
        (["--baselines", "grey"], "a baseline is a finite number"),
        (["--baselines", "nan"], "a baseline is a finite number"),
        (["--lime-replacement", "nan"], "--lime-replacement must be a finite number"),
        (["--features-in-step", "7"], "features_in_step must divide the image's 32x32 pixels, got 7"),
        (["--device", "tpu"], "no device 'tpu' here"),
        (["--device", "mps"], "no device 'mps' here"),
        (["--threads", "0"], "--threads must be at least 1, got 0"),
        (["--split", "Validation"], "split must be one of 'Train', 'Val', 'Test'"),
        (["--protocol", "papre"], "unknown protocol 'papre'; did you mean 'paper'?"),
        (["--protocol", "custom"], "give --methods and --metrics"),
        (["--classes", "a"], "--classes takes MODEL=DATA, such as 0=COVID-19 or =Normal, got 'a'"),
        (["--subset", "lung"], "'phantom' have no option 'subset'"),
        (["--out", " "], "--out is empty"),
    ],
)
def test_compare_says_what_is_wrong_and_writes_nothing(tmp_path, checkpoint, capsys, arguments, message) -> None:
    if "--checkpoint" not in arguments and "--data" not in arguments:
        arguments = ["--checkpoint", checkpoint, *arguments]
    out = tmp_path / "out"
    assert message in fails(capsys, "compare", "--out", str(out), *arguments)
    assert not out.exists()


def test_compare_refuses_a_folder_that_holds_no_data(tmp_path, checkpoint, capsys) -> None:
    arguments = ["--data", str(tmp_path), "--checkpoint", checkpoint, "--out", str(tmp_path / "out")]
    assert main(["compare", *arguments]) == 2
    assert "images/*.png" in capsys.readouterr().err


def test_compare_refuses_a_model_of_other_classes(tmp_path, capsys) -> None:
    path = make_checkpoint(tmp_path / "model.safetensors", class_names=("cat", "dog"))
    error = fails(capsys, "compare", "--checkpoint", str(path), "--out", str(tmp_path / "out"))
    assert "the model has cat, dog; the data have COVID-19, Non-COVID, Normal" in error


def test_images_are_normalised_as_the_model_takes_them(tmp_path) -> None:
    preprocessing = Preprocessing(size=(32, 32), mean=(0.5,) * 3, std=(0.25,) * 3)
    path = make_checkpoint(tmp_path / "model.safetensors", preprocessing=preprocessing)
    arguments = ["compare", "--checkpoint", str(path), "--samples", "1", "--methods", "Random", "--quiet"]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 0
    from quantus_vit.data import open_data
    from quantus_vit.models import load_model

    (row,) = read_rows(tmp_path / "out" / "predictions.csv")[1:]
    data = open_data("phantom", count=3000, image_size=32)
    index = [record.identity for record in data.records].index(row[0])
    image = (torch.from_numpy(data.grey(index))[None, None].repeat(1, 3, 1, 1) - 0.5) / 0.25
    expected = load_model(path).module(image).softmax(1)[0]
    assert [float(value) for value in row[4].split()] == pytest.approx(expected.tolist(), rel=1e-3)


def test_a_run_in_which_no_image_can_be_read_fails(tmp_path, checkpoint, capsys) -> None:
    for name in ("COVID-19", "Non-COVID", "Normal"):
        folder = tmp_path / "data" / "Lung Segmentation Data" / "Lung Segmentation Data" / "Test" / name / "images"
        folder.mkdir(parents=True)
        (folder / "1.png").write_bytes(b"no picture")
    arguments = ["compare", "--data", str(tmp_path / "data"), "--model", checkpoint, "--methods", "Random"]
    arguments += ["--metrics", "Sparseness"]
    error = fails(capsys, *arguments, "--out", str(tmp_path / "out"), "--quiet")
    assert "none of the 3 images could be read" in error
    assert "errors.csv says why" in error


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, checkpoint, capsys) -> None:
    (tmp_path / "file").write_text("")
    common = ["compare", "--checkpoint", checkpoint, "--methods", "Random", "--samples", "1", "--quiet"]
    assert "is a file" in fails(capsys, *common, "--out", str(tmp_path / "file"))
    assert "file" in fails(capsys, *common, "--out", str(tmp_path / "file" / "below"))


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_names_that_are_no_text_do_not_stop_a_run(tmp_path, checkpoint, encoding) -> None:
    folder = os.fsencode(tmp_path / "data") + b"/Lung Segmentation Data/Lung Segmentation Data/Test/%s/images"
    picture = Path(checkpoint).with_name("picture.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50), dtype=np.uint8)).save(picture)
    for name in (b"COVID-19", b"Non-COVID", b"Normal"):
        os.makedirs(folder % name)
        try:
            with open(folder % name + b"/\xe9\xff.png", "wb") as file:
                file.write(picture.read_bytes())
        except OSError:
            pytest.skip("the file system takes no such name")
    found = str(Path(quantus_vit.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": found}
    if encoding == "ascii":
        environment |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    out = os.fsencode(tmp_path) + "/ergebnis-\u00e4".encode()
    command = [sys.executable, "-W", "ignore", "-m", "quantus_vit.cli", "compare", "--data", str(tmp_path / "data")]
    command += ["--metrics", "Sparseness"]
    command += ["--model", checkpoint, "--methods", "Random", "--samples", "3", "--quiet", "--device", "cpu", "--out"]
    done = subprocess.run([*map(os.fsencode, command), out], env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    with open(out + b"/scores.csv", encoding="utf-8") as file:
        assert r"\xe9\xff.png" in file.read()
    with open(out + b"/report.html", encoding="utf-8") as file:
        assert "no class" not in file.read()


def test_a_missing_shipped_model_is_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(assets, "__file__", str(tmp_path / "assets" / "__init__.py"))
    with pytest.raises(FileNotFoundError, match=r"lacks the shipped model .*phantom_vit\.safetensors"):
        assets.phantom_checkpoint_path()


@pytest.mark.parametrize("method", ["TransformerLRP", "AttnLRP", "Random"])
def test_explain_writes_a_picture_and_says_the_prediction(tmp_path, checkpoint, xray, capsys, method) -> None:
    out = tmp_path / "out.png"
    assert main(["explain", xray, "--checkpoint", checkpoint, "--method", method, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("predicted ")
    assert f"{method} for " in said
    with Image.open(out) as picture:
        assert picture.size[0] > 1000
        colours = np.asarray(picture.convert("RGB")).astype(int)
    assert (np.ptp(colours, axis=-1) > 60).sum() > 1000


def test_explain_takes_a_class_by_name_or_index(tmp_path, checkpoint, xray, capsys) -> None:
    said = []
    for target in ("non-covid", "1"):
        arguments = ["explain", xray, "--model", checkpoint, "--out", str(tmp_path / "o.png"), "--target", target]
        assert main(arguments) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert "TransformerLRP for Non-COVID" in said[0]


def test_explain_takes_several_images_and_methods_into_a_folder(tmp_path, checkpoint, xray) -> None:
    (tmp_path / "b").mkdir()
    second = tmp_path / "b" / Path(xray).name
    second.write_bytes(Path(xray).read_bytes())
    out = tmp_path / "new" / "folder"
    methods = ["AttnLRP", "TransformerLRP[start_layer=1]"]
    arguments = ["explain", xray, str(second), "--model", checkpoint, "--method", *methods, "--out", str(out)]
    assert main(arguments) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "contact_sheet.png", "explain.csv", "maps.npz",
        "some_x-ray_1-2-AttnLRP.png", "some_x-ray_1-2-TransformerLRP_start_layer_1.png",
        "some_x-ray_1-AttnLRP.png", "some_x-ray_1-TransformerLRP_start_layer_1.png",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": "/nowhere.png"}, "no image file '/nowhere.png'"),
        ({"image": "CHECKPOINT"}, "as an image"),
        ({"--checkpoint": "/nowhere.safetensors"}, "/nowhere.safetensors"),
        ({"--checkpoint": "IMAGE"}, "some x-ray (1).png"),
        ({"--method": "GradCAN"}, "unknown method 'GradCAN'; did you mean 'GradCAM'? there are: TransformerLRP"),
        (
            {"--target": "tuberculosis"},
            "unknown target 'tuberculosis'; the model's classes are 0 COVID-19, 1 Non-COVID",
        ),
        ({"--target": "3"}, "unknown target '3'"),
        ({"--out": "/nowhere/out.png"}, "no folder '/nowhere'"),
        ({"--out": "out.xyz"}, "--out must be a folder, or end with one of"),
        ({"--out": ""}, "--out is empty"),
        ({"--seed": "-1"}, "--seed must not be negative, got -1"),
        ({"--lime-samples": "1"}, "--lime-samples must be at least 2, got 1"),
    ],
)
def test_explain_says_what_is_wrong(tmp_path, checkpoint, xray, capsys, changes, message) -> None:
    places = {"CHECKPOINT": checkpoint, "IMAGE": xray}
    options = {"image": xray, "--checkpoint": checkpoint, "--out": str(tmp_path / "out.png")}
    options |= {name: places.get(value, value) for name, value in changes.items()}
    image = options.pop("image")
    assert message in fails(capsys, "explain", image, *(word for pair in options.items() for word in pair))
    assert not (tmp_path / "out.png").exists()


def test_several_pictures_do_not_go_into_one_file(tmp_path, checkpoint, xray, capsys) -> None:
    out, other = str(tmp_path / "out.png"), str(tmp_path / "other.png")
    shutil.copy(xray, other)
    error = fails(capsys, "explain", xray, other, "--model", checkpoint, "--out", out)
    assert "is one picture, but the images (2) and methods (1) need 2; name a folder" in error


@pytest.mark.parametrize(
    ("data", "expected"), [("phantom", "quick"), ("confounded:letter@80", "quick"), ("folder:films", "fair")]
)
def test_the_default_protocol_is_by_the_data(data, expected) -> None:
    parser = argparse.ArgumentParser()
    compare_command.add_arguments(parser)
    settings = settings_of(parser.parse_args(["--data", data]))
    assert settings["protocol"] == expected
    other = settings_of(parser.parse_args(["--data", data, "--metrics", "Sparseness", "--methods", "Random"]))
    assert other.get("primary", "") == ""


def test_the_protocol_for_real_data_runs_on_a_vision_transformer(tmp_path) -> None:
    pytest.importorskip("lime")
    checkpoint = str(make_checkpoint(tmp_path / "model.safetensors", preprocessing=Preprocessing(size=(64, 64))))
    out = tmp_path / "out"
    arguments = ["--protocol", "fair", "--samples", "1", "--lime-samples", "16", "--tie-breaks", "1", "--quiet"]
    assert main(["compare", *arguments, "--checkpoint", checkpoint, "--device", "cpu", "--out", str(out)]) == 0
    header, *rows = read_rows(out / "table1.csv")
    # Phantoms of one class have both masks: four localisation metrics against each, and three others.
    assert len(rows) == 18 * (3 + 4 * 2)
    assert {row[header.index("nan")] for row in rows} == {"0"}
    assert len(read_rows(out / "errors.csv")) == 1
    assert (
        "Declared to decide, before the scores were known: RemovalCurve[removal=tokens]"
        in (out / "report.html").read_text()
    )
