"""Several models in one: a product over attention layers holds for layers that follow one another."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from quantus_vit import AttentionRollout, AttnLRP, GenericAttention, LeGrad, PositionalLRP, TokenTM, TransformerLRP

from .families import BY_NAME, make

ROLLOUTS = [TransformerLRP, GenericAttention, AttentionRollout, TokenTM, LeGrad]


class Ensemble(nn.Module):
    """The mean of two models' logits."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = make(BY_NAME["vit"]), make(BY_NAME["vit"])
        with torch.no_grad():
            for parameter in self.second.parameters():
                parameter.mul_(1.1)

    def forward(self, x: Tensor) -> Tensor:
        return (self.first(x) + self.second(x)) / 2


class Gated(Ensemble):
    """One model's logits, weighed by the other."""

    def forward(self, x: Tensor) -> Tensor:
        return self.first(x) * self.second(x).sigmoid()


class Mirrored(nn.Module):
    """One model on the image and on its mirror image, which is made before."""

    def __init__(self) -> None:
        super().__init__()
        self.model = make(BY_NAME["vit"])

    def forward(self, x: Tensor) -> Tensor:
        mirrored = x.flip(-1)
        return self.model(x) + self.model(mirrored)


class Idle(Ensemble):
    """A model beside another whose logits nobody reads."""

    def __init__(self, first: bool) -> None:
        super().__init__()
        self.idle_first = first

    def forward(self, x: Tensor) -> Tensor:
        if self.idle_first:
            self.first(x)
        logits = self.second(x)
        if not self.idle_first:
            self.first(x)
        return logits


@pytest.mark.parametrize("method", ROLLOUTS)
@pytest.mark.parametrize("several", [Ensemble, Gated, Mirrored])
def test_rollouts_refuse_several_models_in_one(several: type, method: type, batch: Tensor) -> None:
    with pytest.raises(ValueError, match=r"several in one|no attention with a residual connection"):
        method(several().eval()).attribute(batch, 1)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("method", ROLLOUTS)
def test_beside_a_model_that_nobody_reads_right_or_refused(method: type, first: bool, batch: Tensor) -> None:
    model = Idle(first).eval()
    try:
        maps = method(model).attribute(batch, 1)
    except ValueError:
        return
    assert torch.allclose(maps, method(model.second).attribute(batch, 1), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("explain", [PositionalLRP, lambda model: AttnLRP(model, positions=True)])
@pytest.mark.parametrize("several", [Ensemble, lambda: Idle(True)])
def test_positions_of_one_model_are_not_taken_for_all(several: type, explain: type, batch: Tensor) -> None:
    with pytest.raises(ValueError, match="does not read the tokens to which"):
        explain(several().eval()).attribute(batch, 1)


def test_lrp_serves_the_sum_of_models(batch: Tensor) -> None:
    """Epsilon rules without absorption of their own are linear in the logits: relevance of a mean is the mean."""
    model = Ensemble().double().eval()
    rules = {"conv_gamma": 0, "linear_gamma": 0}
    found = AttnLRP(model, **rules).attribute(batch.double(), 1)
    parts = [AttnLRP(part, **rules).attribute(batch.double(), 1) for part in (model.first, model.second)]
    assert torch.allclose(found, sum(parts) / 2, rtol=1e-6, atol=1e-12)


def test_layers_that_share_a_module_follow_one_another(batch: Tensor) -> None:
    model = copy.deepcopy(make(BY_NAME["vit"]))
    model.blocks = nn.Sequential(*[model.blocks[0]] * 3)
    apart = copy.deepcopy(model)
    apart.blocks = nn.Sequential(*[copy.deepcopy(model.blocks[0]) for _ in range(3)])
    for method in (TransformerLRP, GenericAttention, AttentionRollout):
        assert torch.equal(method(model).attribute(batch, 1), method(apart).attribute(batch, 1))
