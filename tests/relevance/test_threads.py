"""Two traces at once: each thread gets the maps that it would get alone."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from quantus_vit import (
    AttentionRollout,
    AttnLRP,
    GenericAttention,
    LibraGrad,
    PositionalLRP,
    TokenOcclusion,
    TransformerLRP,
)


def vit(seed: int) -> Any:
    torch.manual_seed(seed)
    model = VisionTransformer(img_size=32, patch_size=8, embed_dim=24, num_heads=2, depth=2, num_classes=4)
    return model.double().eval()


@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize(
    "method",
    [AttentionRollout, AttnLRP, GenericAttention, LibraGrad, PositionalLRP, TokenOcclusion, TransformerLRP],
)
def test_maps_of_two_threads_are_those_of_one(method: Any, same: bool) -> None:
    """All forwards of the two overlap: each waits for the other's in the middle of the model."""
    models = [vit(0)] * 2 if same else [vit(0), vit(1)]
    models[0].set_grad_checkpointing(True)  # what is suspended while a trace runs belongs to the process
    models[0].norm.register_full_backward_hook(lambda _module, below, _above: tuple(g * 0 for g in below))
    images = [torch.randn(2, 3, 32, 32, dtype=torch.float64) for _ in models]
    wanted = [method(model).attribute(x, 1) for model, x in zip(models, images, strict=True)]
    barrier = threading.Barrier(2, timeout=60)

    def meet(*_: Any) -> None:
        barrier.wait()

    handles = [model.blocks[0].register_forward_hook(meet) for model in {*models}]
    found: dict[int, Tensor] = {}

    def explain(number: int) -> None:
        try:
            found[number] = method(models[number]).attribute(images[number], 1)
        except BaseException:
            barrier.abort()  # lest the other waits
            raise

    threads = [threading.Thread(target=explain, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [0, 1]
    for number in range(2):
        torch.testing.assert_close(found[number], wanted[number])
    for handle in handles:
        handle.remove()
    fired: list[int] = []
    models[0].norm.register_full_backward_hook(lambda *_: fired.append(1))
    models[0](images[0]).sum().backward()  # what was suspended works as before
    assert fired == [1]
