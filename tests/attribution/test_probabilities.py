"""Models that end in softmax or a sigmoid: what is explained is a probability, which is told, or refused."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, fx, nn

from quantus_vit import (
    AttentionRollout,
    AttnLRP,
    BeyondIntuition,
    GenericAttention,
    GradCAM,
    LeGrad,
    PositionalLRP,
    TokenTM,
    TransformerLRP,
)

from .families import BY_NAME, make

OF_CLASSES = [TransformerLRP, GenericAttention, TokenTM, LeGrad, BeyondIntuition, GradCAM]
TOLD = "the model ends in {}: what is explained is a probability"


class Ending(nn.Module):
    """A model with a function of its logits at the end."""

    def __init__(self, inner: nn.Module, function: Any) -> None:
        super().__init__()
        self.inner, self.function = inner, function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.inner(x))  # type: ignore[no-any-return]


def vit() -> nn.Module:
    return make(BY_NAME["vit"]).double()


def images(size: int = 2) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(size, 3, *BY_NAME["vit"].size, dtype=torch.float64)


@pytest.mark.parametrize("name", ["softmax", "sigmoid"])
@pytest.mark.parametrize("method", OF_CLASSES)
def test_attention_methods_tell_of_probabilities(method: Any, name: str) -> None:
    explain = method(Ending(vit(), {"softmax": nn.Softmax(-1), "sigmoid": torch.sigmoid}[name]))
    with pytest.warns(UserWarning, match=TOLD.format(name)) as told:
        explain.attribute(images(), 1)
    assert len(told) == 1


@pytest.mark.parametrize("method", [*OF_CLASSES, AttnLRP, AttentionRollout])
def test_log_probabilities_are_refused(method: Any) -> None:
    with pytest.raises(TypeError, match=r"log_softmax has no relevance rule \(at the end of the model, remove it"):
        method(Ending(vit(), nn.LogSoftmax(-1))).attribute(images(), 1)


def test_probabilities_in_another_type_are_told_too() -> None:
    with pytest.warns(UserWarning, match=TOLD.format("softmax")):
        GenericAttention(Ending(vit(), lambda y: y.softmax(1).float())).attribute(images(), 1)


@pytest.mark.parametrize("method", [AttnLRP, PositionalLRP])
def test_rules_that_stop_at_softmax_refuse_it(method: Any) -> None:
    with pytest.raises(ValueError, match=r"ends in softmax.*remove the softmax"):
        method(Ending(vit(), nn.Softmax(-1))).attribute(images(), 1)


@pytest.mark.parametrize("method", [*OF_CLASSES, AttnLRP])
@pytest.mark.parametrize("function", [lambda y: y, lambda y: y * y.sigmoid()])
def test_logits_are_not_told_of(method: Any, function: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        method(Ending(vit(), function)).attribute(images(), 1)


@pytest.mark.parametrize("pool", ["token", "avg"])
@pytest.mark.parametrize("factor", [1.0, 30.0])
def test_a_rollout_is_the_same_for_probabilities(pool: str, factor: float) -> None:
    """It needs no class, but the tokens that the model reads; the sum of probabilities, always 1, depends on none."""
    torch.manual_seed(0)
    model = VisionTransformer(
        img_size=32, patch_size=8, embed_dim=24, num_heads=2, depth=2, num_classes=2, global_pool=pool
    )
    model = model.double().eval()
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    wanted = AttentionRollout(model).attribute(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = AttentionRollout(Ending(model, lambda y: (y * factor).softmax(1))).attribute(x)
    torch.testing.assert_close(found, wanted)


def averaging() -> nn.Module:
    torch.manual_seed(0)
    model = VisionTransformer(
        img_size=32,
        patch_size=8,
        embed_dim=24,
        num_heads=2,
        depth=2,
        num_classes=2,
        global_pool="avg",
        class_token=False,
    )
    return model.double().eval()


@pytest.mark.parametrize(
    "method",
    [
        TokenTM,
        LeGrad,
        partial(TransformerLRP, variant="last_layer_attn"),
        partial(BeyondIntuition, mode="token"),
        partial(BeyondIntuition, mode="head"),
    ],
)
def test_maps_whose_tokens_cannot_be_told_are_refused(method: Any) -> None:
    """A softmax of large logits is exactly 0 and 1: its gradient is 0, and the first token was taken for the one read.

    Of two images the second alone is saturated.
    """
    factor = torch.tensor([[1.0], [1e6]], dtype=torch.float64)
    model = Ending(averaging(), lambda y: (y * factor).softmax(1))
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match=r"exactly 0 for image 1 of the batch.*let the model return logits"):
            method(model).attribute(x, 1)


@pytest.mark.parametrize("pool", ["token", "avg"])
@pytest.mark.parametrize("end", [lambda y: (y * 1e6).softmax(1), lambda y: (y * 1e6).sigmoid()])
def test_a_rollout_of_a_saturated_model_reads_what_the_model_reads(pool: str, end: Any) -> None:
    """No gradient is left: which tokens the logits depend on is asked of the graph."""
    model = vit() if pool == "token" else averaging()
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = AttentionRollout(Ending(model, end)).attribute(x)
    torch.testing.assert_close(found, AttentionRollout(model).attribute(x))


def test_a_rollout_of_a_model_without_an_answer_is_refused() -> None:
    with pytest.raises(ValueError, match=r"exactly 0 for image 0 of the batch.*let the model return logits"):
        AttentionRollout(Ending(averaging(), lambda y: y * 0)).attribute(images())


@pytest.mark.parametrize("pool", ["token", "avg"])
def test_a_rollout_needs_no_trained_head(pool: str) -> None:
    """torchvision's ViT starts with a head of zeros."""
    model = vit() if pool == "token" else averaging()
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    wanted = AttentionRollout(model).attribute(x)
    nn.init.zeros_(model.head.weight)  # type: ignore[arg-type, union-attr]
    torch.testing.assert_close(AttentionRollout(model).attribute(x), wanted)


@pytest.mark.parametrize("method", [GenericAttention, TransformerLRP])
def test_saturated_probabilities_have_no_map(method: Any) -> None:
    with pytest.warns(UserWarning, match=TOLD.format("softmax")):
        found = method(Ending(averaging(), lambda y: (y * 1e6).softmax(1))).attribute(images(), 1)
    assert not found.any()


def test_scores_of_tokens_read_what_the_model_reads() -> None:
    """The sum of all probabilities depends on no token, so the class's tokens must be asked for otherwise."""
    model = Ending(averaging(), nn.Softmax(1))
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    with pytest.warns(UserWarning, match=TOLD.format("softmax")):
        found, wanted = (LeGrad(model, pool=pool).attribute(x, 1) for pool in ("cls", "mean"))
    torch.testing.assert_close(found, wanted)


def test_position_relevance_refuses_graph_modules() -> None:
    """Their attention runs in no module, and its projections were taken for ordinary linear layers."""
    model = vit()
    with pytest.raises(ValueError, match=r"outside any of its modules \(as in torch.fx graph modules\)"):
        PositionalLRP(fx.symbolic_trace(model)).attribute(images(), 1)
    torch.testing.assert_close(
        AttnLRP(fx.symbolic_trace(model)).attribute(images(), 1), AttnLRP(model).attribute(images(), 1)
    )
