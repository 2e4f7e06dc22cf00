"""The metrics of a comparison, judged on phantoms with the shipped model before anybody reads their verdict.

Knows the protocols, the shipped model and the phantoms.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..assets import phantom_checkpoint_path
from ..data import open_data
from ..models import load_model
from .cases import data_digest
from .meta_evaluation import MetaRow
from .planning import make_plan, model_digest
from .protocol import Protocol, default_features_in_step
from .protocols import PROTOCOLS
from .side_run import side_run
from .summary import summarise, write_summary
from .val_choice import VAL_SPLIT, choose_on_val, is_left_to_val

__all__ = ["META_FOLDER", "judge_metrics"]

META_FOLDER = "meta_evaluation"
_PHANTOMS = 3000
"""How many the sample is drawn from, as in a comparison on phantoms."""


def judge_metrics(
    folder: Path, protocol: Protocol, samples: int, device: str = "cpu", quiet: bool = False, report_only: bool = False
) -> list[MetaRow]:
    """Judge the metrics of a protocol, with its settings of them, on phantoms; see :mod:`.meta_evaluation`.

    Parameters
    ----------
    folder : Path
        Result folder of the comparison; scores and tables go into its folder "meta_evaluation", and a rerun goes on
        there.
    protocol : Protocol
        Whose metrics, baselines, softmax and tie-breaks are judged.
    samples : int
        Phantoms with a lesion.
    device, quiet
        As in :func:`~.pipeline.compare`.
    report_only : bool
        Score nothing: take the scores that are there.

    Returns
    -------
    list of MetaRow
        Empty with ``report_only`` where nothing has been scored.
    """
    place = folder / META_FOLDER
    if report_only and not (place / "scores.csv").exists():
        return []
    classifier = load_model(str(phantom_checkpoint_path()), device)
    size = classifier.preprocessing.size
    dataset = open_data("phantom", "Test", count=_PHANTOMS, image_size=max(size))
    settings = PROTOCOLS["meta"].settings
    judged = replace(
        protocol,
        data="phantom", data_digest=data_digest(dataset), split=dataset.split, data_options=(),
        model=classifier.source, model_digest=model_digest(classifier), image_size=size, classes=(), target="label",
        features_in_step=default_features_in_step(size), samples=samples,
        findings=settings["findings"], methods=settings["methods"], truth=settings["truth"], chosen=(),
    )  # fmt: skip
    if is_left_to_val(judged):
        val = open_data("phantom", VAL_SPLIT, count=_PHANTOMS, image_size=max(size))
        judged = choose_on_val(place, judged, classifier, val, device, quiet, report_only)
    plan, _, labels = make_plan(judged, classifier, dataset, device)
    with side_run(place, judged, plan, quiet, report_only) as run:
        summary = summarise(run, labels)
        write_summary(place, summary)
    return summary.meta
