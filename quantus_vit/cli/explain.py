"""``quantus-vit explain``: one image file -> one picture with its map."""

from __future__ import annotations

import argparse
from importlib.metadata import version
from pathlib import Path

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``explain``."""
    parser.description = "Explain one image and write it, with the map laid over it, as a picture."
    parser.add_argument("image", metavar="IMAGE", help="image file that Pillow reads")
    parser.add_argument("--checkpoint", required=True, metavar="FILE", help="model.safetensors of 'quantus-vit train'")
    parser.add_argument(
        "--method",
        default="TransformerLRP",
        metavar="NAME",
        help="any of quantus_vit.available_methods(), or of 'compare'",
    )
    parser.add_argument(
        "--target", metavar="CLASS", help="name or index of the explained class (default: the predicted one)"
    )
    parser.add_argument("--lime-samples", type=int, default=1000, metavar="N", help="perturbed images of LimeCXR")
    parser.add_argument("--seed", type=int, default=0, help="of LimeCXR and Random")
    parser.add_argument(
        "--out", required=True, metavar="FILE", help="picture to write, .png or another format of matplotlib's"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")


def run(args: argparse.Namespace) -> int:
    """Run ``explain``.

    Raises
    ------
    ValueError, TypeError, FileNotFoundError, ImportError
        For what the user can put right; the message says how.
    """
    import torch

    from ..comparison.explanations import check_methods, explain_image
    from ..comparison.figures import draw_overlay
    from ..comparison.protocol import Protocol, file_digest
    from ..comparison.resources import choose_device, load_model
    from ..data.conventions import normalize_image
    from ..data.covid_qu_ex import read_gray

    out = _checked_output(Path(args.out))
    device = choose_device(args.device)
    digest = file_digest(args.checkpoint)
    model, config = load_model(Path(args.checkpoint), device)
    check_methods((args.method,))
    gray = torch.from_numpy(read_gray(args.image, config.image_size)).float() / 255.0
    image = normalize_image(gray)
    with torch.no_grad():
        probabilities = model(image[None].to(device)).softmax(dim=1)[0].cpu()
    predicted = int(probabilities.argmax())
    target = predicted if args.target is None else _class_index(args.target, config.class_names)
    protocol = Protocol(
        data=str(args.image),
        checkpoint=str(args.checkpoint),
        checkpoint_digest=digest,
        image_size=config.image_size,
        features_in_step=1,
        quantus=version("quantus"),
        samples=1,
        sample_seed=args.seed,
        methods=(args.method,),
        lime_samples=args.lime_samples,
        lime_seed=args.seed,
    )
    relevance = explain_image(model, image, target, args.method, protocol, str(args.image), device)
    verdict = f"predicted {config.class_names[predicted]} (p = {float(probabilities[predicted]):.2f})"
    explained = f"{args.method} for {config.class_names[target]} (p = {float(probabilities[target]):.2f})"
    figure = draw_overlay(gray.numpy(), relevance[0], f"{Path(args.image).name}: {verdict}", explained)
    figure.savefig(out, dpi=150)
    print(f"{verdict}; {explained}: {out}")
    return 0


def _checked_output(path: Path) -> Path:
    """Refuse a picture that could not be written, before the work."""
    from matplotlib.backend_bases import FigureCanvasBase

    formats = FigureCanvasBase.get_supported_filetypes()
    if path.suffix.lower().lstrip(".") not in formats:
        raise ValueError(f"--out must end with one of .{', .'.join(sorted(formats))}, got {str(path)!r}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"no folder {str(path.parent)!r} to write {path.name!r} into")
    return path


def _class_index(text: str, class_names: tuple[str, ...]) -> int:
    for index, name in enumerate(class_names):
        if text.lower() == name.lower() or text == str(index):
            return index
    listed = ", ".join(f"{index} {name}" for index, name in enumerate(class_names))
    raise ValueError(f"unknown target {text!r}; the model's classes are {listed}")
