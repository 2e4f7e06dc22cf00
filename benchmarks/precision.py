"""How exact are the maps in lower precision, and what does it bring?

    python benchmarks/precision.py [--checkpoint FILE] [--images 6] [--batch 32] [--device cuda] [--methods NAME ...]
    python benchmarks/precision.py --random --images 8 --batch 0 [--stabilizers 0.01 0.1 ...]

Each method explains phantoms with the shipped model (or X-rays in COVID-QU-Ex's layout, --data, with a model of yours;
or, with --random, normal noise with six small ViTs of random weights); the reference are its maps in float64. Per
precision, and for noise of 1e-4 in the pixels: the largest error of a map, as a share of the map's largest value, and
the cosine similarity with the reference, worst and median over the images; and images per second at the batch
(--batch 0 leaves them out). "bfloat16 rounded" computes in float32 with weights and pixels that bfloat16 has: what no
rule can mend. TransformerLRP with a stabilizer is moreover compared with the exact method; "input gradient" has no rule
at all and shows how far the model itself answers to noise."""

from __future__ import annotations

import argparse
import copy
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial

import timm
import torch
from torch import Tensor, nn
from xrays import pictures

from quantus_vit import AttentionRollout, AttnLRP, GenericAttention, TransformerLRP
from quantus_vit.assets import phantom_checkpoint_path
from quantus_vit.attribution.base import AttributionMethod
from quantus_vit.models.checkpoint import load_checkpoint

NOISE = 1e-4
CLASS = 0  # that is explained
Make = Callable[[nn.Module], AttributionMethod]


class InputGradient(AttributionMethod):
    """The gradient of a class's logit at the pixels, without any rule of ours."""

    def attribute(self, inputs: Tensor, target: int) -> Tensor:  # type: ignore[override]
        x = inputs.detach().requires_grad_()
        with torch.enable_grad():
            return torch.autograd.grad(self.model(x)[:, target].sum(), x)[0]


METHODS: dict[str, Make] = {
    "TransformerLRP": TransformerLRP,
    "AttnLRP": AttnLRP,
    "GenericAttention": GenericAttention,
    "AttentionRollout": AttentionRollout,
    "input gradient": InputGradient,
}
Explain = Callable[[Make, Tensor], Tensor]


def precisions(model: nn.Module, device: torch.device) -> dict[str, Explain]:
    """Name -> (method, images) -> maps."""

    def cast(dtype: torch.dtype) -> Explain:
        changed = copy.deepcopy(model).to(dtype)
        return lambda method, x: method(changed).attribute(x.to(dtype), CLASS)

    def autocast(dtype: torch.dtype) -> Explain:
        def explain(method: Make, x: Tensor) -> Tensor:
            with torch.autocast(device.type, dtype):
                return method(model).attribute(x, CLASS)

        return explain

    exact = cast(torch.float64)
    noise = f"float64, noise of {NOISE:g}"
    found = {"float64": exact, noise: lambda method, x: exact(method, with_noise(x)), "float32": cast(torch.float32)}
    if device.type == "cuda":
        found["TF32"] = with_tf32(found["float32"])
    found["autocast bfloat16"] = autocast(torch.bfloat16)
    found["autocast float16"] = autocast(torch.float16)
    found["bfloat16"], found["float16"] = cast(torch.bfloat16), cast(torch.float16)
    rounded = copy.deepcopy(model).bfloat16().float()
    found["bfloat16 rounded"] = lambda method, x: method(rounded).attribute(x.bfloat16().float(), CLASS)
    return found


