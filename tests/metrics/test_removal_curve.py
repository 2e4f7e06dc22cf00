"""Removal curves on a model whose truth is known, and against plain loops."""

from __future__ import annotations

from inspect import Parameter, signature
from itertools import pairwise

import numpy as np
import pytest
import quantus

from quantus_vit.metrics import RemovalCurve, SaCo

from .toys import WeighedPatches, to_pixels

WEIGHTS = np.random.default_rng(3).permutation(np.linspace(-1, 2, 16))
ONES = np.ones((1, 3, 16, 16))
OPTIONS = {"removal": 0.0, "patch_size": 4, "steps": 16}


def call(metric, maps, x=ONES, **options):
    return metric(
        model=WeighedPatches(WEIGHTS).eval(),
        x_batch=np.repeat(x, len(maps), axis=0),
        y_batch=np.zeros(len(maps), dtype=int),
        a_batch=np.stack(maps),
        **options,
    )


def curve_by_hand(scores, most_important_first):
    """The sum of the weights that are left, patch after patch."""
    order = sorted(range(16), key=lambda i: -scores[i] if most_important_first else scores[i])
    outputs = [WEIGHTS.sum()]
    for patch in order:
        outputs.append(outputs[-1] - WEIGHTS[patch])
    return np.array(outputs)


def area_by_hand(outputs):
    return sum((a + b) / 2 for a, b in pairwise(outputs)) / (len(outputs) - 1)


@pytest.mark.parametrize("seed", range(3))
def test_curves_and_areas_by_hand(seed):
    scores = np.random.default_rng(seed).normal(size=16)
    for order in ("mif", "lif", "srg"):
        metric = RemovalCurve(order=order, **OPTIONS)
        (found,) = call(metric, [to_pixels(scores)])
        curves = {name: curve_by_hand(scores, name == "mif") for name in ("mif", "lif")}
        for name, outputs in metric.curves[0].items():
            np.testing.assert_allclose(outputs, curves[name], atol=1e-6)
        areas = {name: area_by_hand(outputs) for name, outputs in curves.items()}
        wanted = areas["lif"] - areas["mif"] if order == "srg" else areas[order]
        np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize(("order", "sign"), [("mif", -1), ("lif", 1), ("srg", 1)])
def test_direction(order, sign):
    """The truth beats chance, chance beats the truth upside down."""
    maps = [to_pixels(WEIGHTS), to_pixels(-WEIGHTS)]
    maps += [to_pixels(np.random.default_rng(seed).normal(size=16)) for seed in range(20)]
    truth, reverse, *chance = sign * np.array(call(RemovalCurve(order=order, **OPTIONS), maps))
    assert truth > np.max(chance) > np.mean(chance) > np.min(chance) > reverse


def test_srg_of_a_random_order_is_zero_on_average_and_odd():
    maps = [to_pixels(np.random.default_rng(seed).normal(size=16)) for seed in range(200)]
    scores = np.array(call(RemovalCurve(order="srg", **OPTIONS), maps))
    assert abs(scores.mean()) < 3 * scores.std() / np.sqrt(200)
    turned = call(RemovalCurve(order="srg", **OPTIONS), [-m for m in maps[:5]])
    np.testing.assert_allclose(turned, -scores[:5], atol=1e-6)


@pytest.mark.parametrize("order", ["mif", "lif", "srg"])
def test_normalised_is_1_for_the_best_order_of_an_additive_model_and_0_for_chance(order):
    metric = RemovalCurve(order=order, normalised=True, random_orders=200, **OPTIONS)
    maps = [to_pixels(WEIGHTS)] + [to_pixels(np.random.default_rng(seed).normal(size=16)) for seed in range(50)]
    best, *chance = call(metric, maps)
    assert best == pytest.approx(1, abs=1e-6)
    assert np.mean(chance) == pytest.approx(0, abs=0.15)


