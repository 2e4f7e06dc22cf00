"""Metrics on a model whose forward needs gradients: the scores of the same weights without hooks."""

from __future__ import annotations

import copy
import functools
import inspect
import pickle
import random
import threading
from typing import Any

import numpy as np
import pytest
import quantus
import timm
import torch

from quantus_vit import GradientEnabled, gradients_enabled
from quantus_vit.quantus_plugin import compat

from .metric_cases import SMALL
from .toy import ToyViT, input_times_gradient, toy_batch, toy_vit

PyTorchModel = compat.pytorch_model_class()
NEWEST = compat.installed_version() == compat.NEWEST_TESTED
BROKEN_IN_QUANTUS = {
    "IROF": "Quantus 0.6.0 makes a mask of one channel for an image of three (and uses np.trapz, gone in NumPy 2.4)",
    "ROAD": "Quantus 0.6.0 indexes pixels with the indices of values of all channels",
}
WITHOUT_PREDICTION = {
    "LocalLipschitzEstimate", "MaxSensitivity", "AvgSensitivity", "PointingGame", "TopKIntersection",
    "RelevanceMassAccuracy", "RelevanceRankAccuracy", "AttributionLocalisation", "AUC", "Focus", "Sparseness",
    "Complexity", "EffectiveComplexity", "RandomLogit",
}  # fmt: skip
needs_shift = pytest.mark.skipif(
    not hasattr(PyTorchModel, "add_mean_shift_to_first_layer"), reason="not in this version"
)
NAMES = {"MPRT": "ModelParameterRandomisation"}  # as older versions call it


def make(name: str, **options: Any) -> Any:
    cls = getattr(quantus, name, None) or getattr(quantus, NAMES.get(name, name), None)
    if cls is None:
        pytest.skip(f"Quantus {compat.installed_version()} has no {name}")
    settings = {**SMALL[name], "disable_warnings": True, **options}
    if name == "NonSensitivity" and "n_samples" in inspect.signature(cls).parameters:
        # Before 0.6.0 it predicts a hundred times a step, one image at a time.
        settings.update(n_samples=2, features_in_step=32)
    if name == "Continuity" and "patch_size" in inspect.signature(cls).parameters:
        settings.update(patch_size=4)
    return cls(**settings)


def evaluate(metric: Any, model: torch.nn.Module, **options: Any) -> Any:
    """Call a metric with everything that any metric asks for, from the same random state every time."""
    np.random.seed(0)
    random.seed(0)
    torch.manual_seed(0)
    x, y, s = toy_batch()
    arguments: dict[str, Any] = {
        "model": model, "x_batch": x, "y_batch": y, "a_batch": None, "s_batch": s,
        "explain_func": input_times_gradient, "explain_func_kwargs": {},
    }  # fmt: skip
    if isinstance(metric, quantus.Focus):
        quarters = [(1, 1, 0, 0), (0, 0, 1, 1), (1, 0, 1, 0)]
        names = inspect.signature(quantus.Focus.__call__).parameters
        arguments["p_batch" if "p_batch" in names else "custom_batch"] = quarters
    if isinstance(metric, getattr(quantus, "SmoothMPRT", ())) and not compat.installed("captum"):
        # It calls quantus.explain, whatever the explain_func. Without Captum that has no default, or one of zennit's,
        # which does a forward of its own that a frozen model with hooks cannot do.
        arguments["explain_func_kwargs"] = {"method": "AttentionRollout"}
    return metric(**{**arguments, **options})


def assert_same(first: Any, second: Any) -> None:
    """Compare scores: numbers, arrays, and lists and dicts of them."""
    assert type(first) is type(second)
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_same(first[key], second[key])
    elif isinstance(first, (list, tuple)) and any(isinstance(item, (dict, list, tuple, np.ndarray)) for item in first):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_same(one, other)
    else:
        np.testing.assert_allclose(
            np.asarray(first, dtype=float), np.asarray(second, dtype=float), rtol=1e-4, atol=1e-6, equal_nan=True
        )


def cases() -> list[Any]:
    strict = {name: pytest.mark.xfail(strict=True, reason=reason) for name, reason in BROKEN_IN_QUANTUS.items()}
    return [pytest.param(name, marks=[strict[name]] if NEWEST and name in strict else []) for name in SMALL]


