"""Calls of Quantus against values known by definition, or computed by a loop of our own."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from quantus_vit.batch_size import BatchSize
from quantus_vit.comparison.metrics import METRICS, build_scorers
from quantus_vit.comparison.scoring import ScoredImage, score_maps
from quantus_vit.comparison.ties import break_ties, ties_matter

from .toys import SIZE, LinearModel, contribution, protocol, runnable_metrics, scored, times_gradient

values_of_channels = pytest.mark.skipif(
    tuple(map(int, version("quantus").split(".")[:2])) < (0, 6), reason="a feature of older versions is a pixel"
)


MASKS = ("infection", "lung")


def scorer_of(name: str, **changes):
    settings = protocol(metrics=(name.split("[")[0],), **changes)
    return next(scorer for scorer in build_scorers(settings, MASKS) if scorer.name == name), settings


def at(item: ScoredImage, target: int) -> ScoredImage:
    return replace(item, target=target)


def score_map(scorer, relevance, *rest) -> list[float]:
    (scores,) = score_maps(scorer, [relevance], *rest)
    return scores


def exact_map(model: LinearModel, item, target: int) -> np.ndarray:
    return contribution(model, item.image[None], [target])[0]


@pytest.fixture
def even_model(model: LinearModel) -> LinearModel:
    """A model that treats the channels alike, so that of a grey image the order of a pixel's channels is no matter."""
    with torch.no_grad():
        weights = model.layer.weight.reshape(3, 3, -1).mean(1, keepdim=True)
        model.layer.weight.copy_(weights.repeat(1, 3, 1).flatten(1))
    return model


def ordered_values(relevance: np.ndarray) -> np.ndarray:
    """Values of the image, most relevant first: (pixels * 3, 2), pixel and channel."""
    pixels = np.argsort(-relevance.ravel())
    return np.stack([pixels.repeat(3), np.tile(np.arange(3), pixels.size)], axis=1)


def test_faithfulness_of_the_exact_map_of_a_linear_model_is_one(even_model: LinearModel) -> None:
    """Replacing values by 0 takes away exactly their contribution, so drops and sums are the same numbers."""
    item = scored(label=1)
    scorer, settings = scorer_of("FaithfulnessEstimate")
    relevance = exact_map(even_model, item, 2)
    assert score_map(scorer, relevance, at(item, 2), even_model, settings, "cpu") == pytest.approx([1.0])
    assert score_map(scorer, -relevance, at(item, 2), even_model, settings, "cpu") == pytest.approx([-1.0])


@values_of_channels
@pytest.mark.parametrize("baseline", [0.0, 1.5, "black"])
def test_faithfulness_by_a_loop(even_model: LinearModel, baseline: float | str) -> None:
    item = scored(label=0)
    relevance = np.random.default_rng(0).normal(size=(1, SIZE, SIZE)).astype(np.float32)
    scorer, settings = scorer_of("FaithfulnessEstimate", baselines=(baseline,), features_in_step=8)
    (score,) = score_map(scorer, relevance, at(item, 1), even_model, settings, "cpu")
    image = item.image.numpy().reshape(3, -1)
    value = image.min() if baseline == "black" else baseline

    def logit(values: np.ndarray) -> float:
        return even_model(torch.as_tensor(values.reshape(1, 3, SIZE, SIZE)))[0, 1].item()

    sums, drops = [], []
    for step in ordered_values(relevance).reshape(-1, 8, 2):
        changed = image.copy()
        changed[step[:, 1], step[:, 0]] = value
        drops.append(logit(image) - logit(changed))
        sums.append(relevance.ravel()[step[:, 0]].sum())
    assert score == pytest.approx(np.corrcoef(sums, drops)[0, 1], abs=1e-4)


@values_of_channels
def test_pixel_flipping_is_the_area_under_the_falling_score(even_model: LinearModel) -> None:
    """Of a linear model the score falls by the contributions of each step in turn, the largest first."""
    item = scored(label=1)
    relevance = exact_map(even_model, item, 2)
    scorer, settings = scorer_of("PixelFlipping", features_in_step=8)
    (score,) = score_map(scorer, relevance, at(item, 2), even_model, settings, "cpu")
    falls = np.sort(relevance.ravel().repeat(3) / 3)[::-1].reshape(-1, 8).sum(1)
    curve = even_model(item.image[None])[0, 2].item() - np.cumsum(falls)
    assert score == pytest.approx((curve.sum() - (curve[0] + curve[-1]) / 2), rel=1e-4)


