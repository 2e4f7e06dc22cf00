"""Several processes of a command, as torchrun starts them, without the cost of importing torch in each."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import quantus_vit

__all__ = ["Nursery"]

# Imports once, then forks as many processes as a line says: torch has started no thread by then.
_CODE = """
import os, sys
{prelude}
from quantus_vit.cli import main
for line in sys.stdin:
    port, count, *further = line.split()
    children = []
    for rank in range(int(count)):
        child = os.fork()
        if child == 0:
            # A process that is killed in the middle of a line would leave it before the nursery's own.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            if int(count) > 1:
                os.environ |= dict(TORCHELASTIC_RUN_ID="x", MASTER_ADDR="127.0.0.1", MASTER_PORT=port, GROUP_RANK="0",
                                   RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=count, LOCAL_WORLD_SIZE=count)
            code = 1
            try:
                code = main([*sys.argv[1:], *further, "--devices", count])
            finally:
                sys.stdout.flush()
                os._exit(code)
        children.append(child)
    print("started", *children, flush=True)
    for child in children:
        print("ended", os.waitpid(child, 0)[1], flush=True)
"""


class Nursery:
    """Runs the command line of this package in so many processes.

    Parameters
    ----------
    prelude
        Lines of Python that import what the command needs.
    arguments
        Of the command, in every run.
    """

    def __init__(self, prelude: str, *arguments: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(Path(quantus_vit.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", _CODE.format(prelude=prelude), *arguments],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            bufsize=1,
        )  # fmt: skip

    def start(self, count: int, *further: str) -> list[int]:
        """Process ids, by rank."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._process.stdin.write(" ".join([str(port), str(count), *further]) + "\n")
        return [int(word) for word in self._told("started")]

    def ends(self, count: int) -> list[int]:
        """How the processes end, by rank: exit codes, or the negative number of the signal that killed them."""
        return [os.waitstatus_to_exitcode(int(self._told("ended")[0])) for _ in range(count)]

    def run(self, count: int, *further: str) -> list[int]:
        """Start and wait; what :meth:`ends` gives."""
        self.start(count, *further)
        return self.ends(count)

    def close(self) -> None:
        """Let it end."""
        self._process.communicate(timeout=120)

    def _told(self, what: str) -> list[str]:
        """The rest of its own next line, behind whatever the processes have printed."""
        while True:
            line = self._process.stdout.readline()
            assert line, "the nursery has died"
            word, *rest = line.split() or [""]
            if word == what:
                return rest
