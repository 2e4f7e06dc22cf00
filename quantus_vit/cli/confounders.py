"""``quantus-vit confounders``: models with a planted confounder, and which methods show it."""

from __future__ import annotations

import argparse
import shutil
from dataclasses import replace
from pathlib import Path

from . import train as training
from .result_folder import result_folder
from .signals import sigterm_as_interrupt

__all__ = ["add_arguments", "run"]

PERCENTS = (0.0, 50.0, 80.0, 100.0)
_MODEL = "model.safetensors"
_HIDDEN = 0.5
"""Part of the class's films without a lesion; where it always shows, no model has a reason to learn an artefact."""

_DESCRIPTION = """\
Phantoms in which an artefact goes with one class: 'train' trains the shipped ViT further on them, a model for each
artefact and percentage, in some minutes each; 'score' explains films that carry the artefact by every model and says
which methods show it, and which accuse the clean model. What an earlier call finished is kept."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``confounders``."""
    parser.description = _DESCRIPTION
    actions = parser.add_subparsers(dest="action", required=True, metavar="train|score")
    train = actions.add_parser("train", help="train the models")
    train.add_argument("--artefacts", nargs="+", default=["tube"], metavar="NAME", help="tube, corner, letter (tube)")
    train.add_argument(
        "--percents", nargs="+", type=float, default=list(PERCENTS), metavar="P",
        help="percentages of the class's films that carry the artefact (0 50 80 100); 0 is the clean control",
    )  # fmt: skip
    train.add_argument("--films", type=int, default=600, metavar="N", help="phantoms to train on (600)")
    train.add_argument("--epochs", type=int, default=20, metavar="N", help="epochs (20)")
    train.add_argument("--seed", type=int, default=0, metavar="N", help="of films and training (0)")
    score = actions.add_parser("score", help="explain and score")
    score.add_argument("--methods", nargs="+", metavar="NAME", help="as in compare, options in brackets")
    score.add_argument("--samples", type=int, default=20, metavar="N", help="films with the artefact (20)")
    score.add_argument("--lime-samples", type=int, default=300, metavar="N", help="perturbed images of LIME (300)")
    score.add_argument("--quiet", action="store_true", help="no progress bar")
    for action in (train, score):
        action.add_argument("--carrier", default="COVID-19", metavar="CLASS", help="class that goes with the artefact")
        action.add_argument("--out", default="runs/confounders", metavar="DIR", help="the models' folder")
        action.add_argument("--threads", type=int, metavar="N", help="CPU threads of torch")


def run(args: argparse.Namespace) -> int:
    """Train or score.

    Returns
    -------
    int
        0.

    Raises
    ------
    ValueError, TypeError, OSError, ImportError
        What the user got wrong, in words.
    """
    return _train(args) if args.action == "train" else _score(args)


def _train(args: argparse.Namespace) -> int:
    from ..data.phantom import ARTEFACTS

    folder = result_folder(args.out)
    for artefact in args.artefacts:
        if artefact not in ARTEFACTS:
            raise ValueError(f"--artefacts must be some of {', '.join(ARTEFACTS)}, got {artefact!r}")
    for percent in args.percents:
        if not 0 <= percent <= 100:
            raise ValueError(f"--percents must lie in 0 to 100, got {percent:g}")
    clean: Path | None = None
    for artefact in args.artefacts:
        for percent in args.percents:
            out = folder / f"{artefact}@{percent:g}"
            if (out / _MODEL).exists():
                print(f"{out / _MODEL} is there")
            elif percent == 0 and clean is not None:
                out.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(clean / _MODEL, out / _MODEL)
                print(f"{out / _MODEL} is that of {clean}: no film has an artefact")
            else:
                _train_one(args, f"confounded:{artefact}@{percent:g}", out)
                clean = out if percent == 0 else clean
    return 0


def _train_one(args: argparse.Namespace, data: str, out: Path) -> None:
    parser = argparse.ArgumentParser()
    training.add_arguments(parser)
    training.run(parser.parse_args(_recipe(args, data, out)))


def _recipe(args: argparse.Namespace, data: str, out: Path) -> list[str]:
    """Arguments of ``quantus-vit train``: the shipped ViT, trained further; flips would move the artefact."""
    from ..assets import phantom_checkpoint_path
    from ..models.checkpoint import load_checkpoint

    _, shipped = load_checkpoint(phantom_checkpoint_path())
    recipe = {
        "--data": [data],
        "--data-options": [f"hidden={_HIDDEN}", f"carrier={args.carrier}"],
        "--model": [shipped.architecture],
        "--model-kwargs": [f"{name}={value}" for name, value in shipped.model_kwargs.items()],
        "--weights": [str(phantom_checkpoint_path())],
        "--phantom-train": [args.films], "--phantom-val": [90], "--phantom-test": [90], "--epochs": [args.epochs],
        "--batch-size": [16], "--lr": [3e-4], "--embed-lr": [1e-4], "--weight-decay": [0.01], "--warmup": [0.03],
        "--schedule": ["cosine"], "--patience": [0], "--seed": [args.seed], "--out": [out],
    }  # fmt: skip
    flags = ["--no-augment", "--overwrite", *(["--threads", str(args.threads)] if args.threads is not None else [])]
    return [*(str(part) for name, values in recipe.items() for part in (name, *values)), *flags]


def _score(args: argparse.Namespace) -> int:
    from ..comparison.confounders import ConfounderSettings, confounder_findings, study_confounders
    from .device import set_threads

    folder = result_folder(args.out)
    set_threads(args.threads)
    settings = ConfounderSettings(samples=args.samples, lime_samples=args.lime_samples, carrier=args.carrier)
    if args.methods:
        settings = replace(settings, methods=tuple(args.methods))
    with sigterm_as_interrupt():
        tables = study_confounders(folder, settings, quiet=args.quiet)
    print("\n".join(f"- {sentence}" for sentence in confounder_findings(tables)))
    print(f"\n{folder / 'confounders.csv'}, {folder / 'confounder_models.csv'}")
    print(f"'quantus-vit report RUN {folder}' shows them in the report of a comparison")
    return 0