def test_a_map_without_contrast_has_no_score(model: LinearModel) -> None:
    item = scored(label=0)
    for name in ("FaithfulnessEstimate", "PixelFlipping", "RelevanceMassAccuracy[mask=lung]", "Sparseness"):
        scorer, settings = scorer_of(name)
        for constant in (0.0, 0.3, np.nan):
            relevance = np.full((1, SIZE, SIZE), constant, dtype=np.float32)
            assert np.isnan(score_map(scorer, relevance, at(item, 0), model, settings, "cpu")).all()


def test_shares_of_positive_relevance_inside_the_masks(model: LinearModel) -> None:
    item = scored(label=0)
    relevance = np.random.default_rng(1).normal(size=(1, SIZE, SIZE)).astype(np.float32)
    for mask in ("lung", "infection"):
        scorer, settings = scorer_of(f"RelevanceMassAccuracy[mask={mask}]")
        (score,) = score_map(scorer, relevance, at(item, 0), model, settings, "cpu")
        inside, positive = item.masks[mask].numpy(), relevance > 0
        assert score == pytest.approx(relevance[inside & positive].sum() / relevance[positive].sum())
        scorer, settings = scorer_of(f"RelevanceRankAccuracy[mask={mask}]")
        top = np.argsort(-relevance.ravel())[: inside.sum()]
        (score,) = score_map(scorer, relevance, at(item, 0), model, settings, "cpu")
        assert score == pytest.approx(inside.ravel()[top].mean())
        scorer, settings = scorer_of(f"PointingGame[mask={mask}]")
        (score,) = score_map(scorer, relevance, at(item, 0), model, settings, "cpu")
        assert score == float(inside.ravel()[relevance.argmax()])


def test_masks_that_are_missing_or_empty_are_not_scored() -> None:
    sick, healthy = scored(label=0), scored(label=2)
    infection, _ = scorer_of("PointingGame[mask=infection]")
    lung, _ = scorer_of("PointingGame[mask=lung]")
    assert sick.suits(infection)
    assert not healthy.suits(infection)
    assert healthy.suits(lung)
    assert not replace(healthy, masks={}).suits(lung)


def test_sparseness_is_the_gini_index(model: LinearModel) -> None:
    item = scored(label=0)
    relevance = np.random.default_rng(2).normal(size=(1, SIZE, SIZE)).astype(np.float32)
    scorer, settings = scorer_of("Sparseness")
    (score,) = score_map(scorer, relevance, at(item, 0), model, settings, "cpu")
    x = np.abs(relevance.ravel().astype(np.float64))
    gini = np.abs(x[:, None] - x[None]).sum() / (2 * x.size**2 * x.mean())
    assert score == pytest.approx(gini, abs=1e-4)


def test_sensitivity_asks_for_more_maps(model: LinearModel) -> None:
    item = scored(label=0)
    scorer, settings = scorer_of("MaxSensitivity")
    calls = []

    def explain(model, inputs, targets, **kwargs):
        calls.append(len(inputs))
        return contribution(model, inputs, targets)

    (score,) = score_map(scorer, exact_map(model, item, 0), at(item, 0), model, settings, "cpu", explain)
    assert len(calls) == 5
    assert score > 0


def test_every_documented_metric_gives_a_number(model: LinearModel) -> None:
    item, settings = scored(label=0), protocol(metrics=runnable_metrics())
    for scorer in build_scorers(settings, MASKS):
        explain = times_gradient if "explanations" in scorer.spec.needs else None
        (score,) = score_map(scorer, exact_map(model, item, 0), at(item, 0), model, settings, "cpu", explain)
        assert np.isfinite(score), scorer.name


