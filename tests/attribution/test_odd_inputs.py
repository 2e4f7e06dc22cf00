"""Inputs and models in states that users bring about without meaning to: right, or refused by name."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import Tensor, nn

from quantus_vit import (
    AttentionRollout,
    AttnLRP,
    GenericAttention,
    LibraGrad,
    PositionalLRP,
    TokenOcclusion,
    TransformerLRP,
)
from quantus_vit.relevance import attn_lrp
from quantus_vit.relevance.rules import Epsilon

METHODS = [TransformerLRP, AttnLRP, AttentionRollout, GenericAttention, LibraGrad, TokenOcclusion]


class Wrapped(nn.Module):
    """A model with something in front of it, or between its tokens and its head."""

    def __init__(self, model: nn.Module, before: nn.Module | None = None, behind: nn.Module | None = None) -> None:
        super().__init__()
        self.model, self.before, self.behind = model, before or nn.Identity(), behind or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.model.forward_head(self.behind(self.model.forward_features(self.before(x))))


class StochasticDepth(nn.Module):
    """As timm's and torchvision's."""

    def forward(self, x: Tensor) -> Tensor:
        return x * x.new_empty(len(x), 1, 1).bernoulli_(0.5) if self.training else x


def torchvision_vit() -> nn.Module:
    return torchvision.models.VisionTransformer(32, 8, 2, 2, 24, 48, num_classes=4, attention_dropout=0.5)


IN_TRAINING: dict[str, Callable[[nn.Module], nn.Module]] = {
    "dropout": lambda vit: Wrapped(vit, behind=nn.Dropout(0.5)),
    "batch normalisation": lambda vit: Wrapped(vit, before=nn.BatchNorm2d(3)),
    "random numbers": lambda vit: Wrapped(vit, behind=StochasticDepth()),
    "attention dropout": lambda vit: torchvision_vit(),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", IN_TRAINING)
def test_what_training_mode_changes_is_refused(vit: nn.Module, batch: Tensor, name: str, method: type) -> None:
    model = IN_TRAINING[name](copy.deepcopy(vit)).train()
    before = {key: value.clone() for key, value in model.named_buffers() if value.is_floating_point()}
    with pytest.raises(ValueError, match=rf"{name.split()[-1]}.*model\.eval\(\)"):
        method(model).attribute(batch, 1)
    assert all(torch.equal(model.get_buffer(key), value) for key, value in before.items())
    method(model.eval()).attribute(batch[:1], 1)


@pytest.mark.parametrize("method", METHODS)
def test_a_model_in_training_mode_that_nothing_changes_is_served(vit: nn.Module, batch: Tensor, method: type) -> None:
    expected = method(vit).attribute(batch[:1], 1)
    assert torch.equal(method(copy.deepcopy(vit).train()).attribute(batch[:1], 1), expected)


class StandardisedWeights(nn.Module):
    """A convolution as in timm's hybrids, which standardise its weights by a batch normalisation in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 3, 1, 1, generator=torch.Generator().manual_seed(0)))

    def forward(self, x: Tensor) -> Tensor:
        weight = nn.functional.batch_norm(self.weight.reshape(1, 3, -1), None, None, training=True)
        return nn.functional.conv2d(x, weight.reshape_as(self.weight))


@pytest.mark.parametrize("method", METHODS)
def test_standardised_weights_are_no_training_mode(vit: nn.Module, batch: Tensor, method: type) -> None:
    assert method(Wrapped(vit, before=StandardisedWeights()).eval()).attribute(batch[:1], 1).isfinite().all()


class OwnTensor(Tensor):
    """A subclass that changes nothing, as image libraries have."""


@pytest.mark.parametrize("method", METHODS)
def test_subclasses_of_tensors_are_explained_as_tensors(vit: nn.Module, batch: Tensor, method: type) -> None:
    maps = method(vit).attribute(batch[:1].as_subclass(OwnTensor), 1)
    assert type(maps) is Tensor
    assert torch.equal(maps, method(vit).attribute(batch[:1], 1))


@pytest.mark.parametrize("again", [copy.deepcopy, lambda method: pickle.loads(pickle.dumps(method))])
@pytest.mark.parametrize("method", [*METHODS, PositionalLRP])
def test_methods_can_be_copied_and_pickled(vit: nn.Module, batch: Tensor, method: type, again: Callable) -> None:
    explainer = method(vit)
    assert torch.equal(again(explainer).attribute(batch[:1], 1), explainer.attribute(batch[:1], 1))


def test_a_composites_copy_is_equal_to_it() -> None:
    composite = attn_lrp().using(linear=Epsilon()).where("blocks.0.*", linear=Epsilon(1e-3))
    assert pickle.loads(pickle.dumps(composite)) == composite
    assert copy.deepcopy(composite) == composite


@pytest.mark.parametrize("method", METHODS)
def test_the_meta_device_is_refused(vit: nn.Module, batch: Tensor, method: type) -> None:
    with pytest.raises(ValueError, match="meta device"):
        method(copy.deepcopy(vit).to("meta")).attribute(batch.to("meta"), 1)


@pytest.mark.parametrize("method", METHODS)
def test_another_type_than_the_models_is_told(vit: nn.Module, batch: Tensor, method: type) -> None:
    with pytest.raises(TypeError, match=r"inputs are torch.float64 and the model's parameters torch.float32"):
        method(vit).attribute(batch.double(), 1)


def test_parameters_made_under_inference_mode_are_named(vit: nn.Module, batch: Tensor) -> None:
    with torch.inference_mode():
        model = copy.deepcopy(vit)
    with pytest.raises(ValueError, match=r"the model's parameters .* were made under torch\.inference_mode"):
        GenericAttention(model).attribute(batch, 1)


def test_maps_out_of_half_precisions_range_are_refused(vit: nn.Module, batch: Tensor) -> None:
    """PositionalLRP's factors x / (x + 1e-9) are 0 / 0 in float16, where tokens hold a 0."""
    model = copy.deepcopy(vit).half()
    for parameter in (model.patch_embed.proj.bias, model.pos_embed):
        nn.init.zeros_(parameter)
    for run in (PositionalLRP(model).attribute, PositionalLRP(model).attribute_parts):
        with pytest.raises(ValueError, match=r"maps are not finite.*\.float\(\)"):
            run(torch.zeros_like(batch).half(), 1)
