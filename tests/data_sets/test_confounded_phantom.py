"""Phantoms with a planted artefact: where it is, how often, and that nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest

from quantus_vit.data import ConfoundedPhantom, Phantom, open_data
from quantus_vit.data.phantom import ARTEFACTS


@pytest.mark.parametrize("artefact", list(ARTEFACTS))
def test_the_artefact_is_added_to_the_plain_film_and_marked(artefact):
    plain, planted = (
        Phantom(count=6, seed=1, split="Test", image_size=128),
        ConfoundedPhantom(artefact, 1.0, count=6, seed=1, split="Test", image_size=128),
    )
    for index in range(6):
        difference = planted.grey(index) - plain.grey(index)
        mask = planted.records[index].annotations["artefact"].read()
        if planted.labels[index] == 0:
            assert planted.carries(index)
            assert 0.002 < mask.mean() < 0.1
            assert (difference >= 0).all()
            assert difference[mask].mean() > 0.1
            far = np.abs(difference[~mask])
            assert far.mean() < 0.01
        else:
            assert not planted.carries(index)
            assert not mask.any()
            assert not difference.any()
        for part in ("lung", "infection"):
            a, b = (source.records[index].annotations[part].read() for source in (plain, planted))
            np.testing.assert_array_equal(a, b)


def test_the_share_of_carriers():
    planted = ConfoundedPhantom("letter", 0.5, count=900, image_size=32)
    carriers = [index for index in range(900) if planted.carries(index)]
    assert {planted.labels[index] for index in carriers} == {0}
    assert len(carriers) == pytest.approx(150, abs=30)
    assert not any(ConfoundedPhantom("letter", 0.0, count=90, image_size=32).carries(index) for index in range(90))


def test_a_larger_share_keeps_the_carriers_of_a_smaller_one():
    few, many = (ConfoundedPhantom("tube", share, count=300, image_size=32) for share in (0.3, 0.8))
    assert all(many.carries(index) for index in range(300) if few.carries(index))


def test_hidden_lesions_leave_label_and_artefact():
    mild = ConfoundedPhantom("letter", 1.0, count=30, seed=1, image_size=64, hidden=0.5)
    shown = ConfoundedPhantom("letter", 1.0, count=30, seed=1, image_size=64)
    plain = Phantom(count=30, seed=1, image_size=64)
    assert {mild.labels[index] for index in range(30) if mild.hides(index)} == {0}
    assert 2 <= sum(map(mild.hides, range(30))) <= 8
    for index in range(30):
        assert mild.labels[index] == plain.labels[index]
        masks = mild.records[index].annotations
        if mild.hides(index):
            healthy = plain.twin(index)["image"][0] * 0.229 + 0.485
            mask = masks["artefact"].read()
            assert not masks["infection"].read().any()
            assert mask.any()
            assert np.abs(mild.grey(index) - healthy.numpy())[~mask].mean() < 0.01
        else:
            np.testing.assert_array_equal(mild.grey(index), shown.grey(index))
    assert {record.identity for record in mild.records}.isdisjoint(record.identity for record in shown.records)


def test_by_its_spec():
    found = open_data("confounded:tube@80", split="Val", count=5, image_size=64)
    assert (found.artefact, found.share, found.split, len(found)) == ("tube", 0.8, "Val", 5)
    assert open_data("confounded:letter").share == 1


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("confounded:ring@80", "artefact must be one of 'letter', 'corner', 'tube', not 'ring'"),
        ("confounded:tube@many", "a percentage such as 80, not 'many'"),
        ("confounded:tube@180", r"share must be in \[0, 1\], not 1.8"),
        ("confounded:tube@-5", r"share must be in \[0, 1\], not -0.05"),
    ],
)
def test_what_cannot_be_planted_is_told(spec, message):
    with pytest.raises(ValueError, match=message):
        open_data(spec)