def test_greedy_oracle_by_brute_force():
    """On a model with interactions the oracle is what a plain greedy loop finds."""
    metric = RemovalCurve(order="mif", removal=0.0, patch_size=4, steps=4, normalised=True, random_orders=3)
    x = np.random.default_rng(1).normal(size=(1, 3, 16, 16))
    scores = np.random.default_rng(2).normal(size=16)
    (found,) = call(metric, [to_pixels(scores)], x)

    import torch

    model = WeighedPatches(WEIGHTS).eval()

    def output(removed):
        image = x.copy()
        for patch in removed:
            row, column = divmod(patch, 4)
            image[:, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 0
        with torch.no_grad():
            return float(model(torch.from_numpy(image).float())[0, 0])

    def area(sets):
        return area_by_hand([output(removed) for removed in sets])

    removed, sets = [], [[]]
    while len(removed) < 16:
        left = [i for i in range(16) if i not in removed]
        removed = removed + sorted(left, key=lambda i: output([*removed, i]))[:4]
        sets.append(removed)
    rng = np.random.default_rng((0, 1))
    orders = [rng.permutation(16) for _ in range(3)]
    chance = np.mean([area([order[: 4 * k] for k in range(5)]) for order in orders])
    own = area([np.argsort(-scores)[: 4 * k] for k in range(5)])
    assert found == pytest.approx((own - chance) / (area(sets) - chance), abs=1e-5)


def test_ties_are_broken_at_random_and_averaged():
    """Two levels of eight patches each: the mean over random orders is a straight line within each level."""
    levels = np.where(np.arange(16) % 2, 1.0, 0.5)
    (by_rows,) = call(RemovalCurve(order="mif", **OPTIONS), [to_pixels(levels)])
    assert by_rows == pytest.approx(area_by_hand(curve_by_hand(levels - 1e-3 * np.arange(16), True)), abs=1e-6)
    (averaged,) = call(RemovalCurve(order="mif", tie_breaks=300, **OPTIONS), [to_pixels(levels)])
    whole, low = WEIGHTS.sum(), WEIGHTS[::2].sum()
    assert averaged == pytest.approx((whole + low) / 4 + low / 4, abs=0.1)
    assert abs(by_rows - averaged) > 0.1


def test_probabilities_are_bounded_and_ordered():
    scores = call(RemovalCurve(output="probability", **OPTIONS), [to_pixels(WEIGHTS), to_pixels(-WEIGHTS)])
    assert 1 >= scores[0] > 0 > scores[1] >= -1
    with pytest.raises(ValueError, match="call the metric with softmax=False"):
        call(RemovalCurve(output="probability", **OPTIONS), [to_pixels(WEIGHTS)], softmax=True)


def test_batches_do_not_matter():
    maps = [to_pixels(np.random.default_rng(seed).normal(size=16)) for seed in range(3)]
    np.testing.assert_allclose(
        call(RemovalCurve(**OPTIONS), maps, batch_size=3), call(RemovalCurve(**OPTIONS), maps), atol=1e-9
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": "best"}, "order must be one of"),
        ({"steps": 0}, "steps must be a whole number of 1 or more, not 0"),
        ({"steps": 17}, "steps must be at most 16, the number of patches, not 17"),
        ({"patch_size": 5}, "patches of 5 pixels do not fill an image of 16x16"),
        ({"output": "loss"}, "output must be one of 'logit', 'probability', not 'loss'"),
        ({"removal": "gray"}, "unknown removal 'gray'"),
    ],
)
def test_wrong_settings_are_told(options, message):
    with pytest.raises(ValueError, match=message):
        call(RemovalCurve(**{**OPTIONS, **options}), [to_pixels(WEIGHTS)])


def test_in_quantus_evaluate():
    metrics = {"curve": RemovalCurve(**OPTIONS), "saco": SaCo(groups=4, removal=0.0)}
    x = np.random.default_rng(0).normal(size=(2, 3, 16, 16)).astype(np.float32)
    model, y = WeighedPatches(WEIGHTS).eval(), np.array([0, 1])
    maps = np.stack([to_pixels(WEIGHTS), to_pixels(-WEIGHTS)])
    # Some releases want the calls' options, and answer for each set of them.
    parameter = signature(quantus.evaluate).parameters.get("call_kwargs")
    named = parameter is not None and parameter.kind is not Parameter.VAR_KEYWORD
    calls = {"call_kwargs": {"once": {}}} if named else {}
    results = quantus.evaluate(
        metrics=metrics, xai_methods={"truth": maps}, model=model, x_batch=x, y_batch=y, explain_func_kwargs={}, **calls
    )
    for name, metric in metrics.items():
        found = results["truth"][name]
        found = found["once"] if isinstance(found, dict) else found
        np.testing.assert_allclose(found, metric(model=model, x_batch=x, y_batch=y, a_batch=maps))