@functools.cache
def scores_without_hooks(name: str) -> Any:
    """Return the scores, or the exception that Quantus raises for any model."""
    metric = make(name)
    try:
        return evaluate(metric, toy_vit(hooked=False))
    except Exception as error:
        return error


@pytest.mark.parametrize("name", cases())
def test_same_scores_as_without_hooks(name):
    expected = scores_without_hooks(name)
    if isinstance(expected, Exception):
        if NEWEST:
            raise expected
        pytest.skip(f"Quantus {compat.installed_version()} fails on any model: {expected!r}")
    assert_same(evaluate(GradientEnabled(make(name)), toy_vit(hooked=True)), expected)
    frozen = toy_vit(hooked=True).requires_grad_(False)
    assert_same(evaluate(GradientEnabled(make(name), chunk_size=1), frozen), expected)


@pytest.mark.xfail(NEWEST, strict=True, reason="Quantus 0.6.0 steps over values of all channels, but indexes pixels")
def test_non_sensitivity_in_steps():
    expected = evaluate(make("NonSensitivity", features_in_step=16), toy_vit(hooked=False))
    assert_same(evaluate(GradientEnabled(make("NonSensitivity", features_in_step=16)), toy_vit(hooked=True)), expected)


@pytest.mark.skipif(not NEWEST, reason="a census of the newest version")
@pytest.mark.parametrize("name", sorted(SMALL.keys() - BROKEN_IN_QUANTUS.keys()))
def test_which_metrics_need_the_wrapper(name):
    model = toy_vit(hooked=True)
    # SmoothMPRT predicts nothing itself; without Captum it explains with a method of ours, which leaves hooks out.
    if name in WITHOUT_PREDICTION or (name == "SmoothMPRT" and not compat.installed("captum")):
        evaluate(make(name), model)
        return
    with pytest.raises(RuntimeError, match=r"cannot register a hook|deepcopy protocol"):
        evaluate(make(name), model)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_inside_the_callers_grad_mode(mode):
    expected = evaluate(make("FaithfulnessEstimate"), toy_vit(hooked=False))
    model = toy_vit(hooked=True)
    with mode():
        assert_same(evaluate(GradientEnabled(make("FaithfulnessEstimate")), model), expected)
        assert not torch.is_grad_enabled()


def test_a_model_without_hooks_that_an_explainer_left_graph_tensors_on():
    def explain_and_keep(model: ToyViT, inputs: np.ndarray, targets: np.ndarray, **kwargs: Any) -> np.ndarray:
        model.kept = [model(torch.as_tensor(inputs))]
        return input_times_gradient(model, inputs, targets)

    name = "MPRT"
    expected = evaluate(make(name), toy_vit(hooked=False))
    model = toy_vit(hooked=False)
    model.kept = [model(torch.zeros(1, 3, 16, 16))]
    with pytest.raises(RuntimeError, match="deepcopy protocol"):
        evaluate(make(name), model, explain_func=explain_and_keep)
    model.kept = [model(torch.zeros(1, 3, 16, 16))]
    kept = model.kept[0]
    assert_same(evaluate(GradientEnabled(make(name)), model, explain_func=explain_and_keep), expected)
    assert kept.requires_grad  # The copy was detached, not the original.


def test_softmax_and_its_removal():
    for last_softmax in (False, True):
        for softmax in (False, True):
            try:
                plain = toy_vit(hooked=False, last_softmax=last_softmax)
                expected = evaluate(make("FaithfulnessEstimate"), plain, softmax=softmax)
            except Exception as error:
                if NEWEST:
                    raise
                pytest.skip(f"Quantus {compat.installed_version()}: {type(error).__name__}: {error}")
            hooked = toy_vit(hooked=True, last_softmax=last_softmax)
            hooked(torch.zeros(1, 3, 16, 16))  # Something of a graph is on it when the copy without softmax is made.
            assert_same(evaluate(GradientEnabled(make("FaithfulnessEstimate")), hooked, softmax=softmax), expected)


def methods() -> dict[str, Any]:
    return dict(vars(PyTorchModel))


