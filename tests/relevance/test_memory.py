"""What a trace keeps and gives back: recomputed tensors, segments, images at once. The messages must not tell."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from quantus_vit import AttentionRollout, AttnLRP, GenericAttention, TransformerLRP
from quantus_vit.relevance import TraceOptions, attn_lrp, trace, transformer_lrp
from quantus_vit.relevance.segments import cuts
from quantus_vit.relevance.state import Attention

D = torch.float64
METHODS = (TransformerLRP, AttnLRP, GenericAttention, AttentionRollout)


@pytest.fixture
def vit() -> nn.Module:
    torch.manual_seed(0)
    options: dict[str, Any] = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "num_heads": 2, "num_classes": 4}
    return VisionTransformer(depth=3, **options).double().eval()


def images(count: int = 5) -> Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(1), dtype=D)


def seeds(logits: Tensor) -> list[Tensor]:
    return [torch.zeros_like(logits).index_fill_(1, torch.tensor([k]), 1.0) for k in (0, 2)]


def test_a_walk_gives_what_separate_passes_give(vit: nn.Module) -> None:
    whole = trace(vit, images(), TraceOptions(transformer_lrp(), start="attention"))
    wanted: list[list[tuple[Tensor, Tensor]]] = []
    for seed in seeds(whole.logits):
        whole.gradient(seed)
        whole.relevance(seed, keep=True)
        wanted.append([(layer.gradient, layer.relevance) for layer in whole.attentions])  # type: ignore[misc]

    walked = trace(vit, images(), TraceOptions(transformer_lrp(), start="attention"))
    found: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    def on_attention(number: int, layer: Attention) -> None:
        assert layer.gradient is not None
        assert layer.relevance is not None
        found[number, layer.index] = (layer.gradient, layer.relevance)

    walked.walk(seeds(walked.logits), on_attention, gradients=True)
    assert len(found) == 2 * 3
    for (number, index), pair in found.items():
        torch.testing.assert_close(pair, wanted[number][index], rtol=1e-12, atol=1e-15)
    with pytest.raises(RuntimeError, match="released"):
        walked.walk(seeds(walked.logits))


def test_a_walk_to_the_input_gives_what_one_pass_gives(vit: nn.Module) -> None:
    for composite in (transformer_lrp(), attn_lrp()):
        walked = trace(vit, images(), TraceOptions(composite))
        found = [message for (message,) in walked.walk(seeds(walked.logits))]
        whole = trace(vit, images(), TraceOptions(composite))
        for message, seed in zip(found, seeds(whole.logits), strict=True):
            torch.testing.assert_close(message, whole.relevance(seed, keep=True)[0], rtol=1e-12, atol=1e-15)


def test_cuts_are_what_no_path_avoids() -> None:
    """Against the definition: without the cut tensor's node nothing leads from the output to the start."""
    x = torch.randn(3, requires_grad=True)
    a = x * 2
    b = a + a.exp()
    c = b.sin() + b
    left, right = c.cos(), c.exp()
    d = left * right
    candidates = [a, b, c, left, right, d]
    output = (d + 1).sum()

    def avoidable(tensor: Tensor) -> bool:
        stack: list[Any] = [output.grad_fn]
        while stack:
            node = stack.pop()
            if node is tensor.grad_fn:
                continue
            if type(node).__name__ == "AccumulateGrad":
                return True
            stack += [child for child, _ in node.next_functions if child is not None]
        return False

    found = cuts(output, candidates)
    assert [id(tensor) for tensor in found] == [id(tensor) for tensor in (d, c, b, a)]
    assert [avoidable(tensor) for tensor in candidates] == [False, False, False, True, True, False]


def test_a_skip_over_everything_leaves_no_cut() -> None:
    x = torch.randn(3, requires_grad=True)
    y = x.exp()
    assert cuts((y.sin() + x).sum(), [y]) == []


