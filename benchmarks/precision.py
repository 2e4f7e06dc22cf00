"""How exact are the maps in lower precision, and what does it bring?

    python benchmarks/precision.py [--checkpoint FILE] [--images 6] [--batch 32] [--device cuda] [--methods NAME ...]

Each method explains phantoms with the shipped model (or X-rays in COVID-QU-Ex's layout, --data, with a model of yours);
the reference are its maps in float64. Per precision, and for noise of 1e-4 in the pixels: the largest error of a map,
as a share of the map's largest value, and the cosine similarity with the reference, worst and median over the images;
and images per second at the batch (--batch 0 leaves them out). TransformerLRP with a stabilizer is moreover compared
with the exact method."""

from __future__ import annotations

import argparse
import copy
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from xrays import pictures

from quantus_vit import AttentionRollout, AttnLRP, GenericAttention, TransformerLRP
from quantus_vit.assets import phantom_checkpoint_path
from quantus_vit.attribution.base import AttributionMethod
from quantus_vit.models.checkpoint import load_checkpoint

STABILIZER, NOISE = 0.01, 1e-4
STABILISED = f"TransformerLRP, stabilizer {STABILIZER}"
METHODS: dict[str, Callable[[nn.Module], AttributionMethod]] = {
    "TransformerLRP": TransformerLRP,
    STABILISED: partial(TransformerLRP, stabilizer=STABILIZER),
    "AttnLRP": AttnLRP,
    "GenericAttention": GenericAttention,
    "AttentionRollout": AttentionRollout,
}
Explain = Callable[[Callable[[nn.Module], AttributionMethod], Tensor], Tensor]


def precisions(model: nn.Module, device: torch.device) -> dict[str, Explain]:
    """Name -> (method, images) -> maps."""

    def cast(dtype: torch.dtype) -> Explain:
        changed = copy.deepcopy(model).to(dtype)
        return lambda method, x: method(changed).attribute(x.to(dtype), 0)

    def autocast(dtype: torch.dtype) -> Explain:
        def explain(method: Callable[[nn.Module], AttributionMethod], x: Tensor) -> Tensor:
            with torch.autocast(device.type, dtype):
                return method(model).attribute(x, 0)

        return explain

    exact = cast(torch.float64)
    noise = f"float64, noise of {NOISE:g}"
    found = {"float64": exact, noise: lambda method, x: exact(method, with_noise(x)), "float32": cast(torch.float32)}
    if device.type == "cuda":
        found["TF32"] = with_tf32(found["float32"])
    found["autocast bfloat16"] = autocast(torch.bfloat16)
    found["autocast float16"] = autocast(torch.float16)
    found["bfloat16"], found["float16"] = cast(torch.bfloat16), cast(torch.float16)
    return found


def with_noise(x: Tensor) -> Tensor:
    return x + NOISE * torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).to(x)


def with_tf32(explain: Explain) -> Explain:
    def explain_in_tf32(method: Callable[[nn.Module], AttributionMethod], x: Tensor) -> Tensor:
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
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.backends.cudnn.allow_tf32 = False
    device = torch.device(arguments.device)
    model, config = load_checkpoint(arguments.checkpoint)
    model = model.to(device).eval()
    found = pictures(arguments.data, arguments.images, seed=3, size=config.image_size)
    x = torch.stack(list(found.values())).to(device)
    many = x.repeat(-(-arguments.batch // len(x)), 1, 1, 1)[: arguments.batch] if arguments.batch else x[:0]
    print(f"{config.architecture}, {len(x)} images, speed at batch {len(many)}, {device}, torch {torch.__version__}")
    print("| method | precision | error, worst | median | cosine, worst | median | images/s |")
    print("|---|---|---|---|---|---|---|")
    ways = precisions(model, device)
    for name in arguments.methods:
        reference = ways["float64"](METHODS[name], x)
        if name == STABILISED:
            report(name, "float64, against the exact method", reference, ways["float64"](METHODS["TransformerLRP"], x))
        for way, explain in ways.items():
            action = partial(explain, METHODS[name], many)
            speed = f"{images_per_second(action, len(many), device):.0f}" if len(many) else ""
            report(name, way, explain(METHODS[name], x), reference, speed)


def report(method: str, way: str, maps: Tensor, reference: Tensor, speed: str = "") -> None:
    """Print a row of the table."""
    worst, cosine = errors(maps, reference)
    cells = [f"{worst.max():.1e}", f"{worst.median():.1e}", f"{cosine.min():.5f}", f"{cosine.median():.5f}", speed]
    print(f"| {method} | {way} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
