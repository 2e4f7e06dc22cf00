"""Phantoms: determinism, and the class patterns by measured facts on the finished films and masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from quantus_vit.data.conventions import CLASS_NAMES, IMAGENET_MEAN, IMAGENET_STD
from quantus_vit.data.phantom import Phantom

SIZE = 96


def gray(item):
    """The first channel back in [0, 1]."""
    return (item["image"][0] * IMAGENET_STD[0] + IMAGENET_MEAN[0]).numpy()


def halves(mask):
    """Pixels of a mask in the left and the right half of the image (the patient's right and left)."""
    middle = mask.shape[-1] // 2
    return int(mask[..., :middle].sum()), int(mask[..., middle:].sum())


@pytest.fixture(scope="module")
def items():
    data = Phantom(count=60, seed=3, split="Test", image_size=SIZE)
    return [data[index] for index in range(len(data))]


@pytest.fixture(scope="module")
def twins():
    data = Phantom(count=60, seed=3, split="Test", image_size=SIZE)
    return [data.twin(index) for index in range(len(data))]


def of_class(items, label):
    return [item for item in items if item["label"] == label]


@pytest.mark.parametrize("size", [32, 75, 224])
def test_items_keep_to_the_contract(size):
    item = Phantom(count=5, seed=1, split="Val", image_size=size)[4]
    assert item["image"].shape == (3, size, size)
    assert item["image"].dtype == torch.float32
    assert item["label"] == 1
    for mask in ("lung_mask", "infection_mask"):
        assert item[mask].shape == (1, size, size)
        assert item[mask].dtype == torch.bool
        assert item["has_" + mask] is True
    assert item["path"] == "phantom/Val/000004.png"


def test_channels_are_one_grey_image_of_8_bits():
    item = Phantom(count=1, image_size=64)[0]
    mean, std = torch.tensor(IMAGENET_MEAN).view(3, 1, 1), torch.tensor(IMAGENET_STD).view(3, 1, 1)
    levels = (item["image"] * std + mean) * 255
    assert torch.allclose(levels, levels.round(), atol=1e-2)
    assert torch.allclose(levels[0], levels[2], atol=1e-2)
    assert 0 <= levels.min() < 60
    assert 180 < levels.max() < 255.5


def test_labels_are_balanced_and_known_without_drawing():
    data = Phantom(count=60, image_size=SIZE)
    assert [data.labels.count(label) for label in range(3)] == [20, 20, 20]
    assert data.class_names == CLASS_NAMES
    assert [data[index]["label"] for index in (0, 1, 2)] == data.labels[:3] == [0, 1, 2]


def test_same_seed_same_film_whatever_the_count_and_the_order():
    first, second = Phantom(6, seed=5, image_size=64), Phantom(60, seed=5, image_size=64)
    second[17]
    for index in (5, 0):
        assert torch.equal(first[index]["image"], second[index]["image"])
        assert torch.equal(first[index]["infection_mask"], second[index]["infection_mask"])
    assert torch.equal(first[-1]["image"], first[5]["image"])


def test_torch_and_numpy_global_seeds_do_not_matter():
    torch.manual_seed(0)
    first = Phantom(1, image_size=64)[0]["image"]
    torch.manual_seed(1)
    np.random.seed(1)
    assert torch.equal(first, Phantom(1, image_size=64)[0]["image"])


def test_splits_seeds_and_indices_are_disjoint():
    films = {}
    for seed in (0, 1):
        for split in ("Train", "Val", "Test"):
            data = Phantom(9, seed=seed, split=split, image_size=48)
            for index in range(9):
                films[gray(data[index]).tobytes()] = (seed, split, index)
    assert len(films) == 2 * 3 * 9


def test_lungs_are_two_large_fields_of_plausible_size(items):
    for item in items:
        share = item["lung_mask"].float().mean().item()
        assert 0.15 < share < 0.5
        right, left = halves(item["lung_mask"])
        # The heart takes from the left lung.
        assert right > 0.2 * SIZE**2 / 2
        assert left > 0.12 * SIZE**2 / 2


def test_lungs_are_darker_than_what_lies_between_and_below_them(items):
    for item in items:
        image, lungs = gray(item), item["lung_mask"][0].numpy()
        clear = lungs & ~item["infection_mask"][0].numpy()
        rows = np.flatnonzero(lungs.any(axis=1))
        low, high = rows[0], rows[-1]
        columns = np.flatnonzero(lungs.any(axis=0))
        between = np.zeros_like(lungs)
        between[low:high, columns[0] : columns[-1]] = ~lungs[low:high, columns[0] : columns[-1]]
        assert image[clear].mean() < image[between].mean() - 0.1


def test_infection_lies_inside_the_lungs(items):
    for item in items:
        assert not (item["infection_mask"] & ~item["lung_mask"]).any()


def test_normal_has_no_infection_and_the_others_do(items):
    for item in items:
        if item["label"] == 2:
            assert not item["infection_mask"].any()
        else:
            assert item["infection_mask"].sum() > 0.01 * item["lung_mask"].sum()


def test_covid_is_bilateral(items):
    for item in of_class(items, 0):
        assert min(halves(item["infection_mask"])) > 0.005 * SIZE**2


def test_other_pneumonia_is_one_sided(items):
    sides = set()
    for item in of_class(items, 1):
        lungs = item["lung_mask"][0].numpy()
        # Lungs are two components; the midline may be off the image's, so count by the lungs' own gap.
        gap = int(np.argmin(lungs[: SIZE // 2].sum(axis=0)[SIZE // 3 : -SIZE // 3])) + SIZE // 3
        right = int(item["infection_mask"][0, :, :gap].sum())
        left = int(item["infection_mask"][0, :, gap:].sum())
        assert min(right, left) == 0
        sides.add(right > left)
    assert sides == {True, False}


def lateral_position(item):
    """Mean of |x - midline| over the infection, in units of the same mean over the lungs; above 1 is peripheral."""
    lungs, infection = item["lung_mask"][0].numpy(), item["infection_mask"][0].numpy()
    midline = np.nonzero(lungs)[1].mean()
    distances = [np.abs(np.nonzero(mask)[1] - midline).mean() for mask in (infection, lungs)]
    return distances[0] / distances[1]


def vertical_position(item):
    lungs, infection = item["lung_mask"][0].numpy(), item["infection_mask"][0].numpy()
    rows = np.nonzero(lungs)[0]
    return (np.nonzero(infection)[0].mean() - rows.mean()) / rows.std()


def test_covid_is_peripheral_and_low(items):
    covid, other = of_class(items, 0), of_class(items, 1)
    assert np.mean([lateral_position(item) for item in covid]) > 1.15
    assert np.mean([vertical_position(item) for item in covid]) > 0.2
    assert (
        np.mean([lateral_position(item) for item in covid]) > np.mean([lateral_position(item) for item in other]) + 0.1
    )


def test_consolidation_is_denser_than_ground_glass(items, twins):
    def gain(label):
        return np.mean(
            [
                (gray(item) - gray(twin))[item["infection_mask"][0].numpy()].mean()
                for item, twin in zip(items, twins, strict=True)
                if item["label"] == label
            ]
        )

    assert gain(1) > 1.2 * gain(0)


def test_a_lesion_brightens_its_own_place_and_nothing_else(items, twins):
    for item, twin in zip(items, twins, strict=True):
        difference = gray(item) - gray(twin)
        assert twin["label"] == 2
        assert not twin["infection_mask"].any()
        assert torch.equal(item["lung_mask"], twin["lung_mask"])
        if item["label"] == 2:
            assert not difference.any()
            continue
        inside = item["infection_mask"][0].numpy()
        assert difference[inside].mean() > 0.03
        # Two pixels of margin for the detector's blur: letters, cables, bones, noise and exposure are the same.
        lungs = torch.nn.functional.max_pool2d(item["lung_mask"][None].float(), 5, stride=1, padding=2)[0, 0] > 0
        assert np.abs(difference[~lungs.numpy()]).max() <= 1.5 / 255


def test_films_differ_in_exposure_and_position(items):
    means = [gray(item).mean() for item in items]
    rows = [np.nonzero(item["lung_mask"][0].numpy())[0].mean() for item in items]
    assert np.std(means) > 0.02
    assert np.std(rows) > 0.01 * SIZE


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"count": 0}, ValueError, "count must be at least 1, got 0"),
        ({"count": 2.5}, TypeError, "count must be an integer, got 2.5"),
        ({"count": 3, "seed": -1}, ValueError, "seed must be at least 0, got -1"),
        ({"count": 3, "image_size": 16}, ValueError, "image_size must be at least 32, got 16"),
        ({"count": 3, "split": "Holdout"}, ValueError, "split must be one of 'Train', 'Val', 'Test', got 'Holdout'"),
    ],
)
def test_bad_arguments_are_named(arguments, error, words):
    with pytest.raises(error, match=words):
        Phantom(**arguments)


@pytest.mark.parametrize("index", [3, -4])
def test_index_out_of_range(index):
    with pytest.raises(IndexError, match=f"index {index} is out of range for 3 phantoms"):
        Phantom(3, image_size=32)[index]


def test_a_loader_can_batch_phantoms():
    batch = next(iter(torch.utils.data.DataLoader(Phantom(4, image_size=32), batch_size=4)))
    assert batch["image"].shape == (4, 3, 32, 32)
    assert batch["label"].tolist() == [0, 1, 2, 0]
    assert batch["infection_mask"].shape == (4, 1, 32, 32)
