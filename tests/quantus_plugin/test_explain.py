"""`quantus.explain` with our names, in the installation at hand."""

from __future__ import annotations

import inspect
import warnings

import numpy as np
import pytest
import quantus
import torch

import quantus_vit
from quantus_vit import attribution
from quantus_vit.quantus_plugin import compat

from .conftest import InputTimesGradient
from .toy import ToyVolumeViT, input_times_gradient, toy_vit

MAPS = ["TransformerLRP", "AttnLRP", "AttentionRollout", "GenericAttention"]
VOLUME_METHODS = [name for name in quantus_vit.available_methods() if hasattr(attribution, name)]
needs_captum = pytest.mark.skipif(not compat.installed("captum"), reason="without Captum")


@pytest.mark.parametrize("name", MAPS)
def test_our_methods_give_float32_maps(name, plain, batch, explain):
    x, y, _ = batch
    maps = explain(plain, x, y, method=name)
    assert isinstance(maps, np.ndarray)
    assert maps.dtype == np.float32
    assert maps.shape == (3, 1, 16, 16)
    expected = getattr(attribution, name)(plain).attribute(torch.as_tensor(x), target=torch.as_tensor(y))
    np.testing.assert_allclose(maps, expected.sum(1, keepdim=True).detach().numpy(), rtol=1e-4, atol=1e-6)
    assert np.ptp(maps) > 0


@pytest.fixture
def volumes():
    """Two volumes (N, C, D, H, W), their classes, and a ViT for them."""
    torch.manual_seed(0)
    x = np.random.default_rng(0).normal(size=(2, 2, 4, 16, 16)).astype(np.float32)
    return x, [1, 2], ToyVolumeViT().eval()


@pytest.mark.parametrize("name", VOLUME_METHODS)
def test_volumes(name, volumes, explain):
    x, y, model = volumes
    options = {"BeyondIntuition": {"start_layer": 0}, "TokenShapley": {"num_samples": 1}}.get(name, {})
    maps = explain(model, x, y, method=name, xai_lib_kwargs=options)
    assert isinstance(maps, np.ndarray)
    assert maps.dtype == np.float32
    assert maps.shape == (2, 1, 4, 16, 16)
    expected = getattr(attribution, name)(model, **options).attribute(torch.as_tensor(x), target=y)
    np.testing.assert_allclose(maps, expected.sum(1, keepdim=True).detach().numpy(), rtol=1e-4, atol=1e-6)
    assert np.ptp(maps) > 0
    last = np.moveaxis(x, 1, -1)  # Quantus infers no order of five axes
    np.testing.assert_allclose(
        explain(model, last, y, method=name, xai_lib_kwargs=options, channel_first=False), maps, rtol=1e-4, atol=1e-6
    )


def test_volumes_are_reduced_as_images_are(volumes, explain):
    x, y, model = volumes
    full = explain(model, torch.as_tensor(x), y, method="AttnLRP", reduce_axes=())
    assert full.shape == x.shape
    np.testing.assert_allclose(explain(model, x, y, method="AttnLRP"), full.sum(1, keepdims=True), rtol=1e-5, atol=1e-7)
    summed = explain(model, x, y, method="AttnLRP", reduce_axes=(1, 2), keepdims=False)
    np.testing.assert_allclose(summed, full.sum((1, 2)), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="axes of a batch with 5 dimensions"):
        explain(model, x, y, method="AttnLRP", reduce_axes=(5,))


def test_limecxr_refuses_volumes_and_says_why(volumes, explain):
    pytest.importorskip("lime.lime_image")
    x, y, model = volumes
    with pytest.raises(ValueError, match=r"superpixels are parts of an image \(H, W\), so it takes no volumes"):
        explain(model, x, y, method="LimeCXR")


def test_limecxr(plain, batch, explain):
    pytest.importorskip("lime.lime_image")
    x, y, _ = batch
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # A tiny random model fits badly.
        maps = explain(plain, x[:1], y[:1], method="LimeCXR", num_samples=20)
    assert maps.shape == (1, 1, 16, 16)
    assert maps.dtype == np.float32


def test_limecxr_without_lime_says_what_to_install(plain, batch, explain):
    try:
        import lime.lime_image  # noqa: F401
    except ImportError:
        pass
    else:
        pytest.skip("lime is installed")
    with pytest.raises(ImportError, match=r"pip install 'quantus-vit\[lime\]'"):
        explain(plain, batch[0], batch[1], method="LimeCXR")
    with pytest.raises(ImportError, match=r"pip install 'quantus-vit\[lime\]'"):
        _ = quantus_vit.LimeCXR


