"""``quantus-vit explain``: image files -> pictures with the maps of one or more methods."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ..comparison.explaining import MethodCall
    from ..models import Classifier

__all__ = ["add_arguments", "run"]

_SUFFIX = ".png"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``explain``."""
    parser.description = "Explain images and write each, with the map laid over it, as a picture."
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="X-rays: PNG, JPEG, TIFF, BMP or DICOM")
    parser.add_argument(
        "--pixel-range", nargs=2, type=float, metavar=("BLACK", "WHITE"),
        help="stored values of black and white, where the files do not say (default: as docs/data.md describes)",
    )  # fmt: skip
    parser.add_argument(
        "--model", "--checkpoint", required=True, metavar="SPEC",
        help="model.safetensors of 'quantus-vit train', timm:NAME@FILE, hf:FOLDER, FILE.py:NAME or another source of "
        "models (docs/own_model.md)",
    )  # fmt: skip
    parser.add_argument(
        "--method", nargs="+", default=["TransformerLRP"], metavar="NAME",
        help="any of quantus_vit.available_methods(), or of 'compare'; options in brackets, such as "
        "'LimeCXR[segments=100]' (default: TransformerLRP)",
    )  # fmt: skip
    parser.add_argument(
        "--target", metavar="CLASS", help="name or index of the explained class (default: the most likely one)"
    )
    parser.add_argument("--lime-samples", type=int, default=1000, metavar="N", help="perturbed images of LimeCXR")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of LimeCXR and Random")
    parser.add_argument(
        "--out", required=True, metavar="FILE|DIR",
        help="picture to write for one image and one method, .png or another format of matplotlib's; else a folder",
    )  # fmt: skip
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads of torch (default: torch's own)")


def run(args: argparse.Namespace) -> int:
    """Run ``explain``.

    Raises
    ------
    ValueError, TypeError, OSError, ImportError
        For what the user can put right; the message says how.
    """
    from ..comparison.explaining import method_calls
    from ..comparison.protocol import ExplainOptions
    from ..data.images import check_pixel_range, read_grey
    from ..models import load_model
    from .device import choose_device, set_threads

    if args.lime_samples < 2:
        raise ValueError(f"--lime-samples must be at least 2, got {args.lime_samples}")
    if args.seed < 0:
        raise ValueError(f"--seed must not be negative, got {args.seed}")
    check_pixel_range(args.pixel_range)
    set_threads(args.threads)
    device = choose_device(args.device)
    options = ExplainOptions(lime_samples=args.lime_samples, lime_seed=args.seed, seed=args.seed)
    calls = method_calls(args.method, options)
    files = _output_files(args.out, args.images, calls)
    classifier = load_model(args.model, device)
    calls = method_calls(args.method, options, classifier)
    target = None if args.target is None else _class_index(args.target, classifier.class_names)
    Path(files[0][0]).parent.mkdir(parents=True, exist_ok=True)
    for path, outputs in zip(args.images, files, strict=True):
        grey = read_grey(path, tuple(args.pixel_range) if args.pixel_range else None)
        _explain_image(path, grey, outputs, calls, classifier, target, device, args.seed)
    return 0


def _explain_image(
    path: str,
    grey: npt.NDArray[np.float32],
    outputs: Sequence[Path],
    calls: Sequence[MethodCall],
    classifier: Classifier,
    target: int | None,
    device: str,
    seed: int,
) -> None:
    """Write a picture for each method and say what the model predicts."""
    from ..comparison.explaining import ExplainedImage
    from ..comparison.figures import draw_overlay
    from ..comparison.prediction import NOTHING, named_predictions, probabilities_of
    from ..comparison.protocol import image_seed

    image = classifier.preprocessing.image(grey)
    probabilities = probabilities_of(classifier, image, device)
    names = classifier.class_names
    likeliest = max(range(len(names)), key=probabilities.__getitem__)
    explained = likeliest if target is None else target
    predicted = named_predictions(classifier, probabilities)
    listed = ", ".join(f"{name} (p = {value:.2f})" for name, value in predicted.items())
    verdict = f"predicted {listed or NOTHING}"
    shown = ExplainedImage(image, explained, (seed, image_seed(Path(path).as_posix())))
    for call, out in zip(calls, outputs, strict=True):
        relevance = call.explain(classifier, shown, device)
        subject = f"{call.label} for {names[explained]} (p = {probabilities[explained]:.2f})"
        seen = classifier.preprocessing.grey(image).numpy()
        draw_overlay(seen, relevance[0], f"{_printable(Path(path).name)}: {verdict}", subject).savefig(out, dpi=150)
        print(f"{verdict}; {subject}: {out}")


def _printable(name: str) -> str:
    return name.encode("utf-8", errors="backslashreplace").decode("utf-8")


def _output_files(out: str, images: Sequence[str], calls: Sequence[MethodCall]) -> list[list[Path]]:
    """Where each image's pictures go, one for each method; refused before the work where they cannot be written."""
    from matplotlib.backend_bases import FigureCanvasBase

    if not out.strip():
        raise ValueError("--out is empty; name a picture or a folder")
    path, formats = Path(out), FigureCanvasBase.get_supported_filetypes()
    is_picture = path.suffix.lower().lstrip(".") in formats and not path.is_dir()
    if is_picture and len(images) * len(calls) > 1:
        raise ValueError(
            f"--out {out!r} is one picture, but the images ({len(images)}) and methods ({len(calls)}) need "
            f"{len(images) * len(calls)}; name a folder"
        )
    if is_picture and not path.parent.is_dir():
        raise FileNotFoundError(f"no folder {str(path.parent)!r} to write {path.name!r} into")
    if is_picture:
        return [[path]]
    if path.is_file() or (path.suffix and not path.is_dir()):
        raise ValueError(f"--out must be a folder, or end with one of .{', .'.join(sorted(formats))}, got {out!r}")
    stems = _distinct([_plain(Path(image).stem) for image in images])
    return [[path / f"{stem}-{_plain(call.label)}{_SUFFIX}" for call in calls] for stem in stems]


def _plain(name: str) -> str:
    """A name that every file system takes."""
    return re.sub(r"[^\w.-]+", "_", _printable(name)).strip("_.") or "image"


def _distinct(names: Sequence[str]) -> list[str]:
    """The names, with a number behind those that come again."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return result


def _class_index(text: str, class_names: tuple[str, ...]) -> int:
    for index, name in enumerate(class_names):
        if text.casefold() == name.casefold() or text == str(index):
            return index
    listed = ", ".join(f"{index} {name}" for index, name in enumerate(class_names))
    raise ValueError(f"unknown target {text!r}; the model's classes are {listed}")
