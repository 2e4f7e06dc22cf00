"""Augmentation and the cache of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from quantus_vit.data import CovidQuEx, Preprocessing, Record, XrayDataset
from quantus_vit.training.order import EpochSampler
from quantus_vit.training.transforms import LabelledImages, augment

SQUARE = Preprocessing(size=(32, 32))


def test_augmentation_only_flips_and_shifts() -> None:
    size, reach = 40, 2
    image = torch.arange(float(size * size)).reshape(1, size, size)
    generator = torch.Generator().manual_seed(0)
    seen = set()
    for _ in range(200):
        result = augment(image, generator, max_shift=0.05)
        centre = result[0, 20, 20].item()
        row, column = divmod(int(centre), size)
        flipped = bool(result[0, 20, 21] < result[0, 20, 20])
        shift = (row - 20, (size - 1 - column if flipped else column) - 20)
        assert max(map(abs, shift)) <= reach
        source = image.flip(-1) if flipped else image
        inner = source[:, 5 + shift[0] : 35 + shift[0], 5 + shift[1] : 35 + shift[1]]
        assert torch.equal(result[:, 5:35, 5:35], inner)
        seen.add((flipped, *shift))
    assert len({key[0] for key in seen}) == 2
    assert {key[1] for key in seen} == set(range(-reach, reach + 1))


def test_border_repeats_the_edge() -> None:
    image = torch.zeros(1, 20, 20)
    image[:, 0] = 7.0
    generator = torch.Generator().manual_seed(0)
    sums = {float(augment(image, generator, max_shift=0.1)[0, :, 10].sum()) for _ in range(60)}
    assert sums == {0.0, 7.0, 14.0, 21.0}


def test_cache_gives_the_same_images(xrays: Path) -> None:
    data = CovidQuEx(xrays, "Train")
    plain, cached = LabelledImages(data, SQUARE), LabelledImages(data, SQUARE, cached=True)
    assert len(cached) == len(plain) == 18
    for index in range(len(plain)):
        assert torch.equal(cached[index][0], plain[index][0])
        assert cached[index][1] == plain[index][1] == index // 6


def test_cache_reads_each_image_once(xrays: Path) -> None:
    data = CovidQuEx(xrays, "Val")
    cached = LabelledImages(data, SQUARE, cached=True)
    for path in data.paths:
        Path(path).unlink()
    assert cached[0][0].shape == (3, 32, 32)


class Gradients(XrayDataset):
    """Pictures of more than 8 bits, with findings."""

    def __init__(self) -> None:
        findings = [(), ("b",), ("a", "b")]
        records = [Record(str(i), str(i), None, labels) for i, labels in enumerate(findings)]
        super().__init__("gradients", ("a", "b"), "multilabel", "Train", records)

    def grey(self, index: int) -> np.ndarray:
        return np.linspace(0, 1 / (index + 1), 40 * 50, dtype=np.float32).reshape(40, 50)


def test_cache_keeps_what_does_not_fit_into_8_bits() -> None:
    for preprocessing in (SQUARE, Preprocessing(size=(32, 32), resize="pad", fill=None)):
        plain, cached = (
            LabelledImages(Gradients(), preprocessing),
            LabelledImages(Gradients(), preprocessing, cached=True),
        )
        assert all(torch.equal(plain[index][0], cached[index][0]) for index in range(3))


def test_findings_are_rows_of_0_and_1() -> None:
    assert LabelledImages(Gradients(), SQUARE).targets.tolist() == [[0, 0], [0, 1], [1, 1]]


def test_augmentation_depends_on_seed_epoch_and_index_alone() -> None:
    data = [LabelledImages(Gradients(), SQUARE, seed=3) for _ in range(2)]
    for key in ((0, 1), (4, 1), (4, 2)):
        assert torch.equal(data[0][key][0], data[1][key][0])
    images = [data[0][epoch, 1][0] for epoch in range(8)]
    assert any(not torch.equal(image, images[0]) for image in images)
    assert torch.equal(data[0][1][0], LabelledImages(Gradients(), SQUARE)[1][0])


def test_order_is_another_one_each_epoch_and_the_same_each_time() -> None:
    sampler = EpochSampler(20, seed=1)
    orders = []
    for epoch in (0, 1, 0):
        sampler.set_epoch(epoch)
        pairs = list(sampler)
        assert {first for first, _ in pairs} == {epoch}
        assert sorted(index for _, index in pairs) == list(range(20))
        orders.append([index for _, index in pairs])
    assert orders[0] == orders[2] != orders[1]
