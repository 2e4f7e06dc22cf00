"""What `gradients_enabled` costs: time and peak memory of a prediction, as multiples of those without gradients.

    python benchmarks/gradient_wrapper.py [--model vit_tiny_patch16_224] [--batch 32]

Each setting runs in a process of its own, forked after everything was imported, so that its peak is its own. All
ratios come from the same run.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
import warnings
from typing import Any

import numpy as np
import timm
import torch

from quantus_vit import gradients_enabled
from quantus_vit.quantus_plugin import compat

SETTINGS: tuple[Any, ...] = ("bare", 1, 4, 8, 16, None)


def current_mebibytes() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


def measure(setting: Any, name: str, batch: int, repeats: int, results: Any) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=3).eval()
    wrapped = compat.pytorch_model_class()(model, channel_first=True)
    x = np.random.default_rng(0).normal(size=(batch, 3, 224, 224)).astype(np.float32)
    wrapped.predict(x[:1])  # Whatever is set up at the first call.
    before, times = current_mebibytes(), []
    for _ in range(repeats):
        start = time.process_time()
        if setting == "bare":
            scores = wrapped.predict(x)
        else:
            with gradients_enabled(chunk_size=setting):
                scores = wrapped.predict(x)
        times.append(time.process_time() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    results.put((min(times), peak - before, scores))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="vit_tiny_patch16_224", help="a model of timm for 224 x 224 pixels")
    parser.add_argument("--batch", type=int, default=32, help="images a call; Quantus' own batch size is 64")
    parser.add_argument("--repeats", type=int, default=3, help="the fastest of so many calls counts")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")

    context = multiprocessing.get_context("fork")
    rows = {}
    for setting in SETTINGS:
        results = context.SimpleQueue()
        process = context.Process(
            target=measure, args=(setting, arguments.model, arguments.batch, arguments.repeats, results)
        )
        process.start()
        rows[setting] = results.get()
        process.join()

    seconds, mebibytes, scores = rows["bare"]
    print(f"{arguments.model}, {arguments.batch} images, one thread")
    print(f"without gradients: {seconds:.2f} s of CPU, {mebibytes:.0f} MiB")
    print("chunk size | time | peak memory | largest difference of a logit")
    for setting, (time_of, memory_of, scores_of) in rows.items():
        if setting != "bare":
            label = "whole batch" if setting is None else setting
            difference = float(np.abs(scores_of - scores).max())
            print(f"{label!s:>11} | {time_of / seconds:.2f} x | {memory_of / mebibytes:.1f} x | {difference:.1e}")


if __name__ == "__main__":
    main()
