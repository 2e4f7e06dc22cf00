from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from quantus_vit import register_method, unregister_method
from quantus_vit.comparison.explaining import ExplainedImage, known_methods, method_calls
from quantus_vit.comparison.methods import METHODS, ControlInputs, MethodSpec
from quantus_vit.comparison.methods.lime import SPECS as LIME_SPECS
from quantus_vit.comparison.protocol import ExplainOptions, image_seed
from quantus_vit.quantus_plugin.registry import METHODS as EXPLAINERS

from .toys import SIZE, Images, LinearModel, classifier_of, contribution


def image_of(identity: str = "x.png", seed: int = 0, target: int = 1, **further) -> ExplainedImage:
    return ExplainedImage(Images([0]).sample(0, None).image, target, (seed, image_seed(identity)), **further)


def explained(model: LinearModel, method: str, image: ExplainedImage | None = None) -> np.ndarray:
    (call,) = method_calls([method], ExplainOptions())
    return call.explain(classifier_of(model), image or image_of(), "cpu")


def test_a_map_comes_through_quantus(model: LinearModel, contribution_method: str) -> None:
    relevance = explained(model, contribution_method)
    assert relevance.shape == (1, SIZE, SIZE)
    assert relevance.dtype == np.float32
    np.testing.assert_allclose(relevance, contribution(model, image_of().image[None], [1])[0], rtol=1e-6)


def test_random_depends_on_the_image_and_the_seed_alone(model: LinearModel) -> None:
    first = explained(model, "Random")
    np.testing.assert_array_equal(explained(model, "Random"), first)
    assert (explained(model, "Random", image_of("y.png")) != first).any()
    moved = [explained(model, "Random", image_of(f"{place}/Test/Normal/images/1.png")) for place in ("a", "b")]
    np.testing.assert_array_equal(*moved)
    assert (explained(model, "Random", image_of(seed=1)) != first).any()


def test_random_gives_another_map_each_time_a_metric_asks(model: LinearModel) -> None:
    (call,) = method_calls(["Random"], ExplainOptions())
    explain = call.explain_func(image_of())
    inputs = image_of().image[None].numpy().repeat(2, axis=0)
    maps = np.concatenate([explain(model=model, inputs=inputs, targets=np.array([0, 1])) for _ in range(2)])
    assert len({relevance.tobytes() for relevance in maps}) == 4


def test_a_method_that_returns_another_shape_is_named(model: LinearModel) -> None:
    register_method("Small", lambda model, inputs, targets: torch.zeros(len(inputs), 1, 2, 2))
    try:
        with pytest.raises(ValueError, match=r"method 'Small' returned shape \(1, 1, 2, 2\), expected \(1, 1, 8, 8\)"):
            explained(model, "Small")
    finally:
        unregister_method("Small")


def test_known_methods() -> None:
    known = known_methods()
    assert {"TransformerLRP", "LimeCXR", "Random"} <= set(known)
    assert len(set(known)) == len(known)
    assert [call.label for call in method_calls(known, ExplainOptions())] == known
    with pytest.raises(ValueError, match=r"unknown method 'TransformerLPR'; did you mean 'TransformerLRP'"):
        method_calls(["TransformerLRP", "TransformerLPR"], ExplainOptions())


def test_a_missing_extra_is_told_with_what_to_install(monkeypatch) -> None:
    from quantus_vit.comparison import explaining

    monkeypatch.setattr(explaining, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"LimeCXR needs lime, .*pip install 'quantus-vit\[lime\]'"):
        method_calls(["LimeCXR"], ExplainOptions())


def test_options_in_brackets_reach_the_method_and_are_checked_before_the_run(model: LinearModel) -> None:
    pytest.importorskip("lime")
    options = ExplainOptions(lime_samples=12, lime_seed=3, lime_replacement="baseline", baseline=0.5)
    (call,) = method_calls(["LimeCXR[segments=grid, num_segments=4]"], options, classifier_of(model))
    assert call.options == {
        "num_samples": 12, "seed": 3, "replacement": 0.5, "link": "softmax", "segments": "grid", "num_segments": 4,
    }  # fmt: skip
    for wrong, message in (("nmu_samples=3", "nmu_samples"), ("segments=hexagons", "hexagons")):
        with pytest.raises((TypeError, ValueError), match=message):
            method_calls([f"LimeCXR[{wrong}]"], options, classifier_of(model))


def test_a_method_that_took_a_name_of_this_package_is_left_alone_until_the_run(model: LinearModel) -> None:
    def no_class(model, inputs, targets, shift=0.0):
        raise AssertionError

    before = EXPLAINERS["AttnLRP"]
    register_method("AttnLRP", no_class, overwrite=True)
    try:
        (call,) = method_calls(["AttnLRP[shift=2.0]"], ExplainOptions(), classifier_of(model))
        assert call.options == {"shift": 2.0}
    finally:
        EXPLAINERS.add(before, overwrite=True)


