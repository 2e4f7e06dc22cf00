"""Result folders written by hand: no model runs, and every number is known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from quantus_vit.comparison.maps import MapStore
from quantus_vit.comparison.meta_evaluation import MetaRow
from quantus_vit.comparison.pictures import PictureStore
from quantus_vit.comparison.rank_rows import RankRow
from quantus_vit.comparison.scores import Curve, Failure, Note, Prediction, Score
from quantus_vit.comparison.sensitivity import AgreementRow, SensitivityRow
from quantus_vit.comparison.significance import SignificanceRow
from quantus_vit.comparison.statistics import ClassRow, TableRow, write_table

SIDE = 32
CLASSES = ("COVID-19", "Normal")
METHODS = ("AttnLRP", "LimeCXR", "Random")
METRICS = ("RemovalCurve[removal=tokens]", "Sparseness")
EVIL = "<img src=x onerror=document.title=1>.png"
CASES = (("a/one.png", "COVID-19"), (f"a/{EVIL}", "Normal"), ("b/three.png", "COVID-19"), ("b/four.png", "Normal"))
PROBABILITIES = ((0.9, 0.1), (0.2, 0.8), (0.4, 0.6), (0.3, 0.7))
SCORES = {"AttnLRP": (0.5, 0.7, 0.9, 0.3), "LimeCXR": (0.1, 0.2, 0.3, 0.4), "Random": (0.0, 0.1, -0.1, 0.0)}


def relevance(method: int, case: int, target: int) -> np.ndarray:
    """Float32 ``(1, SIDE, SIDE)``; AttnLRP's is signed, and strongest at another place in each case."""
    values = np.random.default_rng([method, case, target]).random((1, SIDE, SIDE)).astype(np.float32) ** 4
    values[0, 4 * case : 4 * case + 4, :4] = 2.0
    return values - 0.1 if METHODS[method] == "AttnLRP" else values


def write_folder(folder: Path, classes: Sequence[str] = CLASSES, **changes: Any) -> Path:
    """A finished run of four cases; ``changes`` replace entries of ``run.json`` and of the protocol."""
    folder.mkdir(parents=True, exist_ok=True)
    protocol = {
        "data": "films", "data_digest": "d", "model": "/m/model.safetensors", "model_digest": "m", "quantus": "0.6.0",
        "protocol": "fair", "protocol_version": 2, "overrides": [], "split": "Test", "sample_seed": 0, "truth": "",
        "target": "label", "methods": list(METHODS), "metrics": list(METRICS), "primary": METRICS[0], "tie_breaks": 3,
    }  # fmt: skip
    facts = {
        "version": 1, "dataset": "films", "task": "multiclass", "class_names": list(classes), "labels": list(classes),
        "selection": "4 images: 2 COVID-19, 2 Normal.",
        "cases": [
            {"path": path, "label": label, "target": CLASSES.index(label), "patient": None} for path, label in CASES
        ],
        "methods": [
            {"label": name, "name": name, "role": "control" if name == "Random" else "method", "sign": "signed",
             "summary": f"what {name} is"} for name in METHODS
        ],
        "metrics": [
            {"row": row, "name": row.split("[")[0], "category": category, "higher_is_better": True, "summary": "s"}
            for row, category in zip(METRICS, ("faithfulness", "complexity"), strict=True)
        ],
        "complete": True, "foreign_rows": 0, "findings": ["A finding."], "caveats": ["A caveat."],
        "model_quality": None,
    }  # fmt: skip
    for name, value in changes.items():
        (facts if name in facts else protocol)[name] = value
    (folder / "config.json").write_text(json.dumps({"protocol": protocol, "environment": {"python": "3"}}))
    (folder / "run.json").write_text(json.dumps(facts))
    _write_tables(folder)
    _write_pictures(folder)
    return folder


