"""What a run leaves for its report beside scores, tables and maps: ``run.json``, and the pictures that are missing.

Knows the run with its model and data; whoever reads the folder afterwards needs neither.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ...files import write_whole
from ..findings import ReportContent, caveats, findings
from ..images import record_picture
from ..runner import ComparisonRun

__all__ = ["RUN_FILE", "record_pictures", "record_run"]

RUN_FILE = "run.json"
_VERSION = 1


def record_run(folder: Path, run: ComparisonRun, content: ReportContent) -> None:
    """Write ``run.json``.

    Parameters
    ----------
    folder : Path
        Result folder.
    run : ComparisonRun
    content : ReportContent
        What the run found, for its sentences.
    """
    facts = {
        "version": _VERSION,
        **_facts_of_data(run, content),
        "methods": [
            {"label": label, "name": spec.name, "role": spec.role, "sign": spec.sign, "summary": spec.summary}
            for label, spec in content.methods.items()
        ],
        "metrics": [
            {
                "row": row,
                "name": spec.name,
                "category": spec.category,
                "higher_is_better": spec.higher_is_better,
                "summary": spec.summary,
            }
            for row, spec in content.metrics.items()
        ],
        "complete": content.complete,
        "foreign_rows": content.foreign_rows,
        "findings": findings(content),
        "caveats": caveats(content),
        "model_quality": model_quality(run.plan.classifier.source),
    }
    write_whole(folder / RUN_FILE, lambda file: file.write(f"{json.dumps(facts, indent=1)}\n".encode()))


def _facts_of_data(run: ComparisonRun, content: ReportContent) -> dict[str, Any]:
    plan = run.plan
    patients = {plan.dataset.records[case.index].patient for case in plan.cases} - {None}
    numbers = {patient: number for number, patient in enumerate(sorted(map(str, patients)))}
    return {
        "dataset": content.dataset,
        "task": content.task,
        "class_names": list(plan.classifier.class_names),
        "labels": list(content.labels),
        "selection": content.selection.describe(),
        # A patient's number tells who is who, and no more.
        "cases": [
            {
                "path": case.identity,
                "label": case.label,
                "target": case.target,
                "patient": numbers.get(str(plan.dataset.records[case.index].patient)),
            }
            for case in plan.cases
        ],
    }


def model_quality(source: str) -> dict[str, Any] | None:
    """How good the model is by the ``metrics.json`` that training wrote beside it; None where there is none.

    Parameters
    ----------
    source : str
        Where the model comes from, as :class:`~quantus_vit.models.Classifier` has it.
    """
    file = Path(source)
    metrics = file.parent / "metrics.json"
    if not file.is_file() or not metrics.is_file():
        return None
    try:
        splits = json.loads(metrics.read_text(encoding="utf-8"))
    except ValueError:
        return None
    return splits if isinstance(splits, dict) else None


def record_pictures(run: ComparisonRun) -> None:
    """Read the images of the cases that have no picture yet, and write these; images that cannot be read have none.

    A run records each image when it reads it. This is for folders of before, and for pictures that were removed.

    Raises
    ------
    OSError
        The disk is full, read-only, or the like.
    """
    plan, store = run.plan, run.logs.pictures
    if store is None:
        return
    for case in plan.cases:
        if store.has(*case.key):
            continue
        try:
            sample = plan.dataset.sample(case.index, plan.classifier.preprocessing)
        except (OSError, ValueError):
            continue  # the run has booked it
        record_picture(store, plan, case, sample)
