"""Where a method's time goes, by pass and kind of operation, and the floor that its matrix products set.

    python benchmarks/breakdown.py [--model vit_tiny_patch16_224] [--batch 1] [--method TransformerLRP]

The package is not changed: the autograd function behind its operations is wrapped while this script runs, and its time
added up by pass (forward, gradient, relevance) and kind. "elsewhere" is what is left of the whole call: torch's own
routing (reshapes, transposes, sums of branches), the interception, the aggregation and the instrument itself.

The floor is the time of the matrix products alone that the passes cannot do without, on tensors of the same shapes:
for a linear layer x W, |x| |W|, the gradient's product and two of the relevance; for a product of two activations
itself and two products a pass.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from candidates import CANDIDATES, candidate, make_images, make_model, plain_forward
from measuring import times

from quantus_vit.relevance.operations.affine import Linear
from quantus_vit.relevance.operations.node import Node
from quantus_vit.relevance.operations.products import Product

PASSES = ("forward", "gradient", "relevance")


class Instrument:
    """Seconds and calls by (pass, kind), and the shapes of the matrix products, while :meth:`attached`."""

    def __init__(self) -> None:
        self.seconds: Counter[tuple[str, str]] = Counter()
        self.calls: Counter[tuple[str, str]] = Counter()
        self.products: list[tuple[str, str, tuple[int, ...], tuple[int, ...]]] = []

    @contextmanager
    def attached(self) -> Iterator[None]:
        node: Any = Node
        forward, backward = node.forward, node.backward

        def timed_forward(ctx: Any, operation: Any, *rest: Any) -> Any:
            self._note_product("forward", operation)
            return self._timed(("forward", operation.kind), lambda: forward(ctx, operation, *rest))

        def timed_backward(ctx: Any, message: Any) -> Any:
            name = "relevance" if ctx.operation.state.current.relevance else "gradient"
            self._note_product(name, ctx.operation)
            return self._timed((name, ctx.operation.kind), lambda: backward(ctx, message))

        node.forward, node.backward = staticmethod(timed_forward), staticmethod(timed_backward)
        try:
            yield
        finally:
            node.forward, node.backward = staticmethod(forward), staticmethod(backward)

    def _timed(self, key: tuple[str, str], call: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = call()
        self.seconds[key] += time.perf_counter() - start
        self.calls[key] += 1
        return result

    def _note_product(self, name: str, operation: Any) -> None:
        shapes = [tuple(shape) for shape in operation.shapes]
        if isinstance(operation, Linear):
            self.products.append((name, "linear", shapes[0], tuple(operation.weight.shape)))
        elif isinstance(operation, Product):
            self.products.append((name, "product", *shapes))


def floor(products: list[tuple[str, str, tuple[int, ...], tuple[int, ...]]], repeats: int) -> dict[str, float]:
    """Seconds of the matrix products alone, by pass."""
    seconds: dict[str, float] = dict.fromkeys(PASSES, 0.0)
    for (name, kind, left, right), count in Counter(products).items():
        a, b = torch.randn(left), torch.randn(right)
        if kind == "linear":
            message = F.linear(a, b)
            forward, backward = (lambda a=a, b=b: F.linear(a, b)), (lambda m=message, b=b: m @ b)
            calls = {"forward": [forward], "gradient": [backward], "relevance": [forward, backward, backward]}[name]
        else:
            message = a @ b
            forward = lambda a=a, b=b: a @ b  # noqa: E731
            both = [lambda m=message, b=b: m @ b.mT, lambda m=message, a=a: a.mT @ m]
            calls = [forward] if name == "forward" else both
        for call in calls:
            seconds[name] += count * statistics.median(times(call)[1] for _ in range(repeats))
    return seconds


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="vit_tiny_patch16_224")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--method", default="TransformerLRP", choices=[c.name for c in CANDIDATES if c.ours])
    parser.add_argument("--repeats", type=int, default=10, help="calls that are averaged")
    arguments = parser.parse_args(argv)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        measure(arguments)
    finally:
        torch.set_num_threads(threads)


def measure(arguments: argparse.Namespace) -> None:
    """Measure and print."""
    chosen = candidate(arguments.method)
    model = make_model(arguments.model, chosen.architecture, arguments.size)
    images = make_images(arguments.batch, arguments.size)
    forward, method = plain_forward(model, images), chosen.build(model, images)
    for _ in range(3):
        forward()
        method()
    instrument, plain, bare, whole, faults = Instrument(), [], [], [], []
    for _ in range(arguments.repeats):
        plain.append(times(forward)[1])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        bare.append(times(method)[1])
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
        with instrument.attached():
            whole.append(times(method)[1])
    report(arguments, instrument, statistics.median(plain), statistics.median(bare), statistics.mean(whole))
    per_call = instrument.products[: len(instrument.products) // arguments.repeats]
    unit = statistics.median(plain)
    least = floor(per_call, arguments.repeats) if arguments.method == "TransformerLRP" else {}
    if least:
        parts = ", ".join(f"{name} {least[name] / unit:.2f}" for name in PASSES)
        print(f"\nfloor, matrix products alone: {sum(least.values()) / unit:.2f} forwards ({parts})")
    print(f"page faults of one call: {statistics.median(faults):.0f}")


def report(arguments: argparse.Namespace, instrument: Instrument, unit: float, bare: float, whole: float) -> None:
    """Print the table; all numbers are multiples of the plain forward."""
    repeats = arguments.repeats
    print(f"{arguments.method}, {arguments.model}, batch {arguments.batch}: forward {unit * 1e3:.1f} ms, one thread")
    print(f"method {bare / unit:.2f} forwards, with the instrument {whole / unit:.2f}\n")
    print("| pass | kind | calls | forwards |\n|---|---|---|---|")
    for name in PASSES:
        kinds = [key for key, _ in instrument.seconds.most_common() if key[0] == name]
        for key in kinds:
            share = instrument.seconds[key] / repeats / unit
            print(f"| {name} | {key[1]} | {instrument.calls[key] // repeats} | {share:.2f} |")
        total = sum(instrument.seconds[key] for key in kinds) / repeats / unit
        print(f"| **{name}** | all | | **{total:.2f}** |")
    rest = whole - sum(instrument.seconds.values()) / repeats
    print(f"| elsewhere | | | {rest / unit:.2f} |")


if __name__ == "__main__":
    main()
