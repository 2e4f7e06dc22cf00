"""``quantus-vit compare``: arguments -> protocol, model and data -> :func:`quantus_vit.comparison.compare`."""

from __future__ import annotations

import argparse
import dataclasses
import math
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..comparison.pipeline import Outcome
    from ..comparison.protocol import Protocol

__all__ = ["add_arguments", "run"]

PHANTOM = "phantom"
PHANTOM_SAMPLES, PHANTOM_LIME_SAMPLES = 30, 500
PAPER_SAMPLES, PAPER_LIME_SAMPLES = 87, 1000
_PHANTOM_COUNT = 3000
_DESCRIPTION = """\
Explain a class-balanced sample of X-rays with several methods through quantus.explain, score the maps with Quantus'
metrics, and write the paper's table and figures, paired tests and a report into a folder. Scores are written as they
come: after an interrupt, the same command goes on from there.

Without --data and --checkpoint it runs on synthetic phantoms with the small ViT that the package ships."""


class _Words(list[str]):
    """Default of an option that takes several words, shown in the help as one would type it."""

    def __str__(self) -> str:
        return " ".join(self)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``compare``."""
    parser.description = _DESCRIPTION
    data = parser.add_argument_group("data and model")
    data.add_argument("--data", default=PHANTOM, metavar="DIR|phantom", help="folder of COVID-QU-Ex, or phantom")
    data.add_argument("--split", default="Test", help="Train, Val or Test")
    data.add_argument("--part", default="lung", choices=("lung", "infection"), help="part of COVID-QU-Ex")
    data.add_argument("--checkpoint", metavar="FILE", help="model.safetensors of 'quantus-vit train'")
    data.add_argument(
        "--samples", type=int, metavar="N",
        help=f"images, balanced over the classes (default: {PAPER_SAMPLES}; {PHANTOM_SAMPLES} phantoms)",
    )  # fmt: skip
    data.add_argument("--seed", type=int, default=0, help="picks the images")
    data.add_argument("--target", default="label", choices=("label", "predicted"), help="explained class")

    method = parser.add_argument_group("methods")
    method.add_argument(
        "--methods", nargs="+", metavar="NAME", default=_Words(["TransformerLRP", "LimeCXR", "Random"]),
        help="any of quantus_vit.available_methods(), Random, or Quantus' own such as InputXGradient",
    )  # fmt: skip
    method.add_argument(
        "--lime-samples", type=int, metavar="N",
        help=f"perturbed images of LimeCXR (default: {PAPER_LIME_SAMPLES}; {PHANTOM_LIME_SAMPLES} on phantoms)",
    )  # fmt: skip
    method.add_argument("--lime-seed", type=int, default=0, help="draws the perturbed images")
    method.add_argument(
        "--precision", default="float32", choices=("float32", "bfloat16"),
        help="of LimeCXR's forward passes alone",
    )  # fmt: skip

    metric = parser.add_argument_group("metrics")
    metric.add_argument(
        "--metrics", nargs="+", metavar="NAME", default=_Words(["FaithfulnessEstimate"]),
        help="FaithfulnessEstimate, PixelFlipping, RelevanceMassAccuracy, RelevanceRankAccuracy, "
        "PointingGame, Sparseness, MaxSensitivity",
    )  # fmt: skip
    metric.add_argument(
        "--baselines", nargs="+", metavar="VALUE", default=_Words(["0.0"]),
        help="what removed values become, in normalised units, or black, white, mean; several give a row each. 0.0 is "
        "ImageNet's mean; 'black' the image's minimum. The choice can change the ranking",
    )  # fmt: skip
    metric.add_argument(
        "--features-in-step", type=int, metavar="N", help="must divide the pixels (default: about 1/14 of them)"
    )
    metric.add_argument("--softmax", action="store_true", help="score probabilities; default: logits")
    metric.add_argument("--no-normalise", action="store_true", help="do not divide a map by its largest value")
    metric.add_argument("--abs", action="store_true", help="score absolute relevance")
    metric.add_argument(
        "--tie-breaks", type=int, default=3, metavar="K",
        help="orders of equal values that a score is averaged over, where they decide it",
    )  # fmt: skip
    metric.add_argument("--tie-seed", type=int, default=0, help="draws those orders")

    output = parser.add_argument_group("running")
    output.add_argument("--out", default="runs/compare", metavar="DIR", help="result folder")
    output.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N; auto takes a GPU if there is one")
    output.add_argument("--threads", type=int, metavar="N", help="CPU threads of torch (default: torch's own)")
    output.add_argument(
        "--report-only", action="store_true",
        help="score nothing more; tables, figures and report of the scores that are in the folder",
    )  # fmt: skip
    output.add_argument("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """Run ``compare``; returns the exit code: 0, or 130 after an interrupt.

    Raises
    ------
    ValueError, FileNotFoundError, ImportError
        For what the user can put right; the message says how.
    """
    import torch

    from ..assets import phantom_checkpoint_path
    from ..comparison.pipeline import compare
    from ..comparison.protocol import file_digest
    from ..comparison.resources import choose_device, load_model, open_data

    if args.threads is not None:
        if args.threads < 1:
            raise ValueError(f"--threads must be at least 1, got {args.threads}")
        torch.set_num_threads(args.threads)
    if args.checkpoint is None and args.data != PHANTOM:
        raise ValueError(
            f"--data {args.data} needs --checkpoint FILE, a model that was trained on such images "
            f"(quantus-vit train --data {args.data} --out DIR writes DIR/model.safetensors)"
        )
    device = choose_device(args.device)
    shipped = args.checkpoint is None
    checkpoint = phantom_checkpoint_path() if shipped else Path(args.checkpoint)
    digest = file_digest(checkpoint)
    model, config = load_model(checkpoint, device)
    protocol = _protocol(args, str(checkpoint), digest, config.image_size)
    dataset = open_data(args.data, protocol.split, protocol.part, config, _PHANTOM_COUNT)
    if args.data == PHANTOM:
        print(_phantom_notice(protocol, shipped))
    started = time.monotonic()
    command = " ".join(sys.argv) if sys.argv else ""
    with _sigterm_as_interrupt():
        outcome = compare(
            Path(args.out), protocol, model, dataset, config.class_names, device, args.quiet, command, args.report_only
        )
    print(describe(outcome, config.class_names, time.monotonic() - started))
    return 0 if outcome.complete or args.report_only else 130


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does: write the tables of the images so far, then leave."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _protocol(args: argparse.Namespace, checkpoint: str, digest: str, image_size: int) -> Protocol:
    from ..comparison.protocol import Protocol, default_features_in_step, parse_baseline

    phantom = args.data == PHANTOM
    default_samples = PHANTOM_SAMPLES if phantom else PAPER_SAMPLES
    default_lime = PHANTOM_LIME_SAMPLES if phantom else PAPER_LIME_SAMPLES
    return Protocol(
        data=PHANTOM if phantom else str(Path(args.data).resolve()),
        checkpoint=checkpoint,
        checkpoint_digest=digest,
        image_size=image_size,
        features_in_step=_given(args.features_in_step, default_features_in_step(image_size)),
        quantus=version("quantus"),
        split=args.split,
        part=args.part,
        samples=_given(args.samples, default_samples),
        sample_seed=args.seed,
        target=args.target,
        methods=tuple(args.methods),
        metrics=tuple(args.metrics),
        lime_samples=_given(args.lime_samples, default_lime),
        lime_seed=args.lime_seed,
        precision=args.precision,
        baselines=tuple(parse_baseline(text) for text in args.baselines),
        softmax=args.softmax,
        normalise=not args.no_normalise,
        abs=args.abs,
        tie_breaks=args.tie_breaks,
        tie_seed=args.tie_seed,
    )


def _given(value: int | None, default: int) -> int:
    return default if value is None else value


def _phantom_notice(protocol: Protocol, shipped: bool) -> str:
    model = "the small ViT that the package ships" if shipped else protocol.checkpoint
    text = f"Synthetic phantoms, explained by {model}: {protocol.samples} images"
    if "LimeCXR" in protocol.methods:
        text += f", {protocol.lime_samples} perturbed images for LimeCXR"
    return (
        f"{text} (the paper has {PAPER_SAMPLES} X-rays, lime's default is {PAPER_LIME_SAMPLES}; --samples and "
        "--lime-samples change that)."
    )


def describe(outcome: Outcome, class_names: Sequence[str], seconds: float) -> str:
    """Table 1 as text, with the sample and where the files are."""
    rows = [[_cell(value) for value in dataclasses.astuple(row)] for row in outcome.table]
    header = [field.name for field in dataclasses.fields(outcome.table[0])] if outcome.table else []
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = ["", outcome.selection.describe(class_names)]
    for row in [header, *rows]:
        cells = (
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(cells).rstrip())
    lines += ["", f"{outcome.folder / 'report.html'} ({seconds / 60:.1f} min)"]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "nan" if math.isnan(value) else f"{value:.3f}"
    return str(value)
