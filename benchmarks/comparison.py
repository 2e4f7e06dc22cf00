"""What a comparison costs beyond its work: the whole of it against its bare forwards and bare maps.

    OMP_NUM_THREADS=1 python benchmarks/comparison.py [--samples 30] [--model SPEC] [--data SPEC] [--protocol quick]

The comparison is run as ``quantus-vit compare`` runs it (reading, prediction, maps, metrics, tables, figures, report).
The images that go through the model without gradient are counted by a hook; so are the maps of methods by gradient.
Its time is divided by that of as many bare forwards, at the batch that is the fastest of some, and as many bare maps
(``attribute`` on tensors). On a machine with other work a second lasts differently long from minute to minute. So the
bare side is timed *within* the run: every so often the hook stops the run's clock, and times a full batch and a map.
Seconds of CPU time, on another device of wall time; medians of the samples.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import statistics
import tempfile
import time
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from measuring import clock, timed

from quantus_vit.assets import phantom_checkpoint_path
from quantus_vit.comparison import pipeline, runner
from quantus_vit.comparison.planning import protocol_for
from quantus_vit.comparison.protocol import Protocol
from quantus_vit.data import XrayDataset, open_data
from quantus_vit.models import Classifier, load_model
from quantus_vit.quantus_plugin.registry import METHODS as EXPLAINERS

BATCHES = {"cpu": (8, 16, 32), "cuda": (64, 128, 256)}


@dataclass
class Meter:
    """Counts what a run puts through its model, and times bare work beside it.

    ``images`` and ``calls`` are of forwards without gradient; ``stopped`` are the seconds that the run's clock stood.
    """

    module: torch.nn.Module
    batch: torch.Tensor
    methods: tuple[str, ...]
    every: int
    images: int = 0
    calls: int = 0
    sizes: dict[int, int] = field(default_factory=dict)
    stopped: float = 0.0
    forwards: list[float] = field(default_factory=list)
    maps: dict[str, list[float]] = field(default_factory=dict)
    profile: cProfile.Profile | None = None
    _busy: bool = False

    def __call__(self, module: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        if self._busy or torch.is_grad_enabled() or torch.overrides._get_current_function_mode() is not None:
            return
        self.images += len(inputs[0])
        self.calls += 1
        self.sizes[len(inputs[0])] = self.sizes.get(len(inputs[0]), 0) + 1
        if self.calls % self.every == 0:
            with self.off_the_clock():
                self.sample()

    @contextmanager
    def off_the_clock(self) -> Any:
        start, self._busy = clock(self.batch.device), True
        if self.profile:
            self.profile.disable()
        try:
            yield
        finally:
            self._busy = False
            if self.profile:
                self.profile.enable()
            self.stopped += clock(self.batch.device) - start

    def sample(self) -> None:
        """Time one batch of bare forwards, and now and then one bare map of each method."""
        with torch.inference_mode():
            self.forwards.append(timed(lambda: self.module(self.batch), self.batch.device) / len(self.batch))
        if len(self.forwards) % 4 == 1:
            for name in self.methods:
                with torch.inference_mode(False), torch.enable_grad():
                    images = self.batch[:6].clone()
                    attribute = partial(EXPLAINERS[name].load()(self.module).attribute, images, target=0)
                    seconds = timed(attribute, images.device)
                self.maps.setdefault(name, []).append(seconds / len(images))

    def bare_seconds(self, maps: dict[str, int]) -> tuple[float, float]:
        """Bare forwards and bare maps of the run."""
        forwards = statistics.median(self.forwards) * self.images
        return forwards, sum(statistics.median(self.maps[name]) * count for name, count in maps.items())


def best_batch(module: torch.nn.Module, image: torch.Tensor) -> int:
    """The batch with the fastest image, of those of the device."""
    seconds = {}
    with torch.inference_mode():
        for size in BATCHES[image.device.type]:
            batch = image.expand(size, *image.shape).contiguous()
            module(batch)
            seconds[size] = min(timed(lambda batch=batch: module(batch), image.device) for _ in range(4)) / size
    return min(seconds, key=seconds.__getitem__)


def make_protocol(arguments: argparse.Namespace, classifier: Classifier, dataset: XrayDataset) -> Protocol:
    return protocol_for(
        arguments.protocol,
        classifier,
        dataset,
        samples=arguments.samples,
        methods=tuple(arguments.methods) if arguments.methods else None,
        metrics=tuple(arguments.metrics) if arguments.metrics else None,
        lime_samples=arguments.lime_samples,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=30)
    parser.add_argument("--data", default="phantom")
    parser.add_argument("--model", default=None, help="SPEC; the shipped ViT if left out")
    parser.add_argument("--protocol", default="quick")
    parser.add_argument("--methods", nargs="+")
    parser.add_argument("--metrics", nargs="+")
    parser.add_argument("--lime-samples", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--every", type=int, default=25, help="calls of the model between two samples of bare work")
    parser.add_argument("--profile", type=int, metavar="LINES", default=0, help="print so many lines of a profile")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    device = torch.device(arguments.device)
    classifier = load_model(arguments.model or phantom_checkpoint_path(), arguments.device)
    size = max(classifier.preprocessing.size)
    options = {"count": 3000, "image_size": size} if arguments.data.startswith("phantom") else {}
    dataset = open_data(arguments.data, "Test", **options)
    protocol = make_protocol(arguments, classifier, dataset)
    image = dataset.sample(0, classifier.preprocessing).image.to(device)
    batch = best_batch(classifier.module, image)
    gradient = tuple(name for name in protocol.methods if name in EXPLAINERS and name != "LimeCXR")
    images = torch.stack([dataset.sample(i, classifier.preprocessing).image for i in range(batch)]).to(device)
    meter = Meter(classifier.module, images, gradient, arguments.every)
    meter.sample()  # the first of each is slow
    meter.forwards.clear()
    meter.maps.clear()
    warm_up(arguments, classifier, dataset)

    maps, seconds = count_maps(), Seconds(meter)
    handle = classifier.module.register_forward_pre_hook(meter)
    meter.profile = profile = cProfile.Profile(time.process_time) if arguments.profile else None
    with tempfile.TemporaryDirectory() as folder:
        start = clock(device)
        if profile:
            profile.enable()
        with seconds.of_the_run():
            pipeline.compare(Path(folder), protocol, classifier, dataset, arguments.device, quiet=True)
        if profile:
            profile.disable()
        whole = clock(device) - start - meter.stopped
    handle.remove()
    made = {name: maps.get(name, 0) for name in gradient}
    forwards, bare_maps = meter.bare_seconds(made)
    where = torch.cuda.get_device_name() if device.type == "cuda" else "CPU, one thread"
    print(f"{arguments.samples} images of {arguments.data}, protocol {arguments.protocol}, {where}, torch "
          f"{torch.__version__}, Quantus {version('quantus')}")  # fmt: skip
    common = sorted(meter.sizes.items(), key=lambda item: -item[0] * item[1])[:4]
    print(f"{meter.images} images through the model in {meter.calls} calls, most of them in batches of "
          f"{', '.join(f'{size} ({calls} calls)' for size, calls in common)}")  # fmt: skip
    print(f"bare forwards at batch {batch}: {forwards:.1f} s, {forwards / meter.images * 1e3:.2f} ms an image")
    print(f"bare maps: {bare_maps:.1f} s ({', '.join(f'{count} {name}' for name, count in made.items())})")
    bare = forwards + bare_maps
    print(f"scoring and explaining {seconds.run:.1f} s, {seconds.run / bare:.3f} of the bare work")
    print(f"the whole comparison   {whole:.1f} s, {whole / bare:.3f} of the bare work")
    if profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(arguments.profile)
        pstats.Stats(profile).sort_stats("cumtime").print_stats("quantus_vit|quantus|lime", arguments.profile)


def warm_up(arguments: argparse.Namespace, classifier: Classifier, dataset: XrayDataset) -> None:
    """A comparison of three images, so that no import is counted."""
    small = argparse.Namespace(**{**vars(arguments), "samples": 3, "lime_samples": 10})
    with tempfile.TemporaryDirectory() as folder:
        pipeline.compare(
            Path(folder), make_protocol(small, classifier, dataset), classifier, dataset, arguments.device, quiet=True
        )


def count_maps() -> dict[str, int]:
    """Counts of maps by method from now on, figures' too."""
    from quantus_vit.comparison.maps import MapStore

    counts: dict[str, int] = {}
    save = MapStore.save

    def counting(self: MapStore, identity: str, target: int, method: str, relevance: Any) -> None:
        counts[method] = counts.get(method, 0) + 1
        save(self, identity, target, method, relevance)

    MapStore.save = counting  # type: ignore[method-assign]
    return counts


class Seconds:
    """Seconds of ``ComparisonRun.run`` alone, without tables, figures and report."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.run = 0.0

    @contextmanager
    def of_the_run(self) -> Any:
        original = runner.ComparisonRun.run

        def measured(this: Any, *args: Any, **kwargs: Any) -> None:
            start, stopped = clock(self.meter.batch.device), self.meter.stopped
            original(this, *args, **kwargs)
            self.run += clock(self.meter.batch.device) - start - (self.meter.stopped - stopped)

        runner.ComparisonRun.run = measured  # type: ignore[method-assign]
        try:
            yield
        finally:
            runner.ComparisonRun.run = original  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
