"""``quantus-vit train``: arguments, data sets and starting weights for :func:`quantus_vit.training.fit.fit`.

Torch, timm and Lightning are imported only when it runs, so that ``--help`` is quick and works without Lightning.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from ..training.placement import Placement
from ..training.settings import TrainingSettings
from .data_options import drawn_options, is_drawn, parse_items
from .device import set_threads
from .process_options import add_process_options, check_launcher
from .result_folder import result_folder

if TYPE_CHECKING:
    from torch import nn

    from ..data import Preprocessing, XrayDataset
    from ..models.checkpoint import ModelConfig
    from ..training.transforms import LabelledImages

__all__ = ["add_arguments", "run"]

_DEFAULTS = TrainingSettings()

_RESERVED_FOR_MODELS = {
    "img_size": "--image-size does",
    "num_classes": "the data have the classes",
    "pretrained": "--weights does",
    "in_chans": "the model is trained on three channels",
}
_RESERVED_FOR_DATA = {"split": "all three are opened"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.description = (
        "Fine-tune a timm ViT on chest X-rays. The defaults are the recipe of the 2023 paper: ViT-B/16, 10 epochs, "
        "batches of 32, learning rate 1e-4, early stopping. Writes model.safetensors, config.json, metrics.json and "
        "history.csv."
    )
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data", required=True, metavar="SPEC", help="a folder of COVID-QU-Ex, phantom, csv:FILE, ... (docs/data.md)"
    )
    data.add_argument("--image-size", type=int, default=224, help="side of the input in pixels")
    data.add_argument(
        "--resize",
        choices=("squash", "pad", "crop"),
        default="squash",
        help="how images that are no squares become one: squash them, pad them with black, or cut off what is too long",
    )
    data.add_argument(
        "--data-options",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="options of the kind of data (docs/data.md), such as subset=infection or 'fractions=(0.7, 0.1, 0.2)'",
    )
    data.add_argument("--workers", type=int, help="processes that load images (default: none on a CPU, else up to 8)")
    data.add_argument(
        "--cache", action=argparse.BooleanOptionalAction, help="keep images in memory (default: for phantoms)"
    )
    data.add_argument("--phantom-train", type=int, default=3000, metavar="N", help="phantoms to train on")
    data.add_argument("--phantom-val", type=int, default=600, metavar="N", help="phantoms to validate on")
    data.add_argument("--phantom-test", type=int, default=600, metavar="N", help="phantoms to test on")

    model = parser.add_argument_group("model")
    model.add_argument("--model", default="vit_base_patch16_224", metavar="NAME", help="name of a timm model")
    model.add_argument(
        "--weights", default="pretrained", metavar="pretrained|none|FILE", help="where training starts from"
    )
    model.add_argument(
        "--model-kwargs",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="further arguments of timm.create_model, such as depth=4 embed_dim=128",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the results")
    _add_recipe(parser.add_argument_group("recipe"))
    _add_machine(parser.add_argument_group("machine"))


def _add_recipe(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--epochs", type=int, help="most epochs to run")
    group.add_argument("--batch-size", type=int, help="images a step, in all processes together")
    group.add_argument("--lr", type=float, help="learning rate of AdamW")
    group.add_argument("--head-lr", type=float, help="learning rate of the classifier (default: --lr)")
    group.add_argument("--embed-lr", type=float, help="learning rate of the patch embedding (default: --lr)")
    group.add_argument("--weight-decay", type=float, help="weight decay of matrices")
    group.add_argument("--warmup", type=float, help="share of the steps in which the learning rate rises")
    group.add_argument("--schedule", choices=("constant", "cosine"), help="learning rate after the warm-up")
    group.add_argument("--label-smoothing", type=float, help="probability spread over all classes")
    group.add_argument("--class-weights", choices=("none", "balanced"), help="weigh rare classes more")
    group.add_argument("--patience", type=int, help="epochs without improvement until the stop, 0: no early stop")
    group.add_argument(
        "--monitor",
        choices=("accuracy", "auroc", "loss"),
        help="what on Val decides on the best epoch (default: accuracy, for multilabel data auroc)",
    )
    group.add_argument("--augment", action=argparse.BooleanOptionalAction, help="flip and shift training images")
    group.add_argument("--seed", type=int, help="seed of the head, the order and the augmentation")
    own = ("precision", "monitor")  # the one has its default below, the other's depends on the data
    group.set_defaults(**{name: getattr(_DEFAULTS, name) for name in _recipe_names() if name not in own})


def _add_machine(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--precision", choices=("32-true", "bf16-mixed", "16-mixed"), default=_DEFAULTS.precision)
    group.add_argument("--device", "--accelerator", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    add_process_options(group, "auto, ddp or ddp_find_unused_parameters_true, see docs/scale.md")
    group.add_argument("--threads", type=int, help="torch's threads on the CPU (default: torch's choice)")
    group.add_argument("--resume", action="store_true", help="go on after the last complete epoch in --out")
    group.add_argument("--overwrite", action="store_true", help="replace an earlier training in --out")


def _recipe_names() -> list[str]:
    return list(TrainingSettings.__dataclass_fields__)


def run(args: argparse.Namespace) -> int:
    """Train as the arguments say and print the results.

    Returns
    -------
    int
        0.

    Raises
    ------
    ValueError, TypeError, OSError, ImportError
        What the user got wrong, in words.
    """
    import torch

    from ..models.checkpoint import ModelConfig
    from ..training.patients import shared_patients

    _check(args)
    set_threads(args.threads)
    out = result_folder(args.out)
    placement = Placement(args.devices, args.num_nodes, args.strategy)
    check_launcher(args.devices, args.num_nodes)
    placement.batch_of_each(args.batch_size)
    if importlib.util.find_spec("lightning") is None:
        raise ImportError("training needs Lightning: pip install 'quantus-vit[train]'")
    sources = _data_sets(args)
    task, class_names = sources["Train"].task, sources["Train"].class_names
    if args.monitor is None:
        args.monitor = "auroc" if task == "multilabel" else "accuracy"
    settings = TrainingSettings(**{name: getattr(args, name) for name in _recipe_names()})
    torch.manual_seed(settings.seed)
    config = ModelConfig(
        architecture=args.model,
        model_kwargs=parse_items("--model-kwargs", args.model_kwargs, _RESERVED_FOR_MODELS),
        class_names=class_names,
        preprocessing=_preprocessing(args),
        task=task,
        training={"data": args.data, "weights": args.weights},
    )
    model = _start(config, args.weights)
    splits = _labelled(args, sources, config.preprocessing, settings)
    if _is_first(placement):
        sizes = ", ".join(f"{name} {len(split)}" for name, split in splits.items())
        print(f"{args.model} from {args.weights} weights on {args.data} ({task}): {sizes} images", flush=True)
        for warning in shared_patients(sources):
            print(f"warning: {warning}", flush=True)
    # Here, not above: Lightning takes seconds to import and is an optional dependency.
    from ..training.fit import fit

    results = fit(
        model, config, splits, settings, out, args.device, _workers(args), args.resume, args.overwrite, placement
    )
    for name, evaluation in results.items():
        print(f"\n{evaluation.to_table(name)}")
    if results:
        print(f"\nwrote {out / 'model.safetensors'}")
    return 0


def _is_first(placement: Placement) -> bool:
    """Whether this process is the one that speaks; Lightning, torchrun and SLURM tell by the environment."""
    if placement.count == 1:
        return True
    from lightning.fabric.utilities.rank_zero import rank_zero_only

    return bool(rank_zero_only.rank == 0)


def _preprocessing(args: argparse.Namespace) -> Preprocessing:
    """The model's own mean, standard deviation and interpolation, at the size and in the way that the user asks for."""
    from ..models.timm import preprocessing_of_name

    return replace(
        preprocessing_of_name(args.model),
        size=(args.image_size, args.image_size),
        resize=args.resize,
        crop_fraction=1.0,
        fill=0.0,
    )


