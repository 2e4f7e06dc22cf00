"""How one method is measured: in a process of its own, against the plain forward in the same process.

Time: after warming up, forward and method take turns (forward, method, forward, method, ...); every method's time is
divided by that of the forward just before it (for a candidate that says so: of the bare forwards that it runs); the
median of these ratios counts, by CPU time and by wall time.

Peak memory: of the process's first call of the method on the model, how far resident memory rises above what it was
just before the call (with model, images and the method's object in place). The plain forward's rise is measured
likewise, as the first call in processes of its own; the smallest of three counts. Before it, the same method ran on a
miniature of the model: library code that is loaded when first used would otherwise count as the forward's memory, and
make all ratios some three times smaller. Memory that the building of the model left to the allocator is given back
first. The peak is Linux' ``VmHWM`` in /proc/self/status: what ``ru_maxrss`` reports too, but that also counts what the
process was before it became this one. On CUDA it is the rise of ``max_memory_allocated``.

The processes fork from a server that has imported the heavy packages and run nothing, so each starts alike.
"""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import re
import statistics
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

HEAVY = ["torch", "torchvision", "timm", "captum.attr", "quantus_vit"]  # imported once, by the server
MEBIBYTE = 2**20


@dataclass(frozen=True)
class Case:
    """One measurement: a method (None: the plain forward), a model and a batch.

    ``options`` go to timm's model, e.g. ``depth``; ``repeats`` is the number of ratios.
    """

    method: str | None
    model: str
    batch: int
    size: int = 224
    device: str = "cpu"
    architecture: str = "timm"
    repeats: int = 9
    warmups: int = 2
    options: tuple[tuple[str, Any], ...] = ()


@dataclass
class Result:
    """What was found; ratios to the forward, seconds of one forward, MiB."""

    case: Case
    cpu_ratios: list[float] = field(default_factory=list)
    wall_ratios: list[float] = field(default_factory=list)
    forward_seconds: float = 0.0
    memory: float | None = None
    skipped: str | None = None

    @property
    def cpu(self) -> float:
        """Median multiple of the forward's CPU time."""
        return statistics.median(self.cpu_ratios)

    @property
    def wall(self) -> float:
        """Median multiple of the forward's wall time."""
        return statistics.median(self.wall_ratios)


class Laboratory:
    """Measures cases one after the other, each in a new process."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(HEAVY)

    def measure(self, case: Case) -> Result:
        """The result; one that is ``skipped``, with the reason, where another package's method cannot run here."""
        from candidates import candidate

        method = None if case.method is None else candidate(case.method)
        if method is not None:
            if method.package is not None and not installed(method.package):
                return Result(case, skipped=f"{method.package} is not installed")
            if method.largest_batch is not None and case.batch > method.largest_batch:
                return Result(case, skipped=f"takes {method.largest_batch} image at a time")
        found = self._in_new_process(case)
        if isinstance(found, Result):
            return found
        if method is None or method.package is None:
            raise RuntimeError(f"{case}: {found}")
        return Result(case, skipped=found)

    def forward(self, case: Case) -> Result:
        """The plain forward alone, with the smallest of three peaks: the unit of memory (on CUDA all are the same)."""
        case = replace(case, method=None, repeats=1, warmups=1)
        times = 3 if case.device == "cpu" else 1
        return min((self.measure(case) for _ in range(times)), key=lambda result: result.memory or 0.0)

    def _in_new_process(self, case: Case) -> Result | str:
        receiver, sender = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_measure_here, args=(case, sender))
        process.start()
        sender.close()
        try:
            found: Result | str = receiver.recv()
        except EOFError:
            process.join()
            found = f"its process ended with code {process.exitcode}"
        process.join()
        return found


def installed(package: str) -> bool:
    """Whether the distribution is there."""
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


# In the process of its own -------------------------------------------------------------------------------------------


def _measure_here(case: Case, sender: Connection) -> None:
    warnings.simplefilter("ignore")
    try:
        sender.send(_measure(case))
    except Exception as error:
        print(traceback.format_exc(), file=sys.stderr)
        sender.send(f"{type(error).__name__}: {error}".splitlines()[0])


def _measure(case: Case) -> Result:
    import torch
    from candidates import candidate, make_images, make_model, plain_forward

    torch.set_num_threads(1)
    chosen = None if case.method is None else candidate(case.method)
    build = plain_forward if chosen is None else chosen.build
    miniature = make_model(case.model, case.architecture, 32, depth=1, embed_dim=48, num_heads=3).to(case.device)
    build(miniature, make_images(1, 32).to(case.device))()
    del miniature
    model = make_model(case.model, case.architecture, case.size, **dict(case.options)).to(case.device)
    images = make_images(case.batch, case.size).to(case.device)
    forward = ((chosen and chosen.forwards) or plain_forward)(model, images)
    method = build(model, images)
    result = Result(case, memory=rise_of_peak(method, case.device))
    for _ in range(case.warmups):
        forward()
        method()
    forwards = []
    for _ in range(case.repeats):
        forward_cpu, forward_wall = times(forward, case.device)
        method_cpu, method_wall = times(method, case.device)
        forwards.append(forward_cpu if case.device == "cpu" else forward_wall)
        result.cpu_ratios.append(method_cpu / forward_cpu)
        result.wall_ratios.append(method_wall / forward_wall)
    result.forward_seconds = statistics.median(forwards)
    return result


def times(call: Callable[[], Any], device: str = "cpu") -> tuple[float, float]:
    """CPU and wall seconds of one call."""
    import torch

    if device != "cpu":
        torch.cuda.synchronize(device)
    cpu, wall = time.process_time(), time.perf_counter()
    call()
    if device != "cpu":
        torch.cuda.synchronize(device)
    return time.process_time() - cpu, time.perf_counter() - wall


def clock(device: torch.device) -> float:
    """CPU seconds where the CPU does the work (other jobs on the machine then count little), else wall seconds."""
    import torch

    if device.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()


def timed(action: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call, by :func:`clock`."""
    start = clock(device)
    action()
    return clock(device) - start


def rise_of_peak(call: Callable[[], Any], device: str) -> float | None:
    """MiB by which the call's peak exceeds what was in use before it; None where the system does not tell."""
    import torch

    if device != "cpu":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        call()
        torch.cuda.synchronize(device)
        return float(torch.cuda.max_memory_allocated(device) - before) / MEBIBYTE
    if not Path("/proc/self/clear_refs").exists():
        return None
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # else the call may live on what the building of the model has freed
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from what is resident now
    before = resident("VmRSS")
    call()
    return (resident("VmHWM") - before) / MEBIBYTE


def resident(what: str) -> int:
    """Bytes of this process in memory: now ("VmRSS"), or at most so far ("VmHWM"); Linux alone tells."""
    found = re.search(rf"{what}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024
