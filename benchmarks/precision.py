"""How exact are the maps in lower precision, and what does it bring?

    python benchmarks/precision.py [--checkpoint FILE] [--images 6] [--batch 32] [--device cuda]

Each method explains phantoms with the shipped model (or X-rays in COVID-QU-Ex's layout, --data, with a model of yours);
the reference are its maps in float64. Per precision: the largest error of a map, as a share of the map's largest value,
and the cosine similarity with the reference, worst and median over the images; and images per second at the batch."""

from __future__ import annotations

import argparse
import copy
import statistics
import time
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from xrays import pictures

from quantus_vit import AttentionRollout, AttnLRP, GenericAttention, TransformerLRP
from quantus_vit.assets import phantom_checkpoint_path
from quantus_vit.models.checkpoint import load_checkpoint

METHODS = (TransformerLRP, AttnLRP, GenericAttention, AttentionRollout)
Explain = Callable[[type, Tensor], Tensor]


def precisions(model: nn.Module, device: torch.device) -> dict[str, Explain]:
    """Name -> (method, images) -> maps."""

    def cast(dtype: torch.dtype) -> Explain:
        changed = copy.deepcopy(model).to(dtype)
        return lambda method, x: method(changed).attribute(x.to(dtype), 0)

    def autocast(dtype: torch.dtype) -> Explain:
        def explain(method: type, x: Tensor) -> Tensor:
            with torch.autocast(device.type, dtype):
                return method(model).attribute(x, 0)

        return explain

    found = {"float64": cast(torch.float64), "float32": cast(torch.float32)}
    if device.type == "cuda":
        found["TF32"] = with_tf32(found["float32"])
    found["autocast bfloat16"] = autocast(torch.bfloat16)
    found["autocast float16"] = autocast(torch.float16)
    found["bfloat16"], found["float16"] = cast(torch.bfloat16), cast(torch.float16)
    return found


def with_tf32(explain: Explain) -> Explain:
    def explain_in_tf32(method: type, x: Tensor) -> Tensor:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        try:
            return explain(method, x)
        finally:
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False

    return explain_in_tf32


def errors(found: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """For each image the largest error over the reference's largest value, and the cosine similarity."""
    found, wanted = found.double().flatten(1), wanted.flatten(1)
    return (found - wanted).abs().amax(1) / wanted.abs().amax(1), torch.cosine_similarity(found, wanted)


def images_per_second(action: Callable[[], Tensor], batch: int, device: torch.device, repeats: int = 5) -> float:
    seconds = []
    for _ in range(repeats + 1):  # the first warms up
        start = time.perf_counter()
        action()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    return batch / statistics.median(seconds[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default=str(phantom_checkpoint_path()))
    parser.add_argument("--data", help="folder of COVID-QU-Ex, whose Test images are used; default: phantoms")
    parser.add_argument("--images", type=int, default=6)
    parser.add_argument("--batch", type=int, default=32, help="for the speed")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.backends.cudnn.allow_tf32 = False
    device = torch.device(arguments.device)
    model, config = load_checkpoint(arguments.checkpoint)
    model = model.to(device).eval()
    found = pictures(arguments.data, arguments.images, seed=3, size=config.image_size)
    x = torch.stack(list(found.values())).to(device)
    many = x.repeat(-(-arguments.batch // len(x)), 1, 1, 1)[: arguments.batch]
    print(
        f"{config.architecture}, {len(x)} images, speed at batch {arguments.batch}, {device}, torch {torch.__version__}"
    )
    print("| method | precision | error, worst | median | cosine, worst | median | images/s |")
    print("|---|---|---|---|---|---|---|")
    for method in METHODS:
        reference = None
        for name, explain in precisions(model, device).items():
            maps = explain(method, x)
            reference = maps if reference is None else reference
            worst, cosine = errors(maps, reference)
            speed = images_per_second(lambda explain=explain, method=method: explain(method, many), len(many), device)
            cells = [f"{worst.max():.1e}", f"{worst.median():.1e}", f"{cosine.min():.5f}", f"{cosine.median():.5f}"]
            print(f"| {method.__name__} | {name} | " + " | ".join(cells) + f" | {speed:.0f} |", flush=True)


if __name__ == "__main__":
    main()
