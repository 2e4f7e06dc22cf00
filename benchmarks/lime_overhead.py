"""What LimeCXR costs beyond the model: a run with N samples against N bare forwards of ready-made images.

    OMP_NUM_THREADS=1 python benchmarks/lime_overhead.py [--model vit_small_patch16_224] [--samples 500] [--repeats 5]

The fixed part first: `explain_instance` with a model that answers at once (superpixels, composing, fit; all classes),
against the bare forwards, timed on at most four batches and scaled up: a small difference of two large, noisy times is
measured badly, its parts are measured well.

Then, unless --repeats is 0, the two as wholes: both sides classify the same images in the same batches under inference
mode; they alternate, and the median of the paired ratios of CPU time (wall time on other devices) is printed."""

from __future__ import annotations

import argparse
import statistics
import warnings

import timm
import torch
from measuring import timed

from quantus_vit.data import Phantom
from quantus_vit.lime import LimeCXR, cxr_segments
from quantus_vit.lime.neighbourhood import Neighbourhood, compose


class AtOnce(torch.nn.Module):
    """Logits from one pixel: a classifier that costs nothing."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, :1, 100, 100:103].flatten(1)


def report_parts(model: torch.nn.Module, image: torch.Tensor, ready: torch.Tensor, samples: int, batch: int) -> None:
    """Time beyond the model, from a model that costs nothing, as a share of the forwards."""
    device = image.device
    lime = LimeCXR(AtOnce(), samples, batch_size=batch)
    beyond = [timed(lambda: lime.explain_instance(image), device) for _ in range(6)][1:]
    batches = ready.split(batch)[:4]
    with torch.inference_mode():
        model(batches[0])
        forwards = [timed(lambda part=part: model(part), device) / len(part) for part in batches]
    superpixels = statistics.median(timed(lambda: cxr_segments(image.cpu().numpy()), device) for _ in range(5))
    bare, rest = statistics.median(forwards) * samples, statistics.median(beyond)
    print(f"bare forwards {bare:.2f} s; beyond the model {rest * 1e3:.0f} ms, {rest / bare:.2%} of them")
    print(f"of it superpixels {superpixels * 1e3:.0f} ms, {superpixels / bare:.2%}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="vit_small_patch16_224")
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    device = torch.device(arguments.device)
    model = timm.create_model(arguments.model, num_classes=3).eval().to(device)
    image = Phantom(1, image_size=model.patch_embed.img_size[0])[0]["image"].to(device)
    lime = LimeCXR(model, arguments.samples, batch_size=arguments.batch_size)
    explanation = LimeCXR(AtOnce(), arguments.samples, batch_size=arguments.batch_size).explain_instance(image)
    segments, masks = torch.from_numpy(explanation.segments).to(device), torch.from_numpy(explanation.masks)
    ready = compose(image, image * 0, segments, masks.to(device))

    print(f"{arguments.model}, {arguments.samples} samples, batch {arguments.batch_size}, {device}")
    report_parts(model, image, ready, arguments.samples, arguments.batch_size)
    if not arguments.repeats:
        return

    def forwards() -> None:
        with torch.inference_mode():
            outputs = [model(part) for part in ready.split(arguments.batch_size)]
            torch.cat(outputs).cpu()

    neighbourhood = Neighbourhood(model, image, image * 0, segments, arguments.batch_size)
    sides = {
        "explain_instance, all classes": lambda: lime.explain_instance(image),
        "of it: compose + forwards + softmax": lambda: neighbourhood.answers(masks),
    }
    ratios: dict[str, list[float]] = {name: [] for name in sides}
    bare = []
    for _ in range(arguments.repeats):
        for name, action in sides.items():
            bare.append(timed(forwards, device))
            ratios[name].append(timed(action, device) / bare[-1])
    for name, values in ratios.items():
        low, high = min(values), max(values)
        print(f"{name:38} {statistics.median(values):.4f} of the bare forwards (from {low:.4f} to {high:.4f})")


if __name__ == "__main__":
    main()
