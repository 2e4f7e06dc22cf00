"""What becomes of the engine benchmark's numbers: rows, the Markdown page, the JSON record, the comparison of two."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from candidates import candidate
from measuring import Result, installed

TOLERANCE = 1.25
NOISE = 4.0  # MiB
SETTING = ("model", "batch", "size", "device", "architecture")
CUDA_COLUMNS = "| method | CPU time | wall time | peak memory | images/s |"
PACKAGES = ("quantus-vit", "torch", "torchvision", "timm", "captum", "lxt", "zennit", "hilrp", "autolrp", "numpy")


@dataclass(frozen=True)
class Row:
    """One method, model and batch. Ratios are multiples of the plain forward's; memory in MiB, time in seconds."""

    method: str
    model: str
    batch: int
    size: int
    device: str
    architecture: str
    cpu: float | None = None
    wall: float | None = None
    cpu_ratios: tuple[float, ...] = ()
    wall_ratios: tuple[float, ...] = ()
    forward_seconds: float | None = None
    memory: float | None = None
    memory_mebibytes: float | None = None
    forward_mebibytes: float | None = None
    skipped: str | None = None

    @property
    def key(self) -> tuple[Any, ...]:
        """What was measured."""
        return (self.method, *[getattr(self, name) for name in SETTING])

    @property
    def cost(self) -> float | None:
        """The ratio that is judged: CPU time where the CPU computes, for other jobs on the machine count less."""
        return self.cpu if self.device == "cpu" else self.wall


@dataclass(frozen=True)
class Record:
    """A run: its circumstances (machine, versions, ...) and its rows."""

    circumstances: dict[str, Any]
    rows: list[Row]

    def save(self, path: Path) -> None:
        """Write as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Record:
        """Read what :meth:`save` wrote."""
        stored = json.loads(path.read_text())
        return cls(stored["circumstances"], [Row(**row) for row in stored["rows"]])


def row(result: Result, forward: Result) -> Row:
    """A method's result beside that of the plain forward, which gives the unit of memory."""
    case = result.case
    setting = {name: getattr(case, name) for name in SETTING}
    assert case.method is not None
    if result.skipped is not None:
        return Row(case.method, **setting, skipped=result.skipped)
    known = result.memory is not None and bool(forward.memory)
    return Row(
        case.method,
        **setting,
        cpu=round(result.cpu, 3),
        wall=round(result.wall, 3),
        cpu_ratios=tuple(round(x, 3) for x in result.cpu_ratios),
        wall_ratios=tuple(round(x, 3) for x in result.wall_ratios),
        forward_seconds=round(result.forward_seconds, 6),
        memory=round(result.memory / forward.memory, 2) if known else None,  # type: ignore[operator]
        memory_mebibytes=None if result.memory is None else round(result.memory, 1),
        forward_mebibytes=None if forward.memory is None else round(forward.memory, 1),
    )


def circumstances(arguments: argparse.Namespace, load_before: float) -> dict[str, Any]:
    """Machine, versions, date and settings of this run."""
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": machine(),
        "accelerator": _accelerator() if arguments.device == "cuda" else None,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES if installed(name)},
        "threads": 1,
        "repeats": arguments.repeats,
        "load": [round(x, 1) for x in (load_before, os.getloadavg()[0])],
        "malloc": sorted(name for name in os.environ if name.startswith(("MALLOC_", "LD_PRELOAD", "GLIBC_TUNABLES"))),
        "note": arguments.note,
    }


def machine() -> str:
    """Processor, cores and system of this machine."""
    return f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}"


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", information.read_text()) if information.is_file() else None
    return found[1].strip() if found is not None else platform.processor() or "unknown processor"


def _accelerator() -> str:
    import torch

    return torch.cuda.get_device_name()


# Words ---------------------------------------------------------------------------------------------------------------


def sentence(row: Row) -> str:
    """One line about a row, for the terminal."""
    where = f"{row.model}, batch {row.batch}: {row.method}"
    if row.skipped is not None:
        return f"{where}: skipped, {row.skipped}"
    return f"{where}: {row.cost:.2f} forwards, memory {_number(row.memory)} forwards"


def table(record: Record) -> str:
    """The Markdown tables, one a model and batch."""
    lines: list[str] = []
    on_cpu = all(row.device == "cpu" for row in record.rows)
    for model, batch in dict.fromkeys((row.model, row.batch) for row in record.rows):
        rows = [row for row in record.rows if (row.model, row.batch) == (model, batch)]
        lines += ["", f"### {model}, batch {batch}", "", *_forwards(rows), ""]
        lines.append("| method | CPU time | wall time | aim | peak memory | aim |" if on_cpu else CUDA_COLUMNS)
        lines.append("|---|---|---|---|---|---|" if on_cpu else "|---|---|---|---|---|")
        lines += [_line(row, on_cpu) for row in rows]
    return "\n".join(lines)


