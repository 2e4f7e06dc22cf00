"""Processes that torchrun and SLURM start: numbers that fit, and real runs of torchrun on two nodes of one machine."""

from __future__ import annotations

import csv
import importlib.util
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from comparison.test_command import make_checkpoint

import quantus_vit
from quantus_vit.cli import main
from quantus_vit.cli.process_options import check_launcher

BATCH = {"SLURM_JOB_NAME": "fit", "SLURM_NTASKS": "4"}
STEP = {**BATCH, "SLURM_STEP_ID": "0"}
TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "4"}


@pytest.fixture(autouse=True)
def started_by_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in {*STEP, *TORCHRUN}:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("variables", "devices", "nodes"),
    [
        ({}, 8, 1),
        (TORCHRUN, 2, 2),
        ({**STEP, **TORCHRUN, "WORLD_SIZE": "8"}, 8, 1),  # torchrun within a task of SLURM
        (STEP, 2, 2),
        (STEP, 1, 1),  # four runs of one process each
        (BATCH, 1, 1),
        ({**BATCH, "SLURM_JOB_NAME": "interactive"}, 2, 1),
    ],
)
def test_numbers_that_fit_are_taken(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], devices: int, nodes: int
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    check_launcher(devices, nodes)


@pytest.mark.parametrize("command", [["compare"], ["train", "--data", "phantom"]], ids=["compare", "train"])
@pytest.mark.parametrize(
    ("variables", "devices", "message"),
    [
        (TORCHRUN, "1", "torchrun has started 4 processes, but --devices and --num-nodes ask for 1 x 1"),
        (TORCHRUN, "2", "torchrun has started 4 processes, but --devices and --num-nodes ask for 2 x 1"),
        (STEP, "2", "srun has started 4 processes, but --devices and --num-nodes ask for 2 x 1"),
        (BATCH, "4", "in a batch job of SLURM 4 processes are started by srun; put it before the command"),
    ],
)
def test_numbers_that_do_not_are_told_before_anybody_waits(
    command: list[str],
    variables: dict[str, str],
    devices: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert main([*command, "--devices", devices, "--device", "cpu", "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.strip() == f"quantus-vit: error: {message}"


def torchrun(nodes: int, each: int, *arguments: str) -> list[int]:
    """Run the command line by so many torchruns, each of them a node; their exit codes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ, "PYTHONPATH": str(Path(quantus_vit.__file__).parents[1]), "PYTHONWARNINGS": "ignore",
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nnodes", str(nodes), "--nproc-per-node", str(each),
        "--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}", "--rdzv-id", "test",
        "-m", "quantus_vit.cli", *arguments, "--devices", str(each), "--num-nodes", str(nodes),
    ]  # fmt: skip
    agents = [subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) for _ in range(nodes)]
    return [agent.wait(timeout=600) for agent in agents]


needs_lightning = pytest.mark.skipif(
    importlib.util.find_spec("lightning") is None, reason="several processes need the extra 'train'"
)


@pytest.mark.slow
@needs_lightning
def test_a_comparison_on_two_nodes_of_torchrun_is_that_of_one_process(tmp_path: Path) -> None:
    model = make_checkpoint(tmp_path / "model.safetensors")
    arguments = [
        "compare", "--checkpoint", str(model), "--samples", "6", "--methods", "Random", "AttentionRollout",
        "--metrics", "FaithfulnessEstimate", "--device", "cpu", "--threads", "1", "--quiet", "--out",
    ]  # fmt: skip
    assert torchrun(2, 1, *arguments, str(tmp_path / "two")) == [0, 0]
    assert main([*arguments, str(tmp_path / "one")]) == 0
    tables = sorted(path.name for path in (tmp_path / "one").glob("*.csv"))
    assert {"scores.csv", "table1.csv", "significance.csv"} <= set(tables)
    for name in tables:
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes(), name


@pytest.mark.slow
@needs_lightning
def test_a_training_by_torchrun_is_that_of_one_process_to_rounding(tmp_path: Path) -> None:
    arguments = [
        "train", "--data", "phantom", "--phantom-train", "12", "--phantom-val", "4", "--phantom-test", "3",
        "--weights", "none", "--model", "vit_tiny_patch16_224",
        "--model-kwargs", "depth=2", "embed_dim=32", "num_heads=2", "--image-size", "32", "--batch-size", "6",
        "--epochs", "1", "--device", "cpu", "--workers", "0", "--threads", "1", "--out",
    ]  # fmt: skip
    assert torchrun(1, 2, *arguments, str(tmp_path / "two")) == [0]
    assert main([*arguments, str(tmp_path / "one")]) == 0
    rows = []
    for name in ("one", "two"):
        with (tmp_path / name / "history.csv").open(newline="") as file:
            rows.append(next(csv.DictReader(file)))
    for key in ("train_loss", "val_loss", "val_accuracy", "val_auroc"):
        assert float(rows[1][key]) == pytest.approx(float(rows[0][key]), abs=2e-4)