def test_tensors_lists_and_ints_as_input(plain, batch, explain, method):
    x, y, _ = batch
    expected = explain(plain, x, y, method=method)
    np.testing.assert_allclose(
        explain(plain, torch.as_tensor(x), torch.as_tensor(y), method=method), expected, rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        explain(plain, x.astype(np.float64), list(y), method=method), expected, rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(explain(plain, x[:1], int(y[0]), method=method), expected[:1], rtol=1e-5, atol=1e-6)


def test_no_target_is_the_predicted_class(plain, batch, explain):
    x, _, _ = batch
    predicted = plain(torch.as_tensor(x)).argmax(1).numpy()
    np.testing.assert_allclose(
        explain(plain, x, None, method="TransformerLRP"),
        explain(plain, x, predicted, method="TransformerLRP"),
        rtol=1e-5,
    )


def test_channel_last(plain, batch, explain, method):
    x, y, _ = batch
    expected = explain(plain, x, y, method=method)
    last = np.moveaxis(x, 1, -1)
    np.testing.assert_allclose(explain(plain, last, y, method=method), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        explain(plain, torch.as_tensor(last), y, method=method, channel_first=False), expected, rtol=1e-5, atol=1e-6
    )


def test_reduction_follows_quantus(plain, batch, explain, method):
    x, y, _ = batch
    full = explain(plain, x, y, method=method, reduce_axes=())
    assert full.shape == x.shape
    np.testing.assert_allclose(full.sum(1, keepdims=True), explain(plain, x, y, method=method), rtol=1e-6)
    assert explain(plain, x, y, method=method, keepdims=False).shape == (3, 16, 16)
    assert explain(plain, x, y, method=method, reduce_axes=[2, 3]).shape == (3, 3, 1, 1)
    with pytest.raises(ValueError, match="batch axis"):
        explain(plain, x, y, method=method, reduce_axes=[0])
    with pytest.raises(ValueError, match="4 dimensions"):
        explain(plain, x, y, method=method, reduce_axes=[7])


def test_same_conventions_as_quantus_own_method(plain, batch, explain, method):
    if not compat.installed("captum"):
        pytest.skip("without Captum")
    x, y, _ = batch
    for options in ({}, {"reduce_axes": [1]}, {"reduce_axes": (1, 2)}):
        theirs = explain(plain, x, y, method="InputXGradient", **options)
        ours = explain(plain, x, y, method=method, **options)
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.filterwarnings("ignore")
def test_softmax_follows_quantus(batch, explain, method):
    if not compat.installed("captum") or not compat.removes_softmax():
        pytest.skip("without Captum, or in a version that ignores softmax")
    x, y, _ = batch
    model = torch.nn.Sequential(toy_vit(hooked=False), torch.nn.Softmax(dim=-1))
    for softmax in (True, False):
        theirs = explain(model, x, y, method="InputXGradient", softmax=softmax)
        np.testing.assert_allclose(explain(model, x, y, method=method, softmax=softmax), theirs, rtol=1e-4, atol=1e-6)


def test_the_model_is_explained_in_evaluation_mode_and_comes_back_in_its_own(plain, batch, explain, method):
    expected = explain(plain, batch[0], batch[1], method=method)
    plain.blocks.insert(0, torch.nn.Dropout(0.5))
    plain.train()
    plain.blocks[1].eval()
    modes = [module.training for module in plain.modules()]
    np.testing.assert_array_equal(explain(plain, batch[0], batch[1], method=method), expected)
    assert [module.training for module in plain.modules()] == modes
    with pytest.raises(TypeError):
        explain(plain, batch[0], batch[1], method=method, xai_lib_kwargs={"scael": 1})
    assert [module.training for module in plain.modules()] == modes


def test_options_reach_the_explainer(plain, batch, explain, method):
    x, y, _ = batch
    expected = 2 * explain(plain, x, y, method=method)
    np.testing.assert_allclose(explain(plain, x, y, method=method, xai_lib_kwargs={"scale": 2.0}), expected)
    np.testing.assert_allclose(explain(plain, x, y, method=method, scale=2.0), expected)
    shifted = explain(plain, x, y, method=method, scale=2.0, offset=1.0, reduce_axes=())
    np.testing.assert_allclose(shifted.sum(1, keepdims=True), expected + 3, rtol=1e-4, atol=1e-5)
    grid = explain(plain, x, y, method="TransformerLRP", interpolate=None)
    assert grid.shape == (3, 1, 4, 4)


def test_wrong_options(plain, batch, explain, method):
    x, y, _ = batch
    with pytest.raises(TypeError, match="scael"):
        explain(plain, x, y, method=method, xai_lib_kwargs={"scael": 2.0})
    with pytest.warns(UserWarning, match="no option scael") as caught:
        explain(plain, x, y, method=method, scael=2.0)
    assert __file__ in {warning.filename for warning in caught}  # the line that called, not one of ours
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message="Using quantus 'explain'")  # Quantus' own, where only zennit is.
        explain(plain, x, y, method=method, window=(1, 4, 4), n_steps=3)  # for other methods of one evaluate()
    with pytest.raises(TypeError, match=r"torch\.nn\.Module"):
        explain("model", x, y, method=method)
    with pytest.raises(ValueError, match="out of range"):
        explain(plain, x, np.array([0, 1, 3]), method="TransformerLRP")


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_inside_the_callers_grad_mode(mode, plain, batch, explain, method):
    x, y, _ = batch
    expected = explain(plain, x, y, method=method)
    with mode():
        np.testing.assert_allclose(explain(plain, x, y, method=method), expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(
            explain(plain, torch.as_tensor(x.copy()), y, method=method), expected, rtol=1e-5, atol=1e-6
        )


def test_the_users_tensor_is_left_alone(plain, batch, explain, method):
    x = torch.as_tensor(batch[0])
    explain(plain, x, batch[1], method=method)
    assert not x.requires_grad
    assert x.grad is None


def test_options_of_the_call_may_stand_among_those_of_the_class(plain, batch, explain):
    x, y, _ = batch
    expected = explain(plain, x, y, method="AttnLRP")
    options = {"internal_batch_size": 1, "conv_gamma": 0.25}
    np.testing.assert_allclose(
        explain(plain, x, y, method="AttnLRP", xai_lib_kwargs=options), expected, rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(
        explain(plain, x, y, method="AttnLRP", internal_batch_size=1), expected, rtol=1e-4, atol=1e-6
    )
    with pytest.raises(ValueError, match="internal_batch_size must be a positive integer"):
        explain(plain, x, y, method="AttnLRP", xai_lib_kwargs={"internal_batch_size": 0})


def test_arrays_take_the_models_precision(plain, batch, explain):
    x, y, _ = batch
    expected = explain(plain, x, y, method="TransformerLRP")
    found = explain(plain.double(), x, y, method="TransformerLRP")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("name", MAPS)
def test_models_in_half_precision(name, plain, batch, explain):
    x, y, _ = batch
    half = torch.as_tensor(x).bfloat16()
    direct = getattr(attribution, name)(plain.bfloat16()).attribute(half, target=torch.as_tensor(y))
    expected = direct.float().sum(1, keepdim=True).detach().numpy()
    for inputs in (x, torch.as_tensor(x), half):
        found = explain(plain, inputs, y, method=name)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_tensors_take_the_models_precision(plain, batch, explain, method):
    x, y, _ = batch
    expected = explain(plain, x, y, method=method)
    np.testing.assert_allclose(explain(plain, torch.as_tensor(x).double(), y, method=method), expected, rtol=1e-6)
    found = explain(plain.double(), torch.as_tensor(x), y, method=method)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


def test_a_map_in_half_precision_is_summed_in_single(plain, batch, explain):
    quantus_vit.register_method("Half", lambda model, inputs, targets: torch.full_like(inputs, 3e4).half())
    try:
        maps = explain(plain, batch[0], batch[1], method="Half")
    finally:
        quantus_vit.unregister_method("Half")
    np.testing.assert_allclose(maps, 9e4, rtol=1e-3)  # above the largest float16


@pytest.mark.gpu
def test_device(plain, batch, explain):
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    x, y, _ = batch
    expected = explain(plain, x, y, method="TransformerLRP")
    on_gpu = explain(plain, x, y, method="TransformerLRP", device="cuda")
    np.testing.assert_allclose(on_gpu, expected, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(explain(plain, x, y, method="TransformerLRP"), on_gpu, rtol=1e-5)  # where the model is


def test_an_earlier_import_sees_our_methods(plain, batch, method):
    # The reference was taken when this module was imported; registering again must not need a new one.
    early = quantus.explain
    quantus_vit.unregister()
    quantus_vit.register()
    assert early(plain, batch[0], batch[1], method=method).shape == (3, 1, 16, 16)


@needs_captum
def test_unknown_names_go_to_quantus(plain, batch, explain):
    with pytest.raises(KeyError):
        explain(plain, batch[0], batch[1], method="NoSuchMethod")


@needs_captum
@pytest.mark.parametrize("name", ["Saliency", "InputXGradient", "IntegratedGradients", "Gradient"])
def test_quantus_own_methods_are_untouched(name, plain, batch, explain):
    x, y, _ = batch
    with_us = explain(plain, x, y, method=name)
    quantus_vit.unregister()
    try:
        without_us = explain(plain, x, y, method=name)
    finally:
        quantus_vit.register()
    np.testing.assert_allclose(with_us, without_us, rtol=1e-5, atol=1e-6)


def test_inside_metrics(plain, batch, explain):
    x, y, _ = batch
    for metric in (
        quantus.FaithfulnessEstimate(features_in_step=32, perturb_baseline="black", disable_warnings=True),
        quantus.MaxSensitivity(nr_samples=2, disable_warnings=True),
        quantus.LocalLipschitzEstimate(nr_samples=2, disable_warnings=True),
    ):
        scores = metric(
            model=plain,
            x_batch=x.copy(),
            y_batch=y,
            a_batch=None,
            s_batch=None,
            explain_func=explain,
            explain_func_kwargs={"method": "TransformerLRP"},
        )
        assert len(scores) == 3
        assert np.isfinite(scores).all()


def test_a_metric_gets_what_a_hand_written_explain_func_gives(plain, batch, explain, method):
    x, y, _ = batch

    def score(explain_func, **kwargs):
        metric = quantus.FaithfulnessEstimate(features_in_step=32, perturb_baseline="black", disable_warnings=True)
        return metric(plain, x.copy(), y, None, None, explain_func=explain_func, explain_func_kwargs=kwargs)

    np.testing.assert_allclose(score(explain, method=method), score(input_times_gradient), rtol=1e-5)


def test_in_evaluate(plain, batch, explain, method):
    x, y, _ = batch
    # Older versions hand 'explain_func' to the metrics only when it is among the arguments of their call.
    old = inspect.signature(quantus.evaluate).parameters["call_kwargs"].kind is inspect.Parameter.VAR_KEYWORD
    results = quantus.evaluate(
        metrics={
            "estimate": quantus.FaithfulnessEstimate(
                features_in_step=32, perturb_baseline="black", disable_warnings=True
            ),
            "sensitivity": quantus.MaxSensitivity(nr_samples=2, disable_warnings=True),
        },
        xai_methods={"TransformerLRP": explain, method: explain},
        model=plain,
        x_batch=x,
        y_batch=y,
        agg_func=np.mean,
        explain_func_kwargs={"window": (1, 4, 4)},
        **({"explain_func": explain} if old else {}),
    )
    for name in ("TransformerLRP", method):
        for score in results[name].values():
            # 0.4 and 0.5 nest by the name of the arguments' set.
            assert np.isfinite(list(score.values()) if isinstance(score, dict) else score).all()


def test_a_class_of_captum_can_be_registered(plain, batch, explain):
    captum_attr = pytest.importorskip("captum.attr")
    x, y, _ = batch
    quantus_vit.register_method("MyIG", captum_attr.IntegratedGradients)
    try:
        maps = explain(plain, x, y, method="MyIG", n_steps=4)
    finally:
        quantus_vit.unregister_method("MyIG")
    direct = captum_attr.IntegratedGradients(plain).attribute(torch.as_tensor(x), target=torch.as_tensor(y), n_steps=4)
    np.testing.assert_allclose(maps, direct.sum(1, keepdim=True).detach().numpy(), rtol=1e-4, atol=1e-6)


def test_factories_and_functions(plain, batch, explain):
    from functools import partial

    x, y, _ = batch
    expected = input_times_gradient(plain, x, y)
    explainers = {
        "partial": partial(InputTimesGradient, scale=1.0),
        "factory": lambda model, scale=1.0: InputTimesGradient(model, scale),
        "function": input_times_gradient_of_tensors,
        "positional": lambda m, images, labels: input_times_gradient_of_tensors(m, images, labels),
    }
    for name, explainer in explainers.items():
        quantus_vit.register_method(name, explainer)
        try:
            np.testing.assert_allclose(explain(plain, x, y, method=name), expected, rtol=1e-5, atol=1e-7)
        finally:
            quantus_vit.unregister_method(name)


def test_a_factory_of_something_else(plain, batch, explain):
    quantus_vit.register_method("wrong", lambda model: 3)
    try:
        with pytest.raises(TypeError, match="no method 'attribute"):
            explain(plain, batch[0], batch[1], method="wrong")
    finally:
        quantus_vit.unregister_method("wrong")


def input_times_gradient_of_tensors(model, inputs, targets):
    return InputTimesGradient(model).attribute(inputs, target=targets)