@given(st.lists(st.integers(-3, 3), min_size=2, max_size=40), st.integers(0, 9))
def test_breaking_ties_keeps_what_is_not_tied(numbers: list[int], seed: int) -> None:
    relevance = np.array(numbers, dtype=np.float32).reshape(1, 1, -1)
    copies = break_ties(relevance, 3, [seed])
    assert copies.shape == (3, *relevance.shape)
    np.testing.assert_allclose(copies, np.broadcast_to(relevance, copies.shape), atol=1e-6)
    for copy in copies:
        order = np.argsort(copy.ravel())
        assert (np.diff(relevance.ravel()[order]) >= 0).all()
        if any(numbers):
            assert len(np.unique(copy)) == len(numbers)


def test_orders_of_ties_differ_and_are_seeded() -> None:
    relevance = np.repeat(np.array([0.0, 1.0], dtype=np.float32), 50).reshape(1, 10, 10)
    first, second = break_ties(relevance, 2, [1])
    assert (np.argsort(first.ravel()) != np.argsort(second.ravel())).any()
    np.testing.assert_array_equal(break_ties(relevance, 2, [1]), [first, second])


def test_superpixels_have_ties_that_matter_and_smooth_maps_have_not() -> None:
    superpixels = np.arange(4.0).repeat(16).reshape(1, 8, 8)
    noise = np.random.default_rng(0).random((1, 8, 8))
    assert ties_matter(superpixels, features_in_step=8)
    assert not ties_matter(superpixels, features_in_step=48)  # steps of just a superpixel
    assert not ties_matter(noise, features_in_step=8)
    assert not ties_matter(superpixels, features_in_step=192)  # one step holds all


def test_scores_are_averaged_over_orders_only_where_ties_decide(model: LinearModel) -> None:
    item = scored(label=0)
    scorer, settings = scorer_of("FaithfulnessEstimate", tie_breaks=4)
    blocks = np.arange(4.0, dtype=np.float32).repeat(16).reshape(1, 8, 8)
    scores = score_map(scorer, blocks, at(item, 0), model, settings, "cpu")
    assert len(scores) == 4
    assert len(set(scores)) > 1
    assert scores == score_map(scorer, blocks, at(item, 0), model, settings, "cpu")
    smooth = np.random.default_rng(0).random((1, SIZE, SIZE)).astype(np.float32)
    assert len(score_map(scorer, smooth, at(item, 0), model, settings, "cpu")) == 1


def test_maps_scored_together_get_the_scores_they_get_alone(model: LinearModel) -> None:
    item = scored(label=0)
    generator = np.random.default_rng(0)
    maps = [
        generator.normal(size=(1, SIZE, SIZE)).astype(np.float32),
        np.zeros((1, SIZE, SIZE), dtype=np.float32),
        100 * np.arange(4.0, dtype=np.float32).repeat(16).reshape(1, 8, 8),
    ]
    for name in ("FaithfulnessEstimate", "PixelFlipping", "Sparseness", "RelevanceMassAccuracy[mask=lung]"):
        scorer, settings = scorer_of(name)
        together = score_maps(scorer, maps, at(item, 0), model, settings, "cpu")
        alone = [score_map(scorer, relevance, at(item, 0), model, settings, "cpu") for relevance in maps]
        assert [len(scores) for scores in together] == [1, 1, 2 if "order" in scorer.spec.needs else 1]
        for one, other in zip(together, alone, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5)


