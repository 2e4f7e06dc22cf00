"""``quantus-vit explain``: images -> pictures with the maps of one or more methods, maps and a table."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..gallery import Outcome, Places

__all__ = ["add_arguments", "run"]

_DESCRIPTION = """\
Explain images by one or more methods. Into a folder go, for each image and method, the image with its map laid over it;
contact sheets of all; the maps in maps.npz; and a table, explain.csv. An image that cannot be explained is told at the
end and does not stop the others."""

_MOST_TOLD = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``explain``."""
    parser.description = _DESCRIPTION
    parser.add_argument(
        "images", nargs="+", metavar="IMAGE",
        help="files (PNG, JPEG, TIFF, BMP, DICOM; NIfTI for a model of volumes), folders of them, patterns such as "
        "'films/**/*.png', or a table FILE.csv with a column path and optionally target",
    )  # fmt: skip
    parser.add_argument(
        "--model", "--checkpoint", required=True, metavar="SPEC",
        help="model.safetensors of 'quantus-vit train', timm:NAME@FILE, hf:FOLDER, FILE.py:NAME or another source of "
        "models (docs/own_model.md)",
    )  # fmt: skip
    parser.add_argument(
        "--method", nargs="+", default=["TransformerLRP"], metavar="NAME",
        help="any of quantus_vit.available_methods(), or of 'compare'; options in brackets, such as "
        "'LimeCXR[num_segments=100]' (default: TransformerLRP)",
    )  # fmt: skip
    parser.add_argument(
        "--out", required=True, metavar="FILE|DIR",
        help="one file for one image and one method, whose end says the format; else a folder",
    )  # fmt: skip
    parser.add_argument(
        "--target", metavar="CLASS",
        help="name or index of the explained class (default: the most likely one); a table's column target wins",
    )  # fmt: skip
    parser.add_argument(
        "--pixel-range", nargs=2, type=float, metavar=("BLACK", "WHITE"),
        help="stored values of black and white, where the files do not say (default: as docs/data.md describes)",
    )  # fmt: skip
    parser.add_argument("--lime-samples", type=int, default=1000, metavar="N", help="perturbed images of LimeCXR")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of LimeCXR and Random")
    _add_files(parser.add_argument_group("files"))
    running = parser.add_argument_group("running")
    running.add_argument("--batch-size", type=int, default=8, metavar="N", help="images explained at once on a GPU")
    running.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    running.add_argument("--threads", type=int, metavar="N", help="CPU threads of torch (default: torch's own)")
    running.add_argument("--quiet", action="store_true", help="no progress bar, and no line for each file")


def _add_files(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--format", nargs="+", metavar="NAME",
        help="png, pdf, svg or jpeg (the overlay), tiff (float32 values), nifti, dicom; several write all of them "
        "(default: png; docs/explain.md)",
    )  # fmt: skip
    group.add_argument(
        "--names", choices=("auto", "file", "number"), default="auto",
        help="what files, table and messages call an image: the name of its file, or a number, as auto does for DICOM, "
        "since names of such files tend to tell the patient",
    )  # fmt: skip
    group.add_argument(
        "--dicom-map", choices=("parametric", "segmentation", "none"), default="parametric",
        help="beside the overlay in DICOM: all values as a Parametric Map, a region as a Segmentation, or nothing",
    )  # fmt: skip
    group.add_argument(
        "--threshold", type=float, default=0.5, metavar="SHARE",
        help="share of a map's largest value from which on a pixel belongs to the Segmentation",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Run ``explain``.

    Returns
    -------
    int
        0.

    Raises
    ------
    ValueError, TypeError, OSError, ImportError
        For what the user can put right; the message says how. Images that failed are told by a ValueError once all
        others are done.
    """
    from ..comparison.explaining import method_calls
    from ..comparison.protocol import ExplainOptions
    from ..data.images import check_pixel_range
    from ..gallery import FormatOptions, Gallery, Places, Settings, VolumeGallery, are_volumes, class_index, find_images
    from ..models import load_model
    from .device import choose_device, set_threads
    from .quiet import hidden_bars
    from .result_folder import check_writable, result_folder
    from .signals import sigterm_as_interrupt
    from .warning_lines import warnings_as_lines

    _check(args)
    check_pixel_range(args.pixel_range)
    set_threads(args.threads)
    device = choose_device(args.device)
    options = ExplainOptions(lime_samples=args.lime_samples, lime_seed=args.seed, seed=args.seed)
    labels = [call.label for call in method_calls(args.method, options)]
    if len(set(labels)) < len(labels):
        raise ValueError(f"--method names a method twice: {', '.join(labels)}")
    formats = FormatOptions(args.dicom_map, args.threshold)
    images = find_images(args.images, args.names)
    volumes = are_volumes(images)
    places = Places.of(args.out, args.format or (["nifti"] if volumes else None), images, labels)
    if places.is_file:
        check_writable(args.out, places.out.parent)
    else:
        result_folder(args.out)
    with hidden_bars(args.quiet):
        classifier = load_model(args.model, device)
    calls = method_calls(args.method, options, classifier)
    target = None if args.target is None else class_index(args.target, classifier.class_names)
    pixel_range = tuple(args.pixel_range) if args.pixel_range else None
    settings = Settings(target, args.seed, pixel_range, args.batch_size, formats)
    with sigterm_as_interrupt(), warnings_as_lines():
        gallery = VolumeGallery if volumes else Gallery
        outcome = gallery(classifier, calls, places, settings, device).run(images, args.quiet)
    if not args.quiet and not places.is_file:
        print(_summary(outcome, len(images), len(calls), places))
    _tell_failures(outcome, len(images))
    return 0


def _check(args: argparse.Namespace) -> None:
    """Refuse numbers out of range before anything is loaded."""
    if args.lime_samples < 2:
        raise ValueError(f"--lime-samples must be at least 2, got {args.lime_samples}")
    if args.seed < 0:
        raise ValueError(f"--seed must not be negative, got {args.seed}")
    if args.batch_size < 1:
        raise ValueError(f"--batch-size must be at least 1, got {args.batch_size}")
    if not 0 < args.threshold <= 1:
        raise ValueError(f"--threshold must be a share in (0, 1] of a map's largest value, got {args.threshold}")


def _summary(outcome: Outcome, images: int, methods: int, places: Places) -> str:
    names = ", ".join(path.name for path in outcome.files)
    counted = "one method" if methods == 1 else f"{methods} methods"
    return f"{outcome.explained} of {images} images explained by {counted}: {places.out} ({names})"


def _tell_failures(outcome: Outcome, images: int) -> None:
    """One line on the images that failed; the table has them all."""
    told = [(image.name, image.public(str(error))) for image, error in outcome.failures]
    if not told:
        return
    if images == 1 and len(told) == 1:
        raise ValueError(told[0][1]) from outcome.failures[0][1]
    names = list(dict.fromkeys(name for name, _ in told))
    shown = "; ".join(f"{name}: {message}" for name, message in told[:_MOST_TOLD])
    more = f"; and {len(told) - _MOST_TOLD} more, see explain.csv" if len(told) > _MOST_TOLD else ""
    raise ValueError(f"{len(names)} of {images} images could not be explained by every method. {shown}{more}")