def test_quantus_is_as_before_after_use_and_after_exceptions():
    before = methods()
    with gradients_enabled():
        assert methods() != before
        with gradients_enabled(chunk_size=1):
            pass
        assert methods() != before
    assert methods() == before
    with pytest.raises(ZeroDivisionError), gradients_enabled():
        raise ZeroDivisionError
    assert methods() == before
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever the metric says to a wrong model
        GradientEnabled(make("FaithfulnessEstimate"))("model", *toy_batch()[:2])
    assert methods() == before
    with pytest.raises(RuntimeError, match="hook"):
        evaluate(make("FaithfulnessEstimate"), toy_vit(hooked=True))


def test_the_model_is_as_before():
    model = toy_vit(hooked=True)
    model.blocks[0].train()  # Someone's dropout at test time; the root is in evaluation mode.
    weights = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    hooks = [
        (len(module._forward_hooks), len(module._forward_pre_hooks), len(module._backward_hooks))
        for module in model.modules()
    ]
    for name in ("FaithfulnessEstimate", "MPRT", "RelativeRepresentationStability"):
        if hasattr(quantus, name):
            evaluate(GradientEnabled(make(name)), model, explain_func=input_times_gradient)
    for key, value in model.state_dict().items():
        assert torch.equal(value, weights[key])
    assert [module.training for module in model.modules()] == modes
    assert hooks == [
        (len(module._forward_hooks), len(module._forward_pre_hooks), len(module._backward_hooks))
        for module in model.modules()
    ]
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())


def test_training_mode_comes_back():
    model = toy_vit(hooked=True).train()

    def explain_in_eval(model: ToyViT, inputs: np.ndarray, targets: np.ndarray, **kwargs: Any) -> np.ndarray:
        return input_times_gradient(model.eval(), inputs, targets)  # As quantus.explain does.

    evaluate(GradientEnabled(make("Sparseness")), model, explain_func=explain_in_eval)
    assert all(module.training for module in model.modules())


def timm_vit() -> torch.nn.Module:
    """A ViT whose first module is no convolution but a block around one."""
    torch.manual_seed(0)
    model = timm.create_model(
        "vit_tiny_patch16_224", img_size=16, patch_size=4, embed_dim=16, depth=2, num_heads=2, num_classes=3
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.15)
    return model.eval()


@pytest.mark.parametrize("name", cases())
def test_every_metric_runs_on_a_model_of_timm(name):
    expected = scores_without_hooks(name)
    if isinstance(expected, Exception):
        if NEWEST:
            raise expected
        pytest.skip(f"Quantus {compat.installed_version()} fails on any model: {expected!r}")
    scores = evaluate(GradientEnabled(make(name)), timm_vit())
    assert type(scores) is type(expected)
    assert len(scores) == len(expected) or isinstance(scores, dict)  # of models with other layers


@needs_shift
@pytest.mark.parametrize("model", [timm_vit, lambda: timm_vit().double(), lambda: toy_vit(hooked=True).double()])
def test_a_shift_of_the_images_is_undone_by_the_first_layer(model):
    x = toy_batch()[0]
    plain = model()
    with gradients_enabled():
        shifted = PyTorchModel(plain, channel_first=True).add_mean_shift_to_first_layer(0.7, x[:1].shape)
        expected = PyTorchModel(plain, channel_first=True).predict(x)
        np.testing.assert_allclose(PyTorchModel(shifted).predict(x + 0.7), expected, rtol=1e-4, atol=1e-5)
        assert np.abs(PyTorchModel(shifted).predict(x) - expected).max() > 1e-3


@needs_shift
def test_a_model_whose_first_layer_does_not_see_the_images_cannot_be_shifted():
    model = torch.nn.Sequential(torch.nn.Sequential(torch.nn.InstanceNorm2d(3)), toy_vit(hooked=False))
    with gradients_enabled(), pytest.raises(ValueError, match="sees the images themselves; Sequential has 0"):
        PyTorchModel(model).add_mean_shift_to_first_layer(0.7, (1, 3, 16, 16))


