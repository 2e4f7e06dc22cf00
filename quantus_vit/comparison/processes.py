"""The processes of one run: started by Lightning's Fabric, told apart by rank, and brought together between two steps.

Knows Lightning, once there is more than one process; nothing of what a comparison is. No tensor travels between the
processes: words do, over a gloo group of their own, on whatever devices they compute.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from typing import Any

__all__ = ["ALONE", "STRATEGIES", "Processes", "launched"]

STRATEGIES = ("auto", "ddp")
"""How processes are started: both mean Lightning's "ddp", or torchrun or SLURM where one of these has started them."""

_PATIENCE = timedelta(days=365)
"""How long processes wait for the slowest: its share may take days."""

_DIED = (
    "a process of this run has ended before its time; what was scored is kept, and the same command goes on from there "
    "with any number of processes"
)


@dataclass(frozen=True)
class Processes:
    """The processes of a run, as one of them sees them.

    Parameters
    ----------
    rank : int
        This process's number, from 0.
    count : int
        How many there are.
    device : str or None
        The device of this process; None where the caller chooses it.
    group : Any
        The ``torch.distributed`` group over which they talk; None where there is one process.
    """

    rank: int = 0
    count: int = 1
    device: str | None = None
    group: Any = None

    @property
    def is_first(self) -> bool:
        """Whether this process prepares the folder and makes the tables."""
        return self.rank == 0

    def exchange(self, word: str, on_interrupt: Callable[[], None] | None = None) -> list[str]:
        """Wait for all processes, and tell all of them what each has to say.

        Parameters
        ----------
        word : str
            This process's word.
        on_interrupt : callable, optional
            Called in place of leaving when Ctrl-C or SIGTERM comes while this process waits.

        Returns
        -------
        list of str
            The words of all processes, by rank.

        Raises
        ------
        ValueError
            A process has died.
        KeyboardInterrupt
            After the exchange, where one came and ``on_interrupt`` is not given.
        """
        if self.count == 1:
            return [word]
        from torch import distributed

        words: list[str] = [""] * self.count
        failures: list[Exception] = []

        def gather() -> None:
            try:
                distributed.all_gather_object(words, word, group=self.group)
            except Exception as error:  # whatever the backend raises when its peer has gone
                failures.append(error)

        # In a thread, since the main one answers to signals only between two steps of Python.
        waiting = threading.Thread(target=gather, daemon=True)
        waiting.start()
        interrupt: KeyboardInterrupt | None = None
        while waiting.is_alive():
            try:
                waiting.join(0.2)
            except KeyboardInterrupt as came:
                interrupt = came
                if on_interrupt is not None:
                    on_interrupt()
        if failures:
            raise ValueError(_DIED) from failures[0]
        if interrupt is not None and on_interrupt is None:
            raise interrupt
        return words

    @contextmanager
    def together(self) -> Iterator[None]:
        """A step that succeeds in all processes or ends all of them.

        The first process raises what went wrong, its own error or the words of another's; the others leave without a
        word, with exit code 0, for Lightning would kill the first one if theirs were another.
        """
        try:
            yield
        except (Exception, KeyboardInterrupt) as error:
            if self.count > 1:
                with suppress(ValueError):  # one has died: the error at hand says more
                    self.exchange(" ".join(f"{type(error).__name__}: {error}".split()))
                self._leave_to_the_first(error)
            raise
        try:
            failed = [(rank, word) for rank, word in enumerate(self.exchange("")) if word]
        except ValueError as died:
            self._leave_to_the_first(died)
            raise
        if failed:
            self._leave_to_the_first(None)
            rank, word = failed[0]
            raise ValueError(f"process {rank} of {self.count} failed: {word}")

    def _leave_to_the_first(self, error: BaseException | None) -> None:
        if not self.is_first:
            raise SystemExit(0) from error


ALONE = Processes()


@contextmanager
def launched(device: str, devices: int = 1, num_nodes: int = 1, strategy: str = "auto") -> Iterator[Processes]:
    """Start the other processes of a run, unless torchrun or SLURM has done so.

    Parameters
    ----------
    device : str
        "cpu" or "cuda".
    devices, num_nodes : int
        Processes a node, each with a device of its own, and nodes.
    strategy : str
        One of :data:`STRATEGIES`.

    Yields
    ------
    Processes
        In every process, the ones that are started here running the command's line from its beginning.

    Raises
    ------
    ImportError
        More than one process is asked for, and Lightning is not installed.
    ValueError
        A number below 1, more devices than there are, or numbers that SLURM's settings contradict.
    """
    for name, value in (("devices", devices), ("num_nodes", num_nodes)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy must be one of {', '.join(STRATEGIES)}, got {strategy!r}")
    count = devices * num_nodes
    if count == 1:
        yield ALONE
        return
    if find_spec("lightning") is None:
        raise ImportError(f"{count} processes need Lightning: pip install 'quantus-vit[train]'")
    if ":" in device:
        raise ValueError(f"device {device!r} is one device, and {count} processes need as many; give its kind alone")
    yield from _with_fabric(device, devices, num_nodes)


def _with_fabric(device: str, devices: int, num_nodes: int) -> Iterator[Processes]:
    from lightning.fabric import Fabric
    from torch import distributed

    # Which of these announces the processes depends on what was imported first.
    for name in ("fabric.utilities.distributed", "fabric.utilities.rank_zero", "pytorch.utilities.rank_zero"):
        logging.getLogger(f"lightning.{name}").setLevel(logging.ERROR)
    try:
        fabric = Fabric(accelerator=device, devices=devices, num_nodes=num_nodes, strategy="ddp")
        fabric.launch()
    except (RuntimeError, ValueError, TypeError) as error:  # Lightning's errors of a wrong configuration are TypeErrors
        reason = " ".join(str(error).split())
        raise ValueError(f"cannot start {num_nodes} x {devices} processes on {device}: {reason}") from error
    try:
        group = distributed.new_group(backend="gloo", timeout=_PATIENCE)
        yield Processes(fabric.global_rank, fabric.world_size, str(fabric.device), group)
    finally:
        distributed.destroy_process_group()
