"""Training in several CPU processes: same images a step, same answers, files written once, resumed to the bit."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from nursery import Nursery

from quantus_vit.cli import main
from quantus_vit.files import locked
from quantus_vit.training.order import EpochSampler, EveryNth
from quantus_vit.training.placement import Placement
from quantus_vit.training.resuming import prepare_folder

from .test_command import QUICK, needs_lightning


@pytest.mark.parametrize(("count", "batch", "processes"), [(12, 4, 2), (13, 6, 3), (5, 4, 4), (7, 2, 1)])
def test_a_step_has_the_same_images_in_any_number_of_processes(count: int, batch: int, processes: int) -> None:
    whole = list(EpochSampler(count, seed=3))
    own = [list(EpochSampler(count, 3, batch, rank, processes)) for rank in range(processes)]
    assert {len(part) for part in own} == {len(EpochSampler(count, 3, batch, 0, processes))}
    each = batch // processes
    for step in range(-(-count // batch)):
        seen = sorted(pair for part in own for pair in part[step * each : (step + 1) * each])
        wanted = whole[step * batch : (step + 1) * batch]
        wanted += whole[: len(seen) - len(wanted)]  # the last batch is filled up
        assert seen == sorted(wanted)


def test_every_image_is_measured_once() -> None:
    parts = [list(EveryNth(10, rank, 3)) for rank in range(3)]
    assert sorted(index for part in parts for index in part) == list(range(10))
    assert [len(EveryNth(10, rank, 3)) for rank in range(3)] == [4, 3, 3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "devices must be at least 1, got 0"),
        ((1, 0), "num_nodes must be at least 1, got 0"),
        ((2, 1, "fsdp"), "strategy must be one of auto, ddp, ddp_find_unused_parameters_true, got 'fsdp'"),
    ],
)
def test_what_cannot_be_placed_is_told(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Placement(*arguments)


@needs_lightning
def test_a_batch_that_cannot_be_dealt_out_and_a_split_that_is_too_small(xrays: Path, tmp_path: Path, capsys) -> None:
    arguments = ["train", "--data", str(xrays), "--weights", "none", *QUICK, "--out", str(tmp_path / "out")]
    assert main([*arguments, "--devices", "4"]) == 2
    assert "a batch of 6 images cannot be dealt out evenly to 4 processes" in capsys.readouterr().err
    assert main([*arguments, "--devices", "8", "--batch-size", "8"]) == 2
    assert "the split 'Val' has 6 images, fewer than the 8 processes" in capsys.readouterr().err


@pytest.fixture
def nursery(xrays: Path) -> Iterator[Nursery]:
    pytest.importorskip("lightning", reason="training needs the extra 'train'")
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    arguments = ["--data", str(xrays), "--weights", "none", *QUICK, "--epochs", "2", "--threads", "1", "--lr", "1e-3"]
    made = Nursery("import lightning, timm, quantus_vit.training.fit", "train", *arguments, "--patience", "0")
    yield made
    made.close()


def history(out: Path) -> list[dict[str, str]]:
    with (out / "history.csv").open(newline="") as file:
        return [{**row, "seconds": ""} for row in csv.DictReader(file)]


def weights(out: Path) -> dict[str, torch.Tensor]:
    return torch.load(out / "checkpoints" / "last.ckpt")["state_dict"]


@pytest.mark.slow
def test_several_processes_train_as_one_does_and_resume_to_the_bit(nursery: Nursery, tmp_path: Path) -> None:
    one, two, cut = (tmp_path / name for name in ("one", "two", "cut"))
    assert nursery.run(1, "--out", str(one)) == [0]
    assert nursery.run(2, "--out", str(two)) == [0, 0]
    # 18 images in batches of 6, so that no batch is filled up: steps differ by rounding alone.
    for mine, other in zip(history(two), history(one), strict=True):
        for name in ("train_loss", "val_loss"):
            assert float(mine[name]) == pytest.approx(float(other[name]), abs=2e-4)
    wanted = weights(one)
    for name, found in weights(two).items():
        torch.testing.assert_close(found, wanted[name], atol=2e-4, rtol=0)
    assert json.loads((two / "metrics.json").read_text())["test"]["count"] == 6

    children = nursery.start(2, "--out", str(cut))
    deadline = time.monotonic() + 120
    while not (cut / "checkpoints" / "last.ckpt").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    for child in children:
        os.kill(child, signal.SIGKILL)
    assert nursery.ends(2) == [-signal.SIGKILL] * 2
    assert nursery.run(2, "--out", str(cut), "--resume") == [0, 0]
    assert history(cut) == history(two)
    for file in ("model.safetensors", "metrics.json", "config.json"):
        assert (cut / file).read_bytes() == (two / file).read_bytes(), file


def started(nursery: Nursery, out: Path) -> list[int]:
    """Two processes in their second epoch or later."""
    children = nursery.start(2, "--epochs", "500", "--out", str(out))
    deadline = time.monotonic() + 120
    while not (out / "checkpoints" / "last.ckpt").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return children


@pytest.mark.slow
def test_signals_and_deaths_end_all_processes_and_keep_the_epochs(nursery: Nursery, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for child in started(nursery, out):  # as SLURM does at a time limit
        os.kill(child, signal.SIGTERM)
    assert nursery.ends(2) == [130, 130]
    shutil.rmtree(out / "checkpoints")
    (out / "history.csv").unlink()
    # Where one of them dies, the other does not wait for it.
    os.kill(started(nursery, out)[1], signal.SIGKILL)
    assert nursery.ends(2) == [2, -signal.SIGKILL]
    complete = len(history(out))
    assert nursery.run(1, "--epochs", str(complete + 1), "--resume", "--out", str(out)) == [0]
    assert len(history(out)) == complete + 1


@needs_lightning
def test_two_trainings_do_not_write_into_one_folder(xrays: Path, tmp_path: Path, capsys) -> None:
    arguments = ["train", "--data", str(xrays), "--weights", "none", *QUICK, "--out", str(tmp_path / "out")]
    with locked(tmp_path / "out"):
        assert main(arguments) == 2
    assert "another run (process " in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]


@needs_lightning
def test_slurm_puts_jobs_back_into_the_queue_and_not_lightning(monkeypatch: pytest.MonkeyPatch) -> None:
    from quantus_vit.training.cluster import cluster_plugins

    assert cluster_plugins() == []
    for name, value in {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_JOB_NAME": "fit"}.items():
        monkeypatch.setenv(name, value)
    (environment,) = cluster_plugins()
    assert not environment.auto_requeue
    assert environment.world_size() == 2
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE")
    with pytest.raises(RuntimeError, match="ntasks-per-node"):
        cluster_plugins()
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    assert cluster_plugins() == []


def test_a_training_killed_while_it_saved_its_first_epoch_is_begun_anew(tmp_path: Path) -> None:
    history, best = tmp_path / "history.csv", tmp_path / "checkpoints" / "best.ckpt"
    history.write_text("epoch,train_loss,val_loss\n1,0.5,0.6\n")
    best.parent.mkdir()
    best.touch()
    prepare_folder(tmp_path, overwrite=False)
    assert [path.name for path in tmp_path.iterdir()] == []
    for other in (tmp_path / "checkpoints" / "last.ckpt", tmp_path / "model.safetensors", history):
        other.parent.mkdir(exist_ok=True)
        other.write_text("of another kind")
        with pytest.raises(FileExistsError, match="from an earlier training"):
            prepare_folder(tmp_path, overwrite=False)
        prepare_folder(tmp_path, overwrite=True)