def test_curves_of_a_removal_are_kept_for_each_map(model: LinearModel) -> None:
    """A linear model's output without some patches is a sum, so the curve is known."""
    scorer, settings = scorer_of("RemovalCurve", tie_breaks=1)
    item, kept = scored(), []
    maps = [exact_map(model, item, 0), np.zeros((1, SIZE, SIZE))]
    score_maps(replace(scorer, settings={**scorer.settings, "removal": 0.0, "steps": 4}), maps, item, model, settings,
               "cpu", keep_curves=kept.append)  # fmt: skip
    ((curves, none),) = kept
    assert none == {}  # a map without contrast has no score and no curve
    patch = int(scorer.settings["patch_size"])
    sums = maps[0][0].reshape(SIZE // patch, patch, -1, patch).sum((1, 3)).ravel()
    largest_first = np.sort(sums)[::-1]
    counts = np.rint(np.linspace(0, len(sums), 5)).astype(int)
    bias = float(model.layer.bias[0].detach())
    np.testing.assert_allclose(curves["mif"], [largest_first[n:].sum() + bias for n in counts], atol=1e-4)
    np.testing.assert_allclose(curves["lif"], [largest_first[: len(sums) - n].sum() + bias for n in counts], atol=1e-4)


def test_maps_of_several_images_scored_together_get_the_scores_of_one_image_at_a_time(model: LinearModel) -> None:
    """Every metric but the random ones, with maps of all signs, without contrast and with ties, of unlike images."""
    drawn = {"FaithfulnessCorrelation", *(spec.name for spec in METRICS if "explanations" in spec.needs)}
    with torch.no_grad():
        model.layer.weight.mul_(0.02)  # else probabilities are 1 but for their rounding, which SaCo compares
    generator = np.random.default_rng(0)
    images, maps = [], []
    for index in range(5):
        item = replace(scored(index, label=index % 2), target=index % 3)
        for number in range(4):
            maps.append(generator.normal(size=(1, SIZE, SIZE)).astype(np.float32) * 10.0**number)
            images.append(item)
    maps[6] = np.zeros_like(maps[0])
    maps[9] = np.arange(4.0, dtype=np.float32).repeat(16).reshape(1, 8, 8)
    settings = protocol(
        metrics=tuple(name for name in runnable_metrics() if name not in drawn), baselines=(0.0, "black")
    )
    for scorer in build_scorers(settings, MASKS):
        together = score_maps(scorer, maps, images, model, settings, "cpu")
        for relevance, image, values in zip(maps, images, together, strict=True):
            alone = score_map(scorer, relevance, image, model, settings, "cpu")
            terms = 24 if scorer.spec.name == "PixelFlipping" else 1  # an area is a sum of outputs
            np.testing.assert_allclose(values, alone, rtol=1e-6, atol=1e-6 * terms, err_msg=scorer.name)


class Narrow(LinearModel):
    """Has room for a few images only."""

    most = 3

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if len(images) > self.most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return super().forward(images)


@values_of_channels
def test_a_batch_of_maps_that_does_not_fit_is_halved(model: LinearModel) -> None:
    item, size = scored(), BatchSize(16)
    maps = list(np.random.default_rng(0).normal(size=(10, 1, SIZE, SIZE)).astype(np.float32))
    for name in ("FaithfulnessEstimate", "RemovalCurve"):
        scorer, settings = scorer_of(name)
        scores = score_maps(scorer, maps, item, Narrow().eval(), settings, "cpu", batch_size=size)
        expected = score_maps(scorer, maps, item, model, settings, "cpu")
        np.testing.assert_allclose(scores, expected, rtol=1e-6, atol=1e-6)
        assert size.size == 2


def test_batches_are_even() -> None:
    sizes = []

    class Counting(LinearModel):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            sizes.append(len(images))
            return super().forward(images)

    scorer, settings = scorer_of("FaithfulnessEstimate")
    maps = list(np.random.default_rng(0).normal(size=(10, 1, SIZE, SIZE)).astype(np.float32))
    score_maps(scorer, maps, scored(), Counting().eval(), settings, "cpu", batch_size=BatchSize(8))
    assert set(sizes) == ({5} if tuple(map(int, version("quantus").split(".")[:2])) >= (0, 6) else {1})


@pytest.mark.parametrize("name", ["FaithfulnessCorrelation", "MaxSensitivity"])
def test_what_quantus_draws_is_seeded_by_the_image_and_leaves_numpy_alone(model: LinearModel, name: str) -> None:
    scorer, settings = scorer_of(name)
    images = [replace(scored(), seed=seed) for seed in (1, 1, 2)]
    relevance = exact_map(model, images[0], 0) + np.random.default_rng(0).random((1, SIZE, SIZE))

    def explain(model, inputs, targets, **_):
        return contribution(model, torch.as_tensor(inputs, dtype=torch.float32), targets)

    found = []
    for image in images:
        np.random.seed(len(found))
        before = np.random.get_state()[1].copy()
        found += score_map(scorer, relevance, at(image, 0), model, settings, "cpu", explain)
        assert (np.random.get_state()[1] == before).all()
    assert found[0] == found[1] != found[2]