def kept_bytes(traced: Any) -> int:
    """Bytes of all distinct storages that the graph keeps, the model's parameters aside."""
    storages: dict[int, int] = {}
    seen, stack = set(), [traced._output.grad_fn]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        saved = node.saved_tensors if hasattr(node, "operation") else ()
        storages |= {x.untyped_storage().data_ptr(): x.untyped_storage().nbytes() for x in saved}
        stack += [child for child, _ in node.next_functions if child is not None]
    return sum(storages.values())


def test_less_is_kept_than_for_a_report(vit: nn.Module) -> None:
    """A report needs every input and output; the methods' own passes compute some again, and skip what nobody reads."""
    everything = kept_bytes(trace(vit, images(), TraceOptions(transformer_lrp(), start="attention", locate=True)))
    assert kept_bytes(trace(vit, images(), TraceOptions(transformer_lrp(), start="attention"))) < 0.7 * everything
    both = kept_bytes(trace(vit, images(), TraceOptions(attn_lrp())))
    assert kept_bytes(trace(vit, images(), TraceOptions(attn_lrp(), gradients=False))) < both


def test_gradients_that_were_declined_are_refused(vit: nn.Module) -> None:
    traced = trace(vit, images(), TraceOptions(attn_lrp(), gradients=False))
    with pytest.raises(RuntimeError, match=r"make it with TraceOptions\(gradients=True\)"):
        traced.gradient(torch.ones_like(traced.logits))
    with pytest.raises(RuntimeError, match=r"make it with TraceOptions\(gradients=True\)"):
        traced.walk([torch.ones_like(traced.logits)], gradients=True)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("at_once", [1, 2, 5, 100])
def test_images_at_once_change_nothing(vit: nn.Module, method: Any, at_once: int) -> None:
    targets = [0, 1, 2, 3, 0]
    wanted = torch.cat([method(vit).attribute(images()[i : i + 1], targets[i]) for i in range(5)])
    torch.testing.assert_close(method(vit).attribute(images(), targets, internal_batch_size=at_once), wanted)
    predicted = method(vit).attribute(images(), internal_batch_size=at_once)
    torch.testing.assert_close(predicted, method(vit).attribute(images(), vit(images()).argmax(1)))


@pytest.mark.parametrize("method", [TransformerLRP, AttnLRP])
def test_all_targets_with_fewer_images_at_once(vit: nn.Module, method: Any) -> None:
    together = method(vit).attribute_all_targets(images(), internal_batch_size=2)
    assert together.shape[:2] == (5, 4)
    for k in range(4):
        torch.testing.assert_close(together[:, k], method(vit).attribute(images(), k))


class Shifted(nn.Module):
    """A classifier with two further arguments: one entry for each image, and one number for all."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, shift: Tensor, scale: float) -> Tensor:
        return self.model((x + shift[:, None, None, None]) * scale)


def test_further_arguments_go_along_with_their_images(vit: nn.Module) -> None:
    shift = torch.arange(5, dtype=D)
    model = Shifted(vit)
    found = AttnLRP(model).attribute(images(), 1, additional_forward_args=(shift, 0.5), internal_batch_size=2)
    for i in range(5):
        alone = AttnLRP(model).attribute(images()[i : i + 1], 1, additional_forward_args=(shift[i : i + 1], 0.5))
        torch.testing.assert_close(found[i : i + 1], alone)


@pytest.mark.parametrize("number", [0, -1, 2.0, True])
def test_nonsense_numbers_of_images_are_refused(vit: nn.Module, number: Any) -> None:
    with pytest.raises(ValueError, match="internal_batch_size must be a positive integer or None, not"):
        TransformerLRP(vit).attribute(images(), 0, internal_batch_size=number)


def test_a_trace_frees_its_tensors_without_the_garbage_collector(vit: nn.Module) -> None:
    def alive() -> int:
        return sum(type(x) is Tensor for x in gc.get_objects())

    TransformerLRP(vit).attribute(images(), 0)
    gc.collect()
    gc.disable()
    try:
        before = alive()
        for method in METHODS:
            method(vit).attribute(images(), 0)
        assert alive() == before
    finally:
        gc.enable()
