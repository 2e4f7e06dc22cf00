"""A comparison in two and three CPU processes, whole and killed, gives what one process gives, to the byte."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from nursery import Nursery

import quantus_vit
from quantus_vit.cli import main
from quantus_vit.comparison import processes
from quantus_vit.comparison.cases import Case
from quantus_vit.comparison.folder import SHARES, Logs
from quantus_vit.comparison.processes import ALONE, launched
from quantus_vit.comparison.scores import CsvLog, Note, Score
from quantus_vit.comparison.shares import deal
from quantus_vit.files import locked

from .test_command import _lines, fails, make_checkpoint

TABLES = ("scores", "tie_breaks", "predictions", "errors", "notes", "curves", "table1", "significance", "ranks",
          "by_class", "by_prediction", "tie_spread")  # fmt: skip


def score(path: str, value: float = 0.5, method: str = "Random") -> Score:
    return Score(path, "A", "A", "A", method, "Metric", value)


def test_groups_are_dealt_out_whole_and_evenly_but_those_that_are_done() -> None:
    groups = [[Case(index, f"image {index}", label, 0) for label in "AB"] for index in range(8)]
    left = [group[0] for group in groups[:7]]
    for count in (1, 2, 3, 9):
        shares = deal(groups, left, count)
        assert sorted((case.index, case.label) for share in shares for case in share) == [
            (index, label) for index in range(7) for label in "AB"
        ]
        owners = [{case.index for case in share} for share in shares]
        assert sum(map(len, owners)) == 7
        assert max(map(len, owners)) - min(map(len, owners)) <= 1


def test_shares_are_taken_over_once_though_a_crash_came_between(tmp_path: Path) -> None:
    logs = Logs.open(tmp_path)
    logs.scores.append([score("b")])
    for rank, rows in enumerate([[score("a", float("nan")), score("b")], [score("c")]]):
        place = tmp_path / SHARES / f"rank{rank}"
        place.mkdir(parents=True)
        CsvLog(place / "scores.csv", Score).append(rows)
        CsvLog(place / "notes.csv", Note).append([Note(rows[0].path, "A", "Random", "said")])
    with (tmp_path / SHARES / "rank1" / "scores.csv").open("a") as file:
        file.write("half a li")
    # As if an earlier attempt had ended after the first file: its row is there, and the folder still.
    logs.scores.append([score("a", float("nan"))])
    logs.absorb_shares(tmp_path)
    assert not (tmp_path / SHARES).exists()
    read = Logs.open(tmp_path)
    assert [row.path for row in read.scores.rows] == ["b", "a", "c"]
    assert [row.path for row in read.notes.rows] == ["a", "c"]
    read.arrange([("a", "A"), ("b", "A")])
    assert [row.path for row in CsvLog(tmp_path / "scores.csv", Score).rows] == ["a", "b", "c"]


def test_a_process_that_still_writes_keeps_others_out(tmp_path: Path) -> None:
    place = tmp_path / SHARES / "rank1"
    place.mkdir(parents=True)
    with locked(place), pytest.raises(ValueError, match=rf"process {os.getpid()}\) is writing into .*rank1"):
        Logs.open(tmp_path).absorb_shares(tmp_path)


def test_one_process_needs_no_lightning_and_several_say_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "find_spec", lambda name: None)
    with launched("cpu") as alone:
        assert alone is ALONE
    with pytest.raises(ImportError, match=r"2 processes need Lightning: pip install 'quantus-vit\[train\]'"):
        launched("cpu", 2).__enter__()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cpu", 0), "devices must be at least 1, got 0"),
        (("cpu", 1, -1), "num_nodes must be at least 1, got -1"),
        (("cpu", 2, 1, "fsdp"), "strategy must be one of auto, ddp, got 'fsdp'"),
        (("cuda:1", 2), "'cuda:1' is one device, and 2 processes need as many"),
    ],
)
def test_what_cannot_be_started_is_told(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        launched(*arguments).__enter__()


@pytest.mark.parametrize("option", ["--devices", "--num-nodes"])
def test_the_command_says_what_must_be_positive(capsys, tmp_path, option: str) -> None:
    assert f": {option} must be at least 1, got 0" in fails(capsys, "compare", option, "0", "--out", str(tmp_path))


PRELUDE = """
import lightning.fabric, quantus, timm
from quantus_vit.cli import compare
from quantus_vit.comparison import grouping, pipeline
grouping._MAPS_CPU = 3  # groups of one case, so that every process has several
pipeline._draw_figures = lambda *_: None  # they take most of the time and come after all that is tested here
"""
METHODS = ("TransformerLRP", "Random", "Blurred[method=TransformerLRP,patch_size=8]")


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    pytest.importorskip("lightning", reason="several processes need the extra 'train'")
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    model = make_checkpoint(tmp_path_factory.mktemp("model") / "model.safetensors")
    arguments = ["--checkpoint", str(model), "--samples", "24", "--methods", *METHODS, "--tie-breaks", "2"]
    made = Nursery(PRELUDE, "compare", *arguments, "--device", "cpu", "--threads", "1")
    yield made
    made.close()


@pytest.fixture(scope="module")
def whole(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run in one process."""
    out = tmp_path_factory.mktemp("whole")
    assert nursery.run(1, "--quiet", "--out", str(out)) == [0]
    return out