def _write_tables(folder: Path) -> None:
    cases = [(path, label, number) for number, (path, label) in enumerate(CASES)]
    scores = [
        Score(path, label, label, label, method, metric, SCORES[method][number] * (1 if metric == METRICS[0] else -1))
        for metric in METRICS for method in METHODS for path, label, number in cases
    ]  # fmt: skip
    predictions = [
        Prediction(path, label, CLASSES[int(np.argmax(p))], int(CLASSES[int(np.argmax(p))] == label), f"{p[0]} {p[1]}")
        for (path, label), p in zip(CASES, PROBABILITIES, strict=True)
    ]
    curves = [
        Curve(path, label, method, METRICS[0], order, " ".join(str(number + slope * step) for step in range(5)))
        for path, label, number in cases
        for method, slope in zip(METHODS, (-2, -1, 0), strict=True) for order in ("mif", "lif")
    ]  # fmt: skip
    table = [
        TableRow(method, metric, float(np.mean(SCORES[method])) * sign, -0.2, 0.8, 0.5, 4, 0,
                 "faithfulness", "", "control" if method == "Random" else "method")
        for metric, sign in zip(METRICS, (1, -1), strict=True) for method in METHODS
    ]  # fmt: skip
    ranks = [
        RankRow(METRICS[0], method, "method", rank, 4, 6.0, 0.04, 1.66, group)
        for method, rank, group in zip(METHODS, (1.25, 1.75, 3.0), ("a", "a", "b"), strict=True)
    ]
    tests = [
        SignificanceRow(METRICS[0], "AttnLRP", "LimeCXR", 4, 0.35, 0.1, 0.6, 1.0, 0.01, 0.03, 0.9, 4, 0.2),
        SignificanceRow(METRICS[0], "AttnLRP", "Random", 4, 0.6, 0.3, 0.9, 0.0, 0.001, 0.003, 1.0, 4, 0.2),
        SignificanceRow(METRICS[0], "LimeCXR", "Random", 4, 0.25, -0.1, 0.5, 2.0, 0.2, 0.2, 0.5, 4, 0.2),
    ]
    meta = [MetaRow(metric, "every control", 12, hits, 0, 0, hits / 12, 0.7, 1.0 if hits == 12 else 0.9)
            for metric, hits in zip(METRICS, (12, 5), strict=True)]  # fmt: skip
    grid = [
        SensitivityRow(metric, removal, 64, samples, seed, method, "control" if method == "Random" else "method",
                       -rank, rank, 4)
        for metric in ("RemovalCurve", "SaCo") for removal in ("mean", "tokens")
        for samples, seed in ((50, 0), (50, 1), (200, 0), (200, 1))
        for method, rank in zip(METHODS, (2.0, 1.0, 3.0) if removal == "mean" else (1.5, 1.5, 3.0), strict=True)
    ]  # fmt: skip
    agreed = [AgreementRow("all", 16, 0.5, 0.1, 0.9, "LimeCXR", 1.0, 0),
              AgreementRow("metric=SaCo", 8, 0.25, 0.0, 0.75, "LimeCXR", 1.0, 0)]  # fmt: skip
    quartiles = [ClassRow(m, METRICS[0], label, 0.1, 0.0, 0.1, 0.2, 2, 0) for m in METHODS for label in CLASSES]
    for name, kind, rows in (
        ("scores", Score, scores), ("predictions", Prediction, predictions), ("curves", Curve, curves),
        ("table1", TableRow, table), ("ranks", RankRow, ranks), ("significance", SignificanceRow, tests),
        ("meta_evaluation", MetaRow, meta), ("by_class", ClassRow, quartiles),
        ("sensitivity", SensitivityRow, grid), ("sensitivity_agreement", AgreementRow, agreed),
        ("errors", Failure, [Failure(f"a/{EVIL}", "Normal", "LimeCXR", "", "image", "ValueError: <b>odd</b>")]),
        ("notes", Note, [Note("a/one.png", "COVID-19", "AttnLRP", "UserWarning: a note")]),
    ):  # fmt: skip
        write_table(folder / f"{name}.csv", kind, rows)


def _write_pictures(folder: Path) -> None:
    maps, pictures = MapStore(folder / "maps"), PictureStore(folder / "pictures")
    grey = np.linspace(0, 255, SIDE * SIDE).reshape(SIDE, SIDE).astype(np.uint8)
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[8:20, 6:15] = True
    for number, (path, label) in enumerate(CASES):
        pictures.save(path, label, grey, {"lung": mask, "infection": mask.T}, {"lung": "pixel", "infection": "box"})
        for method, name in enumerate(METHODS):
            target = CLASSES.index(label)
            maps.save(path, target, name, relevance(method, number, target))
    maps.save(CASES[0][0], 1, "AttnLRP", relevance(0, 0, 1))
