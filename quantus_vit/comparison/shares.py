"""A run in several processes: cases are dealt out, each process writes logs of its own, and the first gathers them.

The folder's lock is the first process's; each of the others holds that of its own logs, so that another run is refused
as long as any of them lives. Knows the folder, the plan and the run; nothing of how processes are started.
"""

from __future__ import annotations

import os
import signal
import threading
from _thread import interrupt_main
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ..files import locked
from .cases import Case
from .folder import SHARES, Logs
from .plan import Plan
from .processes import Processes
from .runner import ComparisonRun

__all__ = ["deal", "run_share"]

_STOP = "stop"
_LOOKS_EVERY = 0.2  # seconds


def deal(groups: Sequence[Sequence[Case]], left: Sequence[Case], count: int) -> list[list[Case]]:
    """Deal cases out to so many processes, whole groups in turn.

    Parameters
    ----------
    groups : sequence of sequence of Case
        Cases that are scored together, see :meth:`.ComparisonRun.groups`: dealt out whole, they have the scores of one
        process to the digit.
    left : sequence of Case
        Cases that lack a score; groups with none of them are left out.
    count : int
        Processes.

    Returns
    -------
    list of list of Case
        The share of each process.
    """
    missing = {case.key for case in left}
    wanted = [group for group in groups if any(case.key in missing for case in group)]
    return [[case for group in wanted[rank::count] for case in group] for rank in range(count)]


def run_share(plan: Plan, folder: Path, processes: Processes, quiet: bool) -> bool:
    """Score this process's share of the cases that lack a score, and wait for the other processes.

    Parameters
    ----------
    plan : Plan
        The same in all processes.
    folder : Path
        Result folder, prepared by the first process.
    processes : Processes
    quiet : bool
        No progress bar; only the first process has one, of its own share.

    Returns
    -------
    bool
        Whether any process was interrupted; then all have stopped.

    Raises
    ------
    ValueError, OSError, ImportError
        As :meth:`.ComparisonRun.run`, in the first process, whichever has failed; the others leave.
    """
    stop = folder / SHARES / _STOP
    interrupted = False
    with processes.together(), _share_of(folder, processes.rank) as logs:
        run = ComparisonRun(plan, logs)
        share = deal(run.groups(), run.cases_left(), processes.count)[processes.rank]
        try:
            with _watching(stop, parent=None if processes.is_first else os.getppid()):
                run.run(quiet or not processes.is_first, share)
        except KeyboardInterrupt:
            interrupted = True
            stop.touch()
        except BaseException:
            stop.touch()
            raise
    return "interrupted" in processes.exchange("interrupted" if interrupted else "", on_interrupt=stop.touch)


@contextmanager
def _share_of(folder: Path, rank: int) -> Iterator[Logs]:
    """Logs of one process: what the folder's own hold is known, what comes is written into its own files."""
    known, place = Logs.open(folder), folder / SHARES / f"rank{rank}"
    place.parent.mkdir(exist_ok=True)
    with locked(place):
        logs = replace(Logs.open(place), maps=known.maps, pictures=known.pictures)
        logs.scores.rows.extend(known.scores.rows)
        logs.predictions.rows.extend(known.predictions.rows)
        yield logs


@contextmanager
def _watching(stop: Path, parent: int | None) -> Iterator[None]:
    """Interrupt the main thread when another process asks all to stop, or when the parent of this one has gone.

    Parameters
    ----------
    stop : Path
        The file by which a process asks.
    parent : int or None
        Process id of the one that started this one; None where nobody waits for this one in vain.
    """
    over = threading.Event()

    def look() -> None:
        while not over.wait(_LOOKS_EVERY):
            if stop.exists() or (parent is not None and os.getppid() != parent):
                interrupt_main(signal.SIGTERM)
                return

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