def differing(one: Path, other: Path, names: Sequence[str] = TABLES) -> list[str]:
    return [name for name in names if (one / f"{name}.csv").read_bytes() != (other / f"{name}.csv").read_bytes()]


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3])
def test_several_processes_write_what_one_writes(nursery: Nursery, whole: Path, tmp_path: Path, count: int) -> None:
    assert nursery.run(count, "--out", str(tmp_path)) == [0] * count
    assert differing(tmp_path, whole) == []
    assert not (tmp_path / SHARES).exists()
    assert sorted(file.name for file in tmp_path.rglob("*.npz")) == sorted(file.name for file in whole.rglob("*.npz"))


@pytest.mark.slow
def test_processes_killed_at_random_lose_nothing_and_count_nothing_twice(
    nursery: Nursery, whole: Path, tmp_path: Path
) -> None:
    generator, deaths = random.Random(3), 0
    for count, victim in ((3, 1), (2, 0), (1, 0), (3, 2)):
        if (tmp_path / "report.html").exists():
            break
        log = tmp_path / (f"{SHARES}/rank{victim}" if count > 1 else "") / "scores.csv"
        wanted = generator.randint(1, 3) + (_lines(log) if count == 1 else 1)
        before = _inode(log) if count > 1 else None  # a share that was left behind is taken over first
        children = nursery.start(count, "--quiet", "--out", str(tmp_path))
        deadline = time.monotonic() + 120
        while (_lines(log) < wanted or _inode(log) == before) and not (tmp_path / "report.html").exists():
            assert time.monotonic() < deadline
            time.sleep(0.002)
        time.sleep(generator.uniform(0.0, 0.03))
        os.kill(children[victim], signal.SIGKILL)
        ends = nursery.ends(count)
        deaths += ends[victim] == -signal.SIGKILL
        # The first process says that another has died; none is left hanging.
        if victim != 0 and ends[victim] == -signal.SIGKILL:
            assert ends == [{0: 2, victim: -signal.SIGKILL}.get(rank, 0) for rank in range(count)]
    assert deaths >= 2
    assert nursery.run(2, "--quiet", "--out", str(tmp_path)) == [0, 0]
    assert differing(tmp_path, whole, TABLES) == []


def _inode(path: Path) -> int | None:
    return path.stat().st_ino if path.exists() else None


@pytest.mark.slow
def test_an_interrupt_of_any_process_stops_all_and_leaves_tables(nursery: Nursery, whole: Path, tmp_path: Path) -> None:
    children = nursery.start(2, "--quiet", "--out", str(tmp_path))
    log = tmp_path / SHARES / "rank1" / "scores.csv"
    deadline = time.monotonic() + 120
    while _lines(log) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    os.kill(children[1], signal.SIGTERM)
    assert nursery.ends(2) == [130, 0]
    assert _lines(tmp_path / "table1.csv") == 4
    assert nursery.run(1, "--quiet", "--out", str(tmp_path)) == [0]
    assert differing(tmp_path, whole, TABLES) == []


@pytest.mark.slow
def test_what_is_wrong_is_said_once_and_ends_all(nursery: Nursery, whole: Path) -> None:
    assert nursery.run(3, "--samples", "6", "--out", str(whole)) == [2, 0, 0]


@pytest.mark.slow
def test_lightning_starts_the_processes_that_nobody_has_started(tmp_path: Path) -> None:
    pytest.importorskip("lightning", reason="several processes need the extra 'train'")
    model = make_checkpoint(tmp_path / "model.safetensors")
    common = ["compare", "--checkpoint", str(model), "--samples", "3", "--methods", "Random", "--device", "cpu"]
    environment = {**os.environ, "PYTHONPATH": str(Path(quantus_vit.__file__).parents[1])}
    command = [sys.executable, "-W", "ignore", "-m", "quantus_vit.cli", *common, "--threads", "1", "--devices", "2"]
    done = subprocess.run([*command, "--out", str(tmp_path / "two")], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("3 images: 1 COVID-19") == 1
    assert "distributed" not in done.stderr
    assert main([*common, "--threads", "1", "--quiet", "--out", str(tmp_path / "one")]) == 0
    assert differing(tmp_path / "one", tmp_path / "two") == []
    # Their words are the first process's; the others leave without any.
    done = subprocess.run(
        [*command, "--samples", "6", "--out", str(tmp_path / "two")], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert [line for line in done.stderr.splitlines() if "holds scores of other settings" in line] == [
        done.stderr.strip()
    ]
