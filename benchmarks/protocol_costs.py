"""What a case costs under each protocol: images that go through the model, counted by the comparison's own probe.

    python benchmarks/protocol_costs.py [--protocols quick paper fair meta] [--cases 2]

Runs the first cases of each protocol on phantoms with a tiny random ViT of 14 x 14 tokens at 224 pixels, so that
numbers of steps, patches and superpixels are those of a ViT-B/16, and prints a table. Passes by gradients count as the
one forward that they begin with; what their walks cost besides is in RESULTS.md. Counts hang on the metrics' settings
and on superpixels, not on the model's width.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch

from quantus_vit.comparison.expected import probed
from quantus_vit.comparison.folder import prepare
from quantus_vit.comparison.planning import make_plan, protocol_for
from quantus_vit.comparison.protocols import PROTOCOLS
from quantus_vit.comparison.runner import ComparisonRun
from quantus_vit.data import CLASS_NAMES, open_data
from quantus_vit.data.preprocessing import Preprocessing
from quantus_vit.models import load_model
from quantus_vit.models.checkpoint import ModelConfig, build_model, save_checkpoint

SIZE = (224, 224)
TINY = {"embed_dim": 24, "depth": 2, "num_heads": 2}


def tiny_model(folder: Path) -> str:
    torch.manual_seed(0)
    config = ModelConfig("vit_tiny_patch16_224", TINY, preprocessing=Preprocessing(size=SIZE), class_names=CLASS_NAMES)
    return str(save_checkpoint(folder / "model.safetensors", build_model(config), config))


def count(name: str, cases: int, folder: Path) -> tuple[int, int, int, float]:
    """Methods, metrics, images through the model a case, and bytes of maps a case."""
    classifier = load_model(tiny_model(folder))
    dataset = open_data("phantom", "Test", count=60, image_size=SIZE[0])
    protocol = protocol_for(name, classifier, dataset, samples=cases)
    plan, _, _ = make_plan(protocol, classifier, dataset, "cpu")
    place = folder / name
    place.mkdir()
    run = ComparisonRun(plan, prepare(place, protocol, {}))
    with probed(classifier.module) as probe:
        run.run(quiet=True)
    stored = sum(file.stat().st_size for file in place.rglob("*.npz"))
    return len(plan.methods), len(plan.scorers), probe.images // len(plan.cases), stored / len(plan.cases)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--protocols", nargs="+", default=["quick", "paper", "fair", "meta"])
    parser.add_argument("--cases", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print("| protocol | methods | rows of metrics | images through the model a case | kB of maps a case |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name in args.protocols:
            methods, metrics, images, stored = count(name, args.cases, Path(folder))
            version_ = PROTOCOLS[name].version
            print(f"| {name} {version_} | {methods} | {metrics} | {images} | {stored / 1000:.0f} |", flush=True)


if __name__ == "__main__":
    main()
