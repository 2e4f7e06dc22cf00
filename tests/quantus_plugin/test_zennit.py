"""The zennit route: an attributor, and what becomes of `method` there."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from quantus_vit import attribution
from quantus_vit.quantus_plugin import compat

zennit_attribution = pytest.importorskip("zennit.attribution")
pytestmark = pytest.mark.filterwarnings("ignore:Using quantus 'explain'")

from quantus_vit.zennit_plugin import TransformerLRPAttributor  # noqa: E402


def test_the_attributor_gives_the_method(plain, batch, explain):
    x, y, _ = batch
    expected = explain(plain, x, y, method="TransformerLRP")
    maps = explain(plain, x, y, xai_lib="zennit", attributor=TransformerLRPAttributor)
    assert maps.shape == (3, 1, 16, 16)
    np.testing.assert_allclose(maps, expected, rtol=1e-5)
    # What evaluate() adds does not change the route.
    again = explain(plain, x, y, xai_lib="zennit", attributor=TransformerLRPAttributor, method="my name for it")
    np.testing.assert_allclose(again, expected, rtol=1e-5)


def test_options_of_the_attributor(plain, batch, explain):
    x, y, _ = batch
    maps = explain(
        plain, x, y, xai_lib="zennit", attributor=TransformerLRPAttributor, attributor_kwargs={"interpolate": None}
    )
    assert maps.shape == (3, 1, 4, 4)


def test_by_hand_as_in_zennit(plain, batch):
    x, y = torch.as_tensor(batch[0]), torch.as_tensor(batch[1])
    expected = attribution.TransformerLRP(plain).attribute(x, target=y)
    with TransformerLRPAttributor(plain) as attributor:
        output, relevance = attributor(x, 2 * torch.eye(3)[y])
    torch.testing.assert_close(output, plain(x))
    torch.testing.assert_close(relevance, 2 * expected)
    function = TransformerLRPAttributor(plain, attr_output=lambda logits: torch.eye(3)[logits.argmax(1)])
    torch.testing.assert_close(function(x)[1], attribution.TransformerLRP(plain).attribute(x))


def test_what_the_attributor_refuses(plain, batch):
    from zennit.composites import EpsilonPlus

    x = torch.as_tensor(batch[0])
    with pytest.raises(ValueError, match="takes no composite"):
        TransformerLRPAttributor(plain, composite=EpsilonPlus())
    with pytest.raises(ValueError, match="one class per image"):
        TransformerLRPAttributor(plain)(x)
    with pytest.raises(ValueError, match="one class per image"):
        TransformerLRPAttributor(plain)(x, torch.zeros(3, 3))


def test_quantus_own_attributors_are_untouched(plain, batch, explain):
    x, y, _ = batch
    maps = explain(plain, x, y, xai_lib="zennit", attributor=zennit_attribution.Gradient)
    inputs = torch.as_tensor(x).requires_grad_()
    (gradient,) = torch.autograd.grad(plain(inputs).gather(1, torch.as_tensor(y)[:, None]).sum(), inputs)
    np.testing.assert_allclose(maps, gradient.sum(1, keepdim=True).numpy(), rtol=1e-4, atol=1e-6)


def test_a_name_that_quantus_would_ignore(plain, batch, explain):
    x, y, _ = batch
    gradient = explain(plain, x, y, xai_lib="zennit", method="Gradient")
    if compat.installed("captum"):
        with pytest.warns(UserWarning, match="ignores method='Saliency'"):
            maps = explain(plain, x, y, xai_lib="zennit", method="Saliency")
        np.testing.assert_array_equal(maps, gradient)
    else:
        with pytest.raises(ValueError, match=r"ignores method='Saliency'.*TransformerLRP"):
            explain(plain, x, y, method="Saliency")


def test_our_names_do_not_give_the_plain_gradient(plain, batch, explain):
    x, y, _ = batch
    expected = attribution.TransformerLRP(plain).attribute(torch.as_tensor(x), target=torch.as_tensor(y))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        maps = explain(plain, x, y, xai_lib="zennit", method="TransformerLRP")
    np.testing.assert_allclose(maps, expected.numpy(), rtol=1e-4, atol=1e-6)
