"""The batch scripts of the examples: shell that parses, and options that the command has."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize("name", ["compare", "train"])
def test_the_shell_takes_it(name: str) -> None:
    done = subprocess.run(["bash", "-n", str(EXAMPLES / f"slurm_{name}.sh")], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["compare", "train"])
def test_the_command_takes_its_options(name: str) -> None:
    text = (EXAMPLES / f"slurm_{name}.sh").read_text(encoding="utf-8").replace("\\\n", " ")
    ((srun, line),) = re.findall(rf"^exec srun (.*)quantus-vit {name} (.*)$", text, re.MULTILINE)
    assert '--cpus-per-task="$SLURM_CPUS_PER_TASK"' in srun  # srun has not taken the job's own since SLURM 22.05
    # As a job of two nodes with four tasks each would see it; what the user adds comes last and wins.
    line = re.sub(r'"?\$(SLURM_\w+)"?', "4", line).replace("$RESUME", "--resume").replace('"$@"', "--out mine")
    parser = argparse.ArgumentParser()
    importlib.import_module(f"quantus_vit.cli.{name}").add_arguments(parser)
    args = parser.parse_args(shlex.split(line))
    assert (args.devices, args.num_nodes, args.strategy, args.device) == (4, 4, "ddp", "cuda")
    assert args.out == "mine"
