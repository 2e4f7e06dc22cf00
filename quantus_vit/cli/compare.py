"""``quantus-vit compare``: arguments -> protocol, model and data -> :func:`quantus_vit.comparison.compare`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .compare_settings import settings_of
from .data_options import absolute_spec, drawn_options, is_drawn, options_of
from .figure_options import add_figure_options, check_figures
from .process_options import add_process_options, check_launcher
from .result_folder import result_folder
from .signals import sigterm_as_interrupt
from .warning_lines import warnings_as_lines

if TYPE_CHECKING:
    from ..comparison.pipeline import Outcome
    from ..comparison.processes import Processes
    from ..comparison.protocol import Protocol
    from ..comparison.sensitivity import SensitivityGrid
    from ..data import XrayDataset
    from ..models import Classifier

__all__ = ["add_arguments", "run"]

PHANTOM = "phantom"
_PHANTOM_COUNT = 3000
_DESCRIPTION = """\
Explain a class-balanced sample of X-rays with several methods through quantus.explain, score the maps with Quantus'
metrics, and write the paper's table and figures, paired tests and a report into a folder. Scores are written as they
come: after an interrupt, the same command goes on from there.

Without --data and --model it runs on synthetic phantoms with the small ViT that the package ships."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``compare``."""
    parser.description = _DESCRIPTION
    _add_data(parser.add_argument_group("data and model"))
    _add_protocol(
        parser.add_argument_group("protocol", "Settings that are given replace the protocol's and are marked as such.")
    )
    _add_running(parser.add_argument_group("running"))


def _add_data(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--data", default=PHANTOM, metavar="SPEC",
        help="phantom, a folder of COVID-QU-Ex, folder:DIR, csv:FILE, or another kind of data (docs/data.md)",
    )  # fmt: skip
    group.add_argument("--split", default="Test", help="Train, Val or Test")
    group.add_argument(
        "--subset", "--part", metavar="NAME", help="subset of the data, such as COVID-QU-Ex' lung or infection"
    )
    group.add_argument(
        "--data-options", nargs="+", metavar="KEY=VALUE",
        help="options of the kind of data (docs/data.md), such as 'pixel_range=(0, 4095)' or readers=union",
    )  # fmt: skip
    group.add_argument(
        "--model", "--checkpoint", metavar="SPEC",
        help="model.safetensors of 'quantus-vit train', timm:NAME@FILE, hf:FOLDER, FILE.py:NAME or another source of "
        "models (docs/own_model.md)",
    )  # fmt: skip
    group.add_argument(
        "--classes", nargs="+", metavar="MODEL=DATA", help="classes of the model and of the data with different names"
    )
    group.add_argument("--findings", nargs="+", metavar="NAME", help="classes of the data to compare (default: all)")


def _add_protocol(group: argparse._ArgumentGroup) -> None:
    from ..comparison.methods import METHODS
    from ..comparison.metrics import METRICS
    from ..comparison.protocols import PROTOCOLS

    protocols = "; ".join(f"{spec.name}: {spec.summary}" for spec in PROTOCOLS)
    group.add_argument(
        "--protocol", metavar="NAME", help=f"{protocols} (default: quick on phantoms, fair on real data)"
    )
    group.add_argument(
        "--methods", nargs="+", metavar="NAME",
        help=f"{', '.join(METHODS.names())}, or another of quantus_vit.available_methods(); options in brackets, such "
        "as 'LimeCXR[replacement=mean]'",
    )  # fmt: skip
    group.add_argument(
        "--metrics", nargs="+", metavar="NAME",
        help=f"{', '.join(METRICS.names())}; options in brackets; those that compare with masks give a row for each "
        "finding or organ that has masks",
    )  # fmt: skip
    group.add_argument("--samples", type=int, metavar="N", help="cases, balanced over the classes")
    group.add_argument("--seed", type=int, dest="sample_seed", metavar="N", help="sampling seed")
    group.add_argument("--target", metavar="label|predicted", help="explained class: the true or the predicted one")
    group.add_argument("--lime-samples", type=int, metavar="N", help="perturbed images of LimeCXR")
    group.add_argument("--lime-seed", type=int, metavar="N", help="seed of the perturbed images")
    group.add_argument(
        "--lime-replacement", metavar="VALUE",
        help="what LimeCXR replaces superpixels by: baseline (what the metrics replace values by), mean, blur, inpaint "
        "or a number",
    )  # fmt: skip
    group.add_argument("--precision", metavar="float32|bfloat16", help="of LimeCXR's forward passes alone")
    group.add_argument(
        "--baselines", nargs="+", metavar="VALUE",
        help="what removed values become, in normalised units, or black, white, mean; several give a row each. 0.0 is "
        "the mean of the model's preprocessing; 'black' the image's minimum. The choice can change the ranking",
    )  # fmt: skip
    group.add_argument(
        "--features-in-step", type=int, metavar="N", help="must divide the pixels (default: about 1/14 of them)"
    )
    flag = argparse.BooleanOptionalAction
    group.add_argument("--softmax", action=flag, help="score probabilities instead of logits")
    group.add_argument("--normalise", action=flag, help="divide a map by its largest value")
    group.add_argument("--abs", action=flag, help="score absolute relevance")
    group.add_argument("--tie-breaks", type=int, metavar="K", help="random tie-breaking orders averaged per score")
    group.add_argument("--tie-seed", type=int, metavar="N", help="tie-breaking seed")
    group.add_argument(
        "--removal-shift", type=int, metavar="N", help="images on which the removals are compared; 0: none"
    )


