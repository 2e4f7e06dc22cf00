"""Metrics that remove tokens: the model runs without them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from quantus_vit.metrics import RemovalCurve, SaCo, saco
from quantus_vit.quantus_plugin.compat import installed_version, release
from quantus_vit.relevance import tokens_removed

timm = pytest.importorskip("timm")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return timm.models.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2, num_classes=3
    ).eval()


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 32, 32)).astype(np.float32)
    return {"x_batch": x, "y_batch": np.array([0, 2]), "a_batch": rng.normal(size=(2, 1, 32, 32))}


def output_without(model, image, target, removed):
    mask = torch.zeros(1, 16, dtype=torch.bool)
    mask[0, list(removed)] = True
    with torch.no_grad(), tokens_removed(model, mask):
        return model(torch.from_numpy(image)[None])[0, target].item()


def test_the_curve_is_that_of_forwards_without_the_patches(model, batch):
    metric = RemovalCurve(removal="tokens", order="mif", steps=4)
    metric(model=model, **batch)
    for n, curves in enumerate(metric.curves):
        scores = batch["a_batch"][n, 0].reshape(4, 8, 4, 8).sum((1, 3)).ravel()
        order = np.argsort(-scores)
        wanted = [
            output_without(model, batch["x_batch"][n], batch["y_batch"][n], order[: 4 * step]) for step in range(5)
        ]
        np.testing.assert_allclose(curves["mif"], wanted, atol=1e-5)


def test_saco_over_groups_of_patches(model, batch):
    (found, _) = SaCo(groups=4, removal="tokens", output="logit")(model=model, **batch)
    scores = batch["a_batch"][0, 0].reshape(4, 8, 4, 8).sum((1, 3)).ravel()
    order = np.argsort(-scores)
    image, target = batch["x_batch"][0], 0
    whole = output_without(model, image, target, [])
    groups = [order[4 * i : 4 * i + 4] for i in range(4)]
    drops = [whole - output_without(model, image, target, group) for group in groups]
    assert found == pytest.approx(saco([scores[group].sum() for group in groups], drops), abs=1e-4)


def test_the_patches_are_the_models_own(model, batch):
    with pytest.raises(ValueError, match="removes the model's own patches; leave patch_size out"):
        RemovalCurve(removal="tokens", patch_size=16)(model=model, **batch)


@pytest.mark.parametrize("metric", [RemovalCurve, SaCo])
@pytest.mark.parametrize("removal", ["tokens", "mean", "blur"])
@pytest.mark.parametrize("options", [{}, {"normalised": True, "steps": 4, "tie_breaks": 2}])
def test_maps_of_several_images_share_full_batches(model, batch, metric, removal, options):
    """Every batch but the last of a round is full, and the scores are those of single maps."""
    if metric is SaCo and options:
        pytest.skip("options of RemovalCurve")
    if metric is RemovalCurve:
        options = {**options, **({} if removal == "tokens" else {"patch_size": 8})}
    sizes = []
    handle = model.register_forward_hook(lambda module, inputs, output: sizes.append(len(output)))
    image = np.repeat(batch["x_batch"], 2, axis=0)  # two maps of each image
    maps = np.random.default_rng(1).normal(size=(4, 1, 32, 32))
    targets = np.repeat(batch["y_batch"], 2)
    together = metric(removal=removal, **options)
    scores = together(model=model, x_batch=image, y_batch=targets, a_batch=maps, batch_size=16)
    handle.remove()
    whole = [size for size in sizes if size != 1]
    rounds = 2 if metric is SaCo else 2 * (2 + 1 + 4 + 1) if options.get("normalised") else 2
    passes = 1 if release(installed_version()) >= (0, 4) else 4  # before, Quantus takes one map after the other
    assert sum(size < 16 for size in whole) <= rounds * passes
    for number in range(4):
        single = metric(removal=removal, **options)
        one = slice(number, number + 1)
        (alone,) = single(model=model, x_batch=image[one], y_batch=targets[one], a_batch=maps[one])
        assert scores[number] == pytest.approx(alone, abs=1e-5)
        if metric is RemovalCurve:
            np.testing.assert_allclose(together.curves[number]["mif"], single.curves[0]["mif"], atol=1e-5)
