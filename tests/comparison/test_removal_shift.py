"""How far removals put a model off: distances by hand and by scipy, a linear model whose shift is known, whole runs."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from scipy.spatial.distance import cdist, pdist
from torch import nn

from quantus_vit.comparison import compare
from quantus_vit.comparison.cases import data_digest
from quantus_vit.comparison.removal_shift import (
    SHARES,
    RemovalShiftRow,
    Responses,
    removal_shift_findings,
    respond,
    shift_row,
    study_removal_shift,
)
from quantus_vit.comparison.removal_shift import study as module
from quantus_vit.data import Phantom
from quantus_vit.data.preprocessing import Preprocessing
from quantus_vit.metrics import REMOVALS
from quantus_vit.models import Classifier

from .toys import CLASSES, Images, LinearModel, classifier_of, protocol, read_rows, start, unreadable

LABELS = [0, 0, 1, 1, 2, 2]
pytestmark = pytest.mark.usefixtures("contribution_method")


def random_responses(seed: int, n: int = 5) -> Responses:
    generator = np.random.default_rng(seed)
    return Responses(generator.standard_normal((n, 3)), generator.standard_normal((n, 7)))


def test_shifts_are_in_units_of_the_distance_between_images() -> None:
    whole, removed = random_responses(0), random_responses(1)
    row = shift_row("black", 0.5, whole, removed)
    for found, low, high, before, after in (
        (row.logit_shift, row.logit_low, row.logit_high, whole.logits, removed.logits),
        (row.feature_shift, row.feature_low, row.feature_high, whole.features, removed.features),
    ):
        assert found == pytest.approx(np.diag(cdist(after, before)).mean() / pdist(before).mean())
        assert low < found < high
    between = cdist(whole.features, whole.features) + np.diag([np.inf] * 5)
    nearest = cdist(removed.features, whole.features).min(axis=1).mean()
    assert row.outlying == pytest.approx(nearest / between.min(axis=1).mean())
    assert row.changed == (whole.logits.argmax(1) != removed.logits.argmax(1)).mean()


def test_nothing_removed_is_no_shift() -> None:
    whole = random_responses(0)
    row = shift_row("black", 0.1, whole, whole)
    assert (row.logit_shift, row.feature_shift, row.outlying, row.changed) == (0, 0, 0, 0)


def test_the_prediction_of_several_findings_changes_with_any_of_them() -> None:
    whole = Responses(np.array([[1.0, -1.0], [1.0, -1.0], [2.0, 1.0]]), np.zeros((3, 0)))
    removed = Responses(np.array([[2.0, -1.0], [1.0, 0.5], [1.0, 2.0]]), np.zeros((3, 0)))
    assert shift_row("black", 0.1, whole, removed, multiclass=False).changed == pytest.approx(1 / 3)
    assert shift_row("black", 0.1, whole, removed).changed == pytest.approx(1 / 3)  # the third's largest is another
    assert math.isnan(shift_row("black", 0.1, whole, removed).feature_shift)


def test_features_are_what_the_last_layer_takes() -> None:
    torch.manual_seed(0)
    vit = timm.create_model(
        "vit_tiny_patch16_224", embed_dim=24, depth=2, num_heads=2, num_classes=3, img_size=32
    ).eval()
    images = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        features = vit.forward_head(vit.forward_features(images), pre_logits=True)
    found = respond(vit, images)
    np.testing.assert_allclose(found.features, features.numpy(), atol=1e-6)
    convolution = nn.Sequential(nn.Conv2d(3, 2, 32), nn.Flatten())
    assert respond(convolution, images).features.shape == (3, 0)
    assert not vit.head._forward_hooks


def test_a_linear_models_shift_is_known(tmp_path: Path, model: LinearModel) -> None:
    """Patches of 2 pixels that become 0: the logits lose what those pixels contributed."""
    run = start(tmp_path, model, Images(LABELS), protocol(samples=4))
    rows = study_removal_shift(tmp_path, run.plan, 4)
    assert [row.share for row in rows if row.removal == "0.0"] == list(SHARES)
    weight = model.layer.weight.detach().double().numpy()
    images = [run.plan.dataset.sample(case.index, None).image.double().numpy() for case in run.plan.cases]
    whole = np.array([weight @ image.ravel() for image in images])
    lost = []
    for case, image in zip(run.plan.cases, images, strict=True):
        order = np.random.default_rng((0, module.image_seed(case.identity))).permutation(16)
        gone = np.zeros(16, dtype=bool)
        gone[order[:5]] = True  # 0.3 of 16 patches
        pixels = np.kron(gone.reshape(4, 4), np.ones((2, 2), dtype=bool))
        lost.append(np.linalg.norm(weight @ (image * pixels).ravel()))
    row = next(row for row in rows if row.removal == "0.0" and row.share == 0.3)
    assert row.logit_shift == pytest.approx(np.mean(lost) / pdist(whole).mean(), rel=1e-5)
    assert row.n == 4
    refused = [row for row in rows if row.removal == "tokens"]
    assert {row.n for row in refused} == {0}
    assert all(math.isnan(row.logit_shift) for row in refused)


def test_tokens_that_are_left_out_move_a_vit_no_less_than_nothing(tmp_path: Path) -> None:
    torch.manual_seed(0)
    vit = timm.create_model(
        "vit_tiny_patch16_224", embed_dim=24, depth=2, num_heads=2, num_classes=3, img_size=32
    ).eval()
    classifier = Classifier(vit, CLASSES, Preprocessing(size=(32, 32)))
    dataset = Phantom(6, image_size=32, split="Test")
    settings = replace(
        protocol(methods=("Random",), features_in_step=64, samples=3),
        image_size=(32, 32),
        data_digest=data_digest(dataset),
    )
    from quantus_vit.comparison.planning import make_plan

    plan, _, _ = make_plan(settings, classifier, dataset, "cpu")
    rows = [row for row in study_removal_shift(tmp_path, plan, 3) if row.removal == "tokens"]
    images = torch.stack([dataset.sample(case.index, classifier.preprocessing).image for case in plan.cases])
    with torch.no_grad():
        whole = vit(images)
        # Two of four tokens dropped after the position embedding, by hand.
        tokens = vit._pos_embed(vit.patch_embed(images))
        kept = []
        for case, one in zip(plan.cases, tokens, strict=True):
            order = np.random.default_rng((0, module.image_seed(case.identity))).permutation(4)
            left = one[[0, *(1 + np.sort(order[2:]))]][None]
            kept.append(vit.forward_head(vit.norm(vit.blocks(vit.norm_pre(left)))))
    distance = (torch.cat(kept) - whole).norm(dim=1).mean()
    row = next(row for row in rows if row.share == 0.5)
    assert row.logit_shift == pytest.approx(float(distance) / pdist(whole.numpy()).mean(), rel=1e-3)
    assert row.n == 3


def test_what_is_there_is_taken_over_and_other_images_are_not(tmp_path: Path, model: LinearModel, monkeypatch) -> None:
    run = start(tmp_path, model, Images(LABELS))
    first = study_removal_shift(tmp_path, run.plan, 4)
    with monkeypatch.context() as patch:
        patch.setattr(module, "respond", lambda *_: pytest.fail("measured again"))
        assert list(map(str, study_removal_shift(tmp_path, run.plan, 4))) == list(map(str, first))
    path = tmp_path / "removal_shift.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-12]))  # a crash within the last removals
    again = study_removal_shift(tmp_path, run.plan, 4)
    assert sorted(map(str, again)) == sorted(map(str, first))
    other = study_removal_shift(tmp_path, run.plan, 3)
    assert {row.settings for row in other}.isdisjoint(row.settings for row in first)


def test_images_that_cannot_be_read_are_left_out(tmp_path: Path, model: LinearModel) -> None:
    run = start(tmp_path, model, Images(LABELS, broken={0: unreadable()}))
    assert {row.n for row in study_removal_shift(tmp_path, run.plan, 6)} == {5, 0}
    none = start(tmp_path / "none", model, Images(LABELS, broken=dict.fromkeys(range(5), unreadable())))
    assert study_removal_shift(tmp_path / "none", none.plan, 6) == []


def test_words() -> None:
    nan = math.nan
    near = RemovalShiftRow("tokens", 0.5, 8, 0.3, 0.2, 0.4, 0.41, 0.3, 0.5, 0.7, 0.0, "x")
    far = RemovalShiftRow("black", 0.5, 8, 0.2, 0.1, 0.3, 1.52, 1.3, 1.7, 2.1, 0.5, "x")
    said = removal_shift_findings([far, near, RemovalShiftRow.refused("fog", 0.5, "x")])
    assert "without a random 50% of the patches its last features move by" in said[0]
    assert "tokens 0.41, black 1.52 (8 images)" in said[0]
    assert said[1].startswith("Under black the features then lie farther")
    assert said[2] == "This model does not allow the removal fog."
    logits = [replace(row, feature_shift=nan, outlying=nan) for row in (far, near)]
    assert (
        "its logits move by, in distances between two images: black 0.20, tokens 0.30"
        in removal_shift_findings(logits)[0]
    )
    assert removal_shift_findings([]) == []


def test_a_comparison_measures_it_where_the_protocol_asks(tmp_path: Path, model: LinearModel) -> None:
    dataset = Images(LABELS)
    settings = replace(protocol(removal_shift=4), data_digest=data_digest(dataset))
    compare(tmp_path, settings, classifier_of(model), dataset, quiet=True)
    rows = read_rows(tmp_path / "removal_shift.csv")
    assert [row[0] for row in rows[1::9]] == [*REMOVALS.names(), "0.0"]
    assert "How far a removal puts the model off" in (tmp_path / "report.html").read_text()
    (tmp_path / "report.html").unlink()
    compare(tmp_path, settings, classifier_of(model), dataset, quiet=True, report_only=True)
    assert "How far a removal puts the model off" in (tmp_path / "report.html").read_text()
    with pytest.raises(ValueError, match="removal_shift must be 0, or 2 images or more, got 1"):
        protocol(removal_shift=1)