def random_models(count: int = 6) -> list[nn.Module]:
    """ViTs of 2 or 4 layers and width 32 whose every weight, bias and scale is drawn: harder than trained ones."""
    models = []
    for seed in range(count):
        torch.manual_seed(seed)
        size = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": (2, 4)[seed % 2], "num_heads": 2}
        model = timm.create_model("vit_tiny_patch16_224", num_classes=5, **size)
        for name, x in model.named_parameters():
            drawn = torch.randn_like(x)
            if name.endswith("weight"):
                scaled = 1 + 0.2 * drawn if x.dim() == 1 else drawn * 1.5 / x[0].numel() ** 0.5
                x.data.copy_(scaled)
            else:
                x.data.copy_(0.3 * drawn)
        models.append(model.eval())
    return models


def with_noise(x: Tensor) -> Tensor:
    return x + NOISE * torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).to(x)


def with_tf32(explain: Explain) -> Explain:
    def explain_in_tf32(method: Make, x: Tensor) -> Tensor:
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
    parser.add_argument("--random", action="store_true", help="small models of random weights, and noise as images")
    parser.add_argument("--images", type=int, default=6, help="with --random of each model")
    parser.add_argument("--batch", type=int, default=32, help="for the speed")
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=list(METHODS))
    parser.add_argument(
        "--stabilizers", nargs="*", type=float, default=[0.1], help="of TransformerLRP, one after another"
    )
    parser.add_argument("--precisions", nargs="+", metavar="PRECISION", help="the first column's names; default: all")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.backends.cudnn.allow_tf32 = False
    device = torch.device(arguments.device)
    if arguments.random:
        x = torch.randn(arguments.images, 3, 32, 32, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
        cases = [(model, x.to(device)) for model in random_models()]
        name = f"{len(cases)} random ViTs"
    else:
        model, config = load_checkpoint(arguments.checkpoint)
        found = pictures(arguments.data, arguments.images, seed=3, size=config.image_size)
        cases, name = [(model, torch.stack(list(found.values())).to(device))], config.architecture
    print(f"{name}, {len(cases[0][1])} images, speed at batch {arguments.batch}, {device}, torch {torch.__version__}")
    print("| method | precision | error, worst | median | cosine, worst | median | images/s |")
    print("|---|---|---|---|---|---|---|")
    methods = {name: METHODS[name] for name in arguments.methods}
    for size in arguments.stabilizers:
        methods[f"TransformerLRP, stabilizer {size:g}"] = partial(TransformerLRP, stabilizer=size)
    ways = [(precisions(model.to(device).eval(), device), x) for model, x in cases]
    for name, method in methods.items():
        compare(name, method, ways, arguments.precisions, arguments.batch)


def compare(
    name: str,
    method: Make,
    cases: Sequence[tuple[dict[str, Explain], Tensor]],
    wanted: Sequence[str] | None,
    batch: int,
) -> None:
    """Print a method's rows, over the images of all models."""
    exact = [ways["float64"](method, x) for ways, x in cases]
    if "stabilizer" in name:
        unstable = [ways["float64"](TransformerLRP, x) for ways, x in cases]
        report(name, "float64, against the exact method", exact, unstable)
    for way in wanted or cases[0][0]:
        ways, x = cases[0]
        speed = ""
        if batch:
            many = x.repeat(-(-batch // len(x)), 1, 1, 1)[:batch]
            speed = f"{images_per_second(partial(ways[way], method, many), batch, x.device):.0f}"
        try:
            maps = [ways[way](method, x) for ways, x in cases]
        except ValueError as error:  # numbers left the range of float16
            print(f"| {name} | {way} | {str(error).split(':')[0]} | | | | {speed} |", flush=True)
            continue
        report(name, way, maps, exact, speed)


def report(method: str, way: str, maps: Sequence[Tensor], references: Sequence[Tensor], speed: str = "") -> None:
    """Print a row of the table."""
    found = [errors(got, wanted) for got, wanted in zip(maps, references, strict=True)]
    worst, cosine = (torch.cat(parts) for parts in zip(*found, strict=True))
    cells = [f"{worst.max():.1e}", f"{worst.median():.1e}", f"{cosine.min():.5f}", f"{cosine.median():.5f}", speed]
    print(f"| {method} | {way} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