def _check(args: argparse.Namespace) -> None:
    """Refuse bad values before the first image is read."""
    import torch

    least = {"image_size": 1, "phantom_train": 1, "phantom_val": 1, "phantom_test": 1, "workers": 0}
    for name, smallest in least.items():
        value = getattr(args, name)
        if value is not None and value < smallest:
            raise ValueError(f"--{name.replace('_', '-')} must be at least {smallest}, got {value}")
    if args.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: torch sees no CUDA device; take --device cpu or auto")
    if args.device == "mps" and not torch.backends.mps.is_available():
        raise ValueError("--device mps: torch sees no Apple GPU; take --device cpu or auto")


def _workers(args: argparse.Namespace) -> int:
    import torch

    if args.workers is not None:
        return int(args.workers)
    # On a CPU, worker processes would compete with training for the same cores.
    uses_cpu = args.device == "cpu" or (args.device == "auto" and not torch.cuda.is_available())
    return 0 if uses_cpu else min(8, os.cpu_count() or 1)


def _data_sets(args: argparse.Namespace) -> dict[str, XrayDataset]:
    """Open the three splits; a missing one shows now and not after hours of training."""
    from ..data import open_data

    options = parse_items("--data-options", args.data_options, _RESERVED_FOR_DATA)
    counts = {"Train": args.phantom_train, "Val": args.phantom_val, "Test": args.phantom_test}
    sources = {}
    for split, count in counts.items():
        phantom = drawn_options(args.data, count=count, seed=args.seed, image_size=args.image_size)
        sources[split] = open_data(args.data, split=split, **{**phantom, **options})
    first = sources["Train"]
    for split, source in sources.items():
        if (source.task, source.class_names) != (first.task, first.class_names):
            raise ValueError(
                f"the splits differ: 'Train' is {first.task} with {', '.join(first.class_names)}, {split!r} is "
                f"{source.task} with {', '.join(source.class_names)}"
            )
    return sources


def _labelled(
    args: argparse.Namespace,
    sources: dict[str, XrayDataset],
    preprocessing: Preprocessing,
    settings: TrainingSettings,
) -> dict[str, LabelledImages]:
    """The splits as training reads them; only what is trained on is augmented."""
    from ..training.transforms import LabelledImages

    cached = is_drawn(args.data) if args.cache is None else args.cache
    return {
        name: LabelledImages(
            source,
            preprocessing,
            seed=settings.seed if settings.augment and name == "Train" else None,
            cached=cached,
            description=f"reading {name}",
        )
        for name, source in sources.items()
    }


def _start(config: ModelConfig, weights: str) -> nn.Module:
    """Build the model with its starting weights."""
    from ..models.architecture import check_takes_images
    from ..models.checkpoint import build_model
    from ..models.weights import load_weights

    model = build_model(config, pretrained=weights == "pretrained")
    check_takes_images(model, config.preprocessing)
    if weights not in ("pretrained", "none"):
        load_weights(model, weights)
    return model
