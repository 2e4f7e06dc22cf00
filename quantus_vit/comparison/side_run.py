"""A run inside the folder of a comparison: its own settings, cases and log, scored and continued as the comparison is.

Knows the run and its folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ..files import locked
from .folder import prepare
from .maps import MapStore
from .plan import Plan
from .protocol import Protocol
from .rows import forget_failures
from .runner import ComparisonRun

__all__ = ["side_run"]


@contextmanager
def side_run(
    place: Path, settings: Protocol, plan: Plan, quiet: bool, report_only: bool, maps: MapStore | None = None
) -> Iterator[ComparisonRun]:
    """Score what is missing; the folder is locked until the block ends.

    Parameters
    ----------
    place : Path
        The run's own folder.
    settings : Protocol
        Stored there, and compared with those of a run before.
    plan : Plan
    quiet : bool
        No progress bar.
    report_only : bool
        Score nothing: take the scores that are there.
    maps : MapStore, optional
        Shared with another run; None: the run has its own.

    Raises
    ------
    ValueError
        As :func:`~.folder.prepare`, or another run is in the folder.
    """
    with locked(place):
        logs = replace(prepare(place, settings, {}), pictures=None)
        if maps is not None:
            logs = replace(logs, maps=maps)
        forget_failures(logs, retry_failed=not report_only)
        run = ComparisonRun(plan, logs)
        if not report_only:
            run.run(quiet)
        yield run
