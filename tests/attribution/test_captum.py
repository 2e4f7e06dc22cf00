"""The methods as Captum's tools use them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from quantus_vit.attribution import AttentionRollout, AttnLRP, GenericAttention, TransformerLRP

from .families import BY_NAME, images, make

captum_attr = pytest.importorskip("captum.attr")
captum_metrics = pytest.importorskip("captum.metrics")

METHODS = [TransformerLRP, AttnLRP, GenericAttention, AttentionRollout]


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return make(BY_NAME["vit"])


@pytest.fixture
def x() -> Tensor:
    return images(BY_NAME["vit"])


class Shifted(nn.Module):
    """A model whose forward takes more than the images."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, shift: Tensor, sign: int = 1) -> Tensor:
        return self.model(x + sign * shift[:, None, None, None])  # type: ignore[no-any-return]


@pytest.mark.parametrize("method", METHODS)
def test_is_an_attribution(model: nn.Module, method: Any) -> None:
    explainer = method(model)
    assert isinstance(explainer, captum_attr.Attribution)
    assert explainer.forward_func is model
    assert not explainer.has_convergence_delta()


@pytest.mark.parametrize("method", METHODS)
def test_a_tuple_is_answered_by_a_tuple(model: nn.Module, x: Tensor, method: Any) -> None:
    explainer = method(model)
    found = explainer.attribute((x,), target=1)
    assert isinstance(found, tuple)
    assert len(found) == 1
    assert torch.equal(found[0], explainer.attribute(x, target=1))
    with pytest.raises(TypeError, match="one tensor"):
        explainer.attribute((x, x), target=1)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("forward_args", [(torch.tensor([0.5, -0.5]), -1), torch.tensor([0.5, -0.5])])
def test_additional_forward_args_reach_the_model(model: nn.Module, x: Tensor, method: Any, forward_args: Any) -> None:
    shift, sign = forward_args if isinstance(forward_args, tuple) else (forward_args, 1)
    found = method(Shifted(model)).attribute(x, target=1, additional_forward_args=forward_args)
    moved = x + sign * shift[:, None, None, None]
    wanted = method(model).attribute(moved, target=1)
    if method is AttnLRP:  # relevance of x + shift is shared between the two in proportion
        wanted = wanted * x / moved
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-5 * float(wanted.abs().max()))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("target", [1, [1, 3]])
def test_noise_tunnel(model: nn.Module, x: Tensor, method: Any, target: Any) -> None:
    """SmoothGrad by Captum is the mean of the maps of the noisy images that it drew."""
    explainer = method(model)
    tunnel = captum_attr.NoiseTunnel(explainer)
    torch.manual_seed(0)
    found = tunnel.attribute(x, nt_type="smoothgrad", nt_samples=3, stdevs=0.2, target=target)
    torch.manual_seed(0)
    noisy = x.repeat_interleave(3, 0) + torch.normal(0, torch.full((6, *x.shape[1:]), 0.2))
    targets = torch.as_tensor(target).expand(2).repeat_interleave(3)
    wanted = torch.stack([explainer.attribute(one[None], int(t))[0] for one, t in zip(noisy, targets, strict=True)])
    wanted = wanted.view(2, 3, *wanted.shape[1:]).mean(1)
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max()))
    assert not torch.is_inference_mode_enabled()


@pytest.mark.parametrize("method", METHODS)
def test_sensitivity_max(model: nn.Module, x: Tensor, method: Any) -> None:
    explainer = method(model)
    still = captum_metrics.sensitivity_max(explainer.attribute, x, lambda y: y, target=1, n_perturb_samples=2)
    moved = captum_metrics.sensitivity_max(explainer.attribute, x, perturb_radius=0.3, target=1, n_perturb_samples=2)
    assert still.shape == moved.shape == (2,)
    assert (still < 1e-3).all()
    assert (moved > 10 * still).all()


@pytest.mark.parametrize("method", METHODS)
def test_infidelity(model: nn.Module, x: Tensor, method: Any) -> None:
    """Captum wants maps of the input's shape; the perturbation of one patch is the only one it draws here."""
    maps = method(model).attribute(x, target=1).expand_as(x)
    step = torch.zeros_like(x)
    step[:, :, :8, :8] = 0.5

    def perturb(inputs: Tensor) -> tuple[Tensor, Tensor]:
        moved = step[:1].expand_as(inputs)
        return moved, inputs - moved

    found = captum_metrics.infidelity(model, perturb, x, maps, target=1, n_perturb_samples=1)
    with torch.no_grad():
        change = (model(x) - model(x - step))[:, 1]
    wanted = ((step * maps).flatten(1).sum(1) - change) ** 2
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_visualization(model: nn.Module, x: Tensor, method: Any) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from captum.attr import visualization
    from matplotlib import pyplot

    maps = method(model).attribute(x, target=1)
    drawn = maps[0].permute(1, 2, 0).numpy()
    figure, axes = visualization.visualize_image_attr(
        drawn, np.zeros((*drawn.shape[:2], 3)), method="heat_map", sign="absolute_value", use_pyplot=False
    )
    shown = axes.images[0].get_array()
    assert shown.shape == drawn.shape[:2]
    wanted = np.abs(drawn.sum(2))
    assert np.corrcoef(np.asarray(shown).ravel(), wanted.ravel())[0, 1] > 0.9
    pyplot.close(figure)