@pytest.mark.parametrize("name", ["FaithfulnessEstimate", "PixelFlipping", "Infidelity"])
@pytest.mark.parametrize("last_softmax", [False, True])
def test_models_in_double_precision(name, last_softmax):
    def explain(model: torch.nn.Module, inputs: Any, targets: Any, **kwargs: Any) -> np.ndarray:
        precision = next(model.parameters()).dtype
        return input_times_gradient(Cast(model, precision), inputs, targets)

    try:
        expected = evaluate(make(name), toy_vit(hooked=False, last_softmax=last_softmax))
    except Exception as error:
        if NEWEST:
            raise
        pytest.skip(f"Quantus {compat.installed_version()}: {type(error).__name__}: {error}")
    model = toy_vit(hooked=True, last_softmax=last_softmax).double()
    with pytest.raises(RuntimeError, match=r"[Dd]ouble|dtype"):
        evaluate(make(name), toy_vit(hooked=False, last_softmax=last_softmax).double(), explain_func=explain)
    assert_same(evaluate(GradientEnabled(make(name)), model, explain_func=explain), expected)
    assert all(parameter.dtype == torch.float64 for parameter in model.parameters())
    assert not model._forward_hooks
    assert not model._forward_pre_hooks


class Cast(torch.nn.Module):
    """A model of another precision, for an explainer that knows float32 alone."""

    def __init__(self, model: torch.nn.Module, precision: torch.dtype) -> None:
        super().__init__()
        self.model, self.precision = model, precision

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x.to(self.precision)).float()


@pytest.mark.parametrize("precision", [torch.float64, torch.bfloat16])
def test_models_of_another_precision_give_float32(precision):
    x = toy_batch()[0]
    plain = PyTorchModel(toy_vit(hooked=False), channel_first=True)
    other = PyTorchModel(toy_vit(hooked=True).to(precision), channel_first=True)
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if precision == torch.float64 else {"rtol": 0.1, "atol": 0.05}
    with gradients_enabled():
        found = [other.predict(x)]
        expected = [plain.predict(x)]
        if hasattr(other, "get_hidden_representations"):
            found.append(other.get_hidden_representations(x, layer_names=["norm"]))
            expected.append(plain.get_hidden_representations(x, layer_names=["norm"]))
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.dtype == np.float32
        np.testing.assert_allclose(mine, theirs, **tolerance)


def test_two_threads_do_not_disturb_each_other():
    model = PyTorchModel(toy_vit(hooked=True), channel_first=True)
    x = toy_batch()[0]
    inside, done = threading.Event(), threading.Event()
    outcome: dict[str, Any] = {}

    def with_gradients() -> None:
        with gradients_enabled():
            inside.set()
            done.wait(20)
            outcome["with"] = model.predict(x)

    thread = threading.Thread(target=with_gradients)
    thread.start()
    assert inside.wait(20)
    try:
        with pytest.raises(RuntimeError, match="hook"):
            model.predict(x)
    finally:
        done.set()
        thread.join()
    assert outcome["with"].shape == (3, 3)
    with pytest.raises(RuntimeError, match="hook"):
        model.predict(x)


