"""Targets and further arguments of the model, for batches that are explained in parts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from quantus_vit import AttentionRollout, AttnLRP, PositionalLRP, TransformerLRP


@pytest.fixture
def vit() -> nn.Module:
    torch.manual_seed(0)
    options: dict[str, Any] = {"img_size": 16, "patch_size": 8, "embed_dim": 12, "num_heads": 2, "num_classes": 4}
    return VisionTransformer(depth=2, **options).eval()


def images(count: int) -> Tensor:
    return torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("method", [TransformerLRP, AttnLRP, AttentionRollout])
@pytest.mark.parametrize("wrong", [-1, 4, 99])
def test_a_target_out_of_range_is_told_after_one_forward(vit: nn.Module, method: Any, wrong: int) -> None:
    forwards: list[int] = []
    handle = vit.norm.register_forward_hook(lambda *_: forwards.append(1))  # type: ignore[union-attr]
    with pytest.raises(ValueError, match=f"target {wrong} is out of range: the model has 4 classes, 0 to 3"):
        method(vit).attribute(images(6), [0, 1, 2, 3, 0, wrong], internal_batch_size=2)
    handle.remove()
    assert len(forwards) == 1


def test_the_order_of_parts_does_not_show(vit: nn.Module) -> None:
    targets = [0, 1, 2, 0, 3, 0, 1]
    wanted = torch.cat([AttnLRP(vit).attribute(images(7)[i : i + 1], k) for i, k in enumerate(targets)])
    torch.testing.assert_close(AttnLRP(vit).attribute(images(7), targets, internal_batch_size=2), wanted)


class Extra(nn.Module):
    """Takes shifts in a dict and scales in a list, one an image, beside a table of 3 rows that is none."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, options: dict[str, Any], scales: list[Any]) -> Tensor:
        scale, power = scales
        shift = options["nested"]["shift"]
        return self.model(
            (x + shift[:, None, None, None]) * scale[:, None, None, None] ** power * options["table"].sum()
        )


@pytest.mark.parametrize("method_class", [AttnLRP, PositionalLRP])
def test_tensors_inside_dicts_and_lists_go_along_with_their_images(vit: nn.Module, method_class: Any) -> None:
    shift, scale, table = torch.arange(5.0), torch.arange(1.0, 6.0), torch.full((3,), 0.5)
    model = Extra(vit)

    def explain(part: slice, size: int) -> Tensor:
        further = ({"nested": {"shift": shift[part]}, "table": table}, [scale[part], 2])
        method = method_class(model)
        return method.attribute(images(5)[part], 1, additional_forward_args=further, internal_batch_size=size)

    wanted = torch.cat([explain(slice(i, i + 1), 1) for i in range(5)])
    torch.testing.assert_close(explain(slice(0, 5), 2), wanted)
