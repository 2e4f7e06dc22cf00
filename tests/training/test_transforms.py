"""Augmentation and the cache of images."""

from __future__ import annotations

from pathlib import Path

import torch

from quantus_vit.data import CovidQuEx
from quantus_vit.training.transforms import LabelledImages, augment


def test_augmentation_only_flips_and_shifts() -> None:
    size, reach = 40, 2
    image = torch.arange(float(size * size)).reshape(1, size, size)
    torch.manual_seed(0)
    seen = set()
    for _ in range(200):
        result = augment(image, max_shift=0.05)
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
    torch.manual_seed(0)
    sums = {float(augment(image, max_shift=0.1)[0, :, 10].sum()) for _ in range(60)}
    assert sums == {0.0, 7.0, 14.0, 21.0}


def test_cache_gives_the_same_images(xrays: Path) -> None:
    data = CovidQuEx(xrays, "Train", image_size=32)
    plain, cached = LabelledImages(data), LabelledImages(data, cached=True)
    assert len(cached) == len(plain) == 18
    for index in range(len(plain)):
        torch.testing.assert_close(cached[index][0], plain[index][0])
        assert cached[index][1] == plain[index][1] == index // 6


def test_cache_reads_each_image_once(xrays: Path) -> None:
    data = CovidQuEx(xrays, "Val", image_size=32)
    cached = LabelledImages(data, cached=True)
    for path in data.paths:
        Path(path).unlink()
    assert cached[0][0].shape == (3, 32, 32)