def test_many_threads_at_once():
    before = methods()
    expected = evaluate(make("FaithfulnessEstimate"), toy_vit(hooked=False))
    scores: list[Any] = []
    barrier = threading.Barrier(4)
    models = [toy_vit(hooked=True) for _ in range(4)]  # not in the threads: the seed is the process's
    x, y, _ = toy_batch()

    def work(model: torch.nn.Module) -> None:
        metric = GradientEnabled(make("FaithfulnessEstimate"))
        barrier.wait(60)
        scores.append(metric(model, x.copy(), y.copy(), None, None, explain_func=input_times_gradient))

    threads = [threading.Thread(target=work, args=(model,)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(scores) == 4
    for score in scores:
        assert_same(score, expected)
    assert methods() == before


@pytest.mark.parametrize(("chunk_size", "largest"), [(1, 1), (4, 4), (8, 8), (None, 10)])
def test_prediction_goes_in_chunks(chunk_size, largest):
    sizes = []
    model = toy_vit(hooked=True)
    model.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    x = toy_batch(10)[0]
    wrapped = PyTorchModel(model, channel_first=True)
    with gradients_enabled(chunk_size):
        predicted = wrapped.predict(x)
    assert max(sizes) == largest
    assert sum(sizes) == 10
    expected = PyTorchModel(toy_vit(hooked=False), channel_first=True).predict(x)
    np.testing.assert_allclose(predicted, expected, rtol=1e-5, atol=1e-6)
    assert predicted.dtype == expected.dtype


@pytest.mark.parametrize("wrong", [0, -3, 2.5, "8"])
def test_wrong_chunk_sizes(wrong):
    with pytest.raises(ValueError, match="chunk_size"), gradients_enabled(wrong):
        pass
    with pytest.raises(ValueError, match="chunk_size"):
        GradientEnabled(make("Sparseness"), chunk_size=wrong)


def test_a_model_may_write_into_its_input():
    class Writer(ToyViT):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x.mul_(2.0))

    torch.manual_seed(0)
    model = Writer(hooked=True).eval()
    x = toy_batch()[0]
    before = x.copy()
    with gradients_enabled():
        PyTorchModel(model, channel_first=True).predict(x)
    np.testing.assert_array_equal(x, before)


@pytest.mark.skipif(not hasattr(PyTorchModel, "get_hidden_representations"), reason="not in this version")
@pytest.mark.parametrize(
    "selection",
    [{}, {"layer_names": ["norm", "blocks.0.mlp.0"]}, {"layer_indices": [3, -2]}, {"layer_indices": [0, 4]}],
)
def test_hidden_representations_are_those_of_quantus(selection):
    x = toy_batch(5)[0]
    expected = PyTorchModel(toy_vit(hooked=False), channel_first=True).get_hidden_representations(x, **selection)
    model = toy_vit(hooked=True)
    wrapped = PyTorchModel(model, channel_first=True)
    with gradients_enabled(chunk_size=2):
        np.testing.assert_allclose(wrapped.get_hidden_representations(x, **selection), expected, rtol=1e-4, atol=1e-5)
        with pytest.raises(ValueError, match="no hidden representations"):
            wrapped.get_hidden_representations(x, ["no such layer"])
    assert not any(module._forward_hooks for module in model.modules())


def test_it_looks_like_the_metric(monkeypatch):
    import matplotlib.pyplot

    bare = make("FaithfulnessEstimate")
    metric = GradientEnabled(bare)
    assert isinstance(metric, quantus.FaithfulnessEstimate)
    assert repr(metric) == f"GradientEnabled({bare!r})"
    assert metric.features_in_step == bare.features_in_step
    metric.features_in_step = 64
    assert bare.features_in_step == 64
    assert (
        metric.get_params == bare.get_params
        if isinstance(bare.get_params, dict)
        else metric.get_params() == bare.get_params()
    )
    with pytest.raises(AttributeError, match="no_such"):
        _ = metric.no_such
    scores = evaluate(metric, toy_vit(hooked=True))
    recorded = "evaluation_scores" if hasattr(bare, "evaluation_scores") else "last_results"
    assert_same(getattr(metric, recorded), scores)
    shown = []
    monkeypatch.setattr(matplotlib.pyplot, "show", lambda: shown.append(1))
    metric.plot(plot_func=lambda: shown.append(2), show=True)
    assert shown == [2, 1]
    with pytest.raises(TypeError, match="instance of a metric"):
        GradientEnabled(quantus.FaithfulnessEstimate)


def test_copies_and_pickles():
    metric = GradientEnabled(make("Sparseness"), chunk_size=3)
    for twin in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))):
        assert type(twin) is GradientEnabled
        assert repr(twin).startswith("GradientEnabled(")
        evaluate(twin, toy_vit(hooked=True))


@pytest.mark.filterwarnings("ignore")
def test_in_evaluate(explain, method):
    x, y, _ = toy_batch()

    def table(hooked: bool, wrap: Any) -> dict[str, Any]:
        return quantus.evaluate(
            metrics={"estimate": wrap(make("FaithfulnessEstimate")), "sparseness": wrap(make("Sparseness"))},
            xai_methods={method: explain},
            model=toy_vit(hooked),
            x_batch=x,
            y_batch=y,
            explain_func_kwargs={},
        )

    assert_same(table(True, GradientEnabled), table(False, lambda metric: metric))