@pytest.mark.parametrize(("baseline", "value"), [("black", -2.0), ("white", 3.0), ("mean", 0.25)])
def test_a_named_baseline_is_the_replacement_that_quantus_takes(baseline: str, value: float) -> None:
    from quantus.helpers.utils import get_baseline_value

    image = np.array([[[-2.0, 3.0], [0.0, 0.0]]])
    (spec,) = LIME_SPECS
    replace = spec.options(ExplainOptions(lime_replacement="baseline", baseline=baseline))["replacement"]
    replaced = replace(image, np.zeros((2, 2), dtype=int))
    np.testing.assert_allclose(replaced, value)
    np.testing.assert_allclose(get_baseline_value(value=baseline, arr=image, return_shape=image.shape), replaced)


def test_a_control_sees_the_image_its_masks_and_other_maps(model: LinearModel) -> None:
    def outside_the_lungs(inputs: ControlInputs, strength: float = 1.0) -> np.ndarray:
        return strength * np.where(inputs.masks["lung"], 0.0, inputs.map_of("Other", inputs.target))

    METHODS.add(MethodSpec("Outside", "for the test", role="control", make=outside_the_lungs))
    try:
        lungs = np.zeros((1, SIZE, SIZE), dtype=bool)
        lungs[:, :4] = True
        image = image_of(masks={"lung": lungs}, map_of=lambda label, target: np.full((1, SIZE, SIZE), 7.0 + target))
        relevance = explained(model, "Outside[strength=2]", image)
        np.testing.assert_array_equal(relevance, 16.0 * ~lungs)
        with pytest.raises(ValueError, match="needs the map of 'Other', which only a comparison has"):
            explained(model, "Outside", image_of(masks={"lung": lungs}))
    finally:
        METHODS.remove("Outside")


def test_options_of_controls_are_checked_at_once(model: LinearModel) -> None:
    classifier = classifier_of(model)
    with pytest.raises(ValueError, match=r"Blurred: missing a required argument: 'method'; write Blurred\["):
        method_calls(("Blurred",), ExplainOptions(), classifier)
    with pytest.raises(ValueError, match=r"CentrePrior\[wide=1\]: got an unexpected keyword argument 'wide'"):
        method_calls(("CentrePrior[wide=1]",), ExplainOptions(), classifier)


def test_controls_of_a_method_take_its_map(model: LinearModel) -> None:
    """The blurred map of a method, and its map of the likeliest other class."""
    maps = {target: np.random.default_rng(target).random((1, SIZE, SIZE), dtype=np.float32) for target in range(3)}
    image = image_of(target=1, map_of=lambda label, target: maps[target] if label == "X" else None)
    blurred = explained(model, "Blurred[method=X,patch_size=4]", image)
    assert blurred[0, 4, 4] == pytest.approx(maps[1][0, 2:6, 2:6].mean(), abs=1e-5)
    with torch.no_grad():
        logits = model(image.image[None])[0]
    other = max((0, 2), key=lambda output: logits[output])
    np.testing.assert_array_equal(explained(model, "OtherClass[method=X]", image), maps[other])


@pytest.mark.parametrize(("task", "outputs"), [("multilabel", 3), ("binary", 1)])
def test_lime_fits_the_probabilities_of_the_models_task(task: str, outputs: int) -> None:
    """On a linear model the sign of a superpixel's weight is that of its contribution; one logit is no constant."""
    pytest.importorskip("lime")
    model = LinearModel(outputs).eval()
    classifier = classifier_of(model, [f"finding {number}" for number in range(outputs)], task)
    options = ExplainOptions(lime_samples=300, lime_replacement=0.0)
    (call,) = method_calls(["LimeCXR"], options, classifier)
    assert call.options["link"] == "sigmoid"
    quarters = np.arange(4).reshape(2, 2).repeat(4, axis=0).repeat(4, axis=1)
    call = replace(call, options={**call.options, "segments": quarters})
    image = image_of(target=0)
    relevance = call.explain(classifier, image, "cpu")[0]
    exact = contribution(model, image.image[None], [0])[0, 0]
    weights = [relevance[quarters == number].mean() for number in range(4)]
    sums = [exact[quarters == number].sum() for number in range(4)]
    assert np.corrcoef(weights, sums)[0, 1] > 0.8


def test_designs_and_early_stopping_of_lime_are_options_of_a_comparison(model: LinearModel) -> None:
    pytest.importorskip("lime")
    options = ExplainOptions(lime_samples=2000, lime_replacement=0.0)
    quarters = np.arange(4).reshape(2, 2).repeat(4, axis=0).repeat(4, axis=1)
    (call,) = method_calls(["LimeCXR[sampling=orthogonal, stable_features=3]"], options, classifier_of(model))
    assert call.options["sampling"] == "orthogonal"
    images = []
    model.register_forward_pre_hook(lambda module, inputs: images.append(len(inputs[0])))
    call = replace(call, options={**call.options, "segments": quarters})
    early = call.explain(classifier_of(model), image_of(target=0), "cpu")
    assert 300 <= sum(images) < 1000  # three looks at 100 samples at least, and by far not 2000
    whole = replace(call, options={**call.options, "stable_features": None, "sampling": "plain"})
    relevance = whole.explain(classifier_of(model), image_of(target=0), "cpu")
    assert np.argsort(early[0, ::4, ::4].ravel()).tolist() == np.argsort(relevance[0, ::4, ::4].ravel()).tolist()