def _forwards(rows: list[Row]) -> list[str]:
    found: dict[str, str] = {}
    for row in rows:
        if row.forward_seconds is not None:
            memory = "" if row.forward_mebibytes is None else f", {row.forward_mebibytes:.1f} MiB"
            found.setdefault(row.architecture, f"{row.architecture} {row.forward_seconds * 1e3:.1f} ms{memory}")
    return ["The plain forward: " + "; ".join(found.values()) + "."] if found else []


def _line(row: Row, on_cpu: bool) -> str:
    if row.skipped is not None:
        return f"| {row.method} | skipped: {row.skipped} | | |" + (" | |" if on_cpu else " |")
    times, memory = [_number(row.cpu), _number(row.wall)], _number(row.memory)
    if on_cpu:
        aims = candidate(row.method)
        cells = [*times, _aim(row.cost, aims.cost), memory, _aim(row.memory, aims.memory)]
    else:
        assert row.wall is not None
        assert row.forward_seconds is not None
        cells = [*times, memory, f"{row.batch / (row.wall * row.forward_seconds):.0f}"]
    return "| " + " | ".join([row.method, *cells]) + " |"


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _aim(value: float | None, aim: float | None) -> str:
    if aim is None:
        return ""
    missed = value is not None and value > aim
    return f"≤ {aim:g}" + (" **missed**" if missed else "")


def page(records: Sequence[Record]) -> str:
    """RESULTS.md, a section a record."""
    lines = [
        "# Cost of the methods",
        "",
        "Written by `python benchmarks/engine.py`; `benchmarks/README.md` says how the numbers come about.",
        "Time and peak memory are multiples of the plain `no_grad` forward of the same model and batch, measured in",
        "the same run: medians of several ratios, one CPU thread, float32, random weights. Aims are upper bounds for",
        "the CPU, judged by CPU time.",
        "",
    ]
    return "\n".join([*lines, *(section(record) for record in records)])


def further(page: Path) -> str:
    """What other scripts have put at the end of RESULTS.md, each under a heading of its own."""
    _, heading, rest = page.read_text(encoding="utf-8").partition("\n\n# ") if page.is_file() else ("", "", "")
    return heading[1:] + rest


def section(record: Record) -> str:
    """The circumstances of a run, and its tables."""
    about = record.circumstances
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    malloc = "default" if not about["malloc"] else "set by " + ", ".join(about["malloc"])
    lines = [
        f"## On {about['accelerator'] or 'the CPU'}",
        "",
        f"- Date: {about['date']}; medians of {about['repeats']} ratios",
        f"- Machine: {about['machine']}" + (f"; {about['accelerator']}" if about["accelerator"] else ""),
        f"- Versions: Python {about['python']}, {versions}",
        f"- Load average of the machine at the start and at the end: {about['load'][0]} and {about['load'][1]}"
        " (this benchmark itself is 1)",
        f"- Memory allocator: {malloc}",
    ]
    if about["note"]:
        lines.append(f"- {about['note']}")
    return "\n".join(lines) + "\n" + table(record) + "\n"


def _within_noise(row: Row, old: Row) -> bool:
    """Whether peaks differ by less than the allocator's holes do from run to run."""
    known = row.memory_mebibytes is not None and old.memory_mebibytes is not None
    return known and row.memory_mebibytes - old.memory_mebibytes < NOISE  # type: ignore[operator]


def compare(fresh: Record, recorded: Record) -> tuple[list[str], int]:
    """Sentences about this package's ratios 25 % above the recorded ones, and how many were compared."""
    known = {row.key: row for row in recorded.rows}
    worse, compared = [], 0
    for row in fresh.rows:
        old = known.get(row.key)
        if old is None or not candidate(row.method).ours:
            continue
        for what, now, then in (("time", row.cost, old.cost), ("peak memory", row.memory, old.memory)):
            if now is None or then is None:
                continue
            compared += 1
            if what == "peak memory" and _within_noise(row, old):
                continue
            if now > then * TOLERANCE:
                worse.append(f"{row.model}, batch {row.batch}, {row.method}: {what} {now:.2f}, recorded {then:.2f}")
    return worse, compared