def _add_running(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--out", default="runs/compare", metavar="DIR", help="result folder")
    group.add_argument(
        "--device", "--accelerator", default="auto", metavar="NAME",
        help="auto, cpu, cuda or cuda:N; auto takes a GPU if there is one",
    )  # fmt: skip
    add_process_options(group, "auto or ddp, which deal the cases out; docs/scale.md")
    group.add_argument("--threads", type=int, metavar="N", help="CPU threads of torch (default: torch's own)")
    group.add_argument(
        "--retry-failed", action=argparse.BooleanOptionalAction, default=True,
        help="try images again that failed in an earlier run",
    )  # fmt: skip
    group.add_argument(
        "--report-only", action="store_true", help="rebuild tables, figures and report from existing scores"
    )
    group.add_argument(
        "--meta-evaluation", type=int, nargs="?", const=12, default=0, metavar="N",
        help="also judge the metrics on N phantoms (12), whose truth is known; --protocol meta takes many metrics",
    )  # fmt: skip
    group.add_argument(
        "--sensitivity", nargs="*", metavar="NAME=VALUE[,VALUE]",
        help="also rank the methods over a grid of settings; names: metrics, baselines, removals, steps, seeds, "
        "lime_samples, samples (docs/comparison.md)",
    )  # fmt: skip
    add_figure_options(group, "'quantus-vit report --help' has their names")
    group.add_argument("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """Run ``compare``.

    Returns
    -------
    int
        0; 130 after an interrupt; 2 where no image could be read, or the machine failed on some.

    Raises
    ------
    ValueError, TypeError, OSError, ImportError
        For what the user can put right; the message says how.
    """
    from ..comparison.processes import launched
    from ..comparison.sensitivity import SensitivityGrid
    from .device import choose_device, set_threads

    result_folder(args.out)
    if args.meta_evaluation < 0:
        raise ValueError(f"--meta-evaluation must be a number of phantoms, 1 or more, got {args.meta_evaluation}")
    settings = settings_of(args)
    check_figures(args, settings.get("methods", ()))
    sensitivity = None if args.sensitivity is None else SensitivityGrid.parse(args.sensitivity)
    set_threads(args.threads)  # once more in each process: Lightning sets them when it starts some
    if args.model is None and args.data != PHANTOM:
        raise ValueError(
            f"--data {args.data} needs --model SPEC, a model that was trained on such images (quantus-vit train "
            f"--data {args.data} --out DIR writes DIR/model.safetensors)"
        )
    device, count = choose_device(args.device), (args.devices, args.num_nodes)
    if args.report_only:
        count = (1, 1)  # there is nothing to deal out
    check_launcher(*count)
    with sigterm_as_interrupt(), warnings_as_lines(), launched(device, *count, args.strategy) as processes:
        return _run_in(processes, args, settings, sensitivity, processes.device or device)


def _run_in(
    processes: Processes,
    args: argparse.Namespace,
    settings: dict[str, Any],
    sensitivity: SensitivityGrid | None,
    device: str,
) -> int:
    """Run ``compare`` in one of the processes."""
    from ..comparison.pipeline import assist, compare
    from ..comparison.printing import print_figures
    from .device import set_threads
    from .outcome_text import describe

    with processes.together():
        set_threads(args.threads)
        classifier, dataset = _model_and_data(args, device)
        protocol = _protocol(args, settings, classifier, dataset)
    protocol = _with_choices(processes, args, protocol, classifier, device)
    if not processes.is_first:
        assist(Path(args.out), protocol, classifier, dataset, device, sensitivity, processes)
        return 0
    if args.data == PHANTOM:
        print(_phantom_notice(protocol, shipped=args.model is None))
    started = time.monotonic()
    command = " ".join(sys.argv) if sys.argv else ""
    outcome = compare(
        Path(args.out), protocol, classifier, dataset, device, args.quiet, command, args.report_only,
        args.retry_failed, args.meta_evaluation, sensitivity, processes,
    )  # fmt: skip
    if args.figures and outcome.table:
        print_figures(outcome.folder, args.figures, args.figure_methods or ())
    print(describe(outcome, time.monotonic() - started))
    return _exit_code(outcome, args.report_only)


def _exit_code(outcome: Outcome, report_only: bool) -> int:
    if outcome.interrupted:
        return 130
    if not outcome.read:
        raise ValueError(f"none of the {outcome.cases} images could be read; {outcome.folder / 'errors.csv'} says why")
    if not outcome.complete and not report_only:
        raise ValueError(
            f"some cases have no score since the machine failed on them, {outcome.folder / 'errors.csv'} says how; the "
            "tables are of the others, and the same command tries them again"
        )
    return 0


def _model_and_data(args: argparse.Namespace, device: str) -> tuple[Classifier, XrayDataset]:
    """Open both; the data first, to tell a misspelt place at once, unless they are drawn at the model's size."""
    from ..assets import phantom_checkpoint_path
    from ..data import open_data
    from ..models import load_model
    from .quiet import hidden_bars

    def load() -> Classifier:
        with hidden_bars(args.quiet):
            return load_model(phantom_checkpoint_path() if args.model is None else args.model, device)

    if not is_drawn(args.data):
        dataset = open_data(args.data, args.split, **options_of(args))
        return load(), dataset
    classifier = load()
    return classifier, _data(args, args.split, classifier)


def _data(args: argparse.Namespace, split: str, classifier: Classifier) -> XrayDataset:
    """Open a split, drawn at the model's size where it is drawn."""
    from ..data import open_data

    drawn = drawn_options(args.data, count=_PHANTOM_COUNT, image_size=max(classifier.preprocessing.size))
    return open_data(args.data, split, **{**drawn, **options_of(args)})


def _with_choices(
    processes: Processes, args: argparse.Namespace, protocol: Protocol, classifier: Classifier, device: str
) -> Protocol:
    """The protocol with what its metrics leave to the Val split; the first process chooses for all."""
    from ..comparison.val_choice import VAL_SPLIT, choose_on_val, is_left_to_val

    if not is_left_to_val(protocol):
        return protocol
    with processes.together():
        if processes.is_first:
            val = _data(args, VAL_SPLIT, classifier)
            protocol = choose_on_val(Path(args.out), protocol, classifier, val, device, args.quiet, args.report_only)
    chosen = json.loads(processes.exchange(json.dumps(protocol.chosen))[0])
    return replace(protocol, chosen=tuple(chosen))


def _protocol(
    args: argparse.Namespace, settings: dict[str, Any], classifier: Classifier, dataset: XrayDataset
) -> Protocol:
    from ..comparison.planning import with_facts

    options = tuple(f"{key}={value!r}" for key, value in sorted(options_of(args).items()))
    where = absolute_spec(args.data)
    return with_facts(
        settings, classifier, dataset, data=where, data_options=options, classes=tuple(args.classes or ())
    )


def _phantom_notice(protocol: Protocol, shipped: bool) -> str:
    model = "the small ViT that the package ships" if shipped else protocol.model
    return (
        f"Synthetic phantoms, explained by {model}: {protocol.samples} images, protocol {protocol.protocol} (version "
        f"{protocol.protocol_version}). --data and --model take your own, --protocol paper the settings of the paper."
    )
