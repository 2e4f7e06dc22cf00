"""Composition of perturbed images, replacements, and batch sizes by memory, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.restoration import inpaint_biharmonic
from torch import nn

from quantus_vit import batch_size
from quantus_vit.batch_size import LARGEST_BATCH, BatchSize, PeakMemory, choose_batch_size, fitting_batch
from quantus_vit.lime.neighbourhood import Neighbourhood, compose
from quantus_vit.lime.replacement import replace


@pytest.fixture
def scene():
    random = np.random.default_rng(0)
    segments = (np.arange(24)[:, None] // 6 * 5 + np.arange(20)[None] // 4).astype(np.int64)
    return random.normal(size=(3, 24, 20)).astype(np.float32), segments


def test_compose_takes_absent_segments_from_the_fudged_image(scene):
    image, segments = scene
    masks = np.random.default_rng(1).random((9, 20)) < 0.5
    found = compose(*(torch.from_numpy(a) for a in (image, -image, segments, masks)))
    for row, composed in zip(masks, found.numpy(), strict=True):
        expected = image.copy()
        for segment in np.flatnonzero(~row):
            expected[:, segments == segment] = -image[:, segments == segment]
        np.testing.assert_array_equal(composed, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_precision_is_composed_alike(scene, dtype):
    image, segments = (torch.from_numpy(array) for array in scene)
    image, masks = image.to(dtype), torch.rand(7, 20, generator=torch.Generator().manual_seed(0)) < 0.5
    found = compose(image, image * -2, segments, masks)
    assert found.dtype == dtype
    signs = torch.where(masks, 1, -2)[:, segments][:, None]
    assert torch.equal(found, image * signs.to(dtype))


def test_probabilities_are_the_softmax_of_every_row_in_batches(scene):
    image, segments = (torch.from_numpy(a) for a in scene)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 24 * 20, 4))
    masks = torch.rand(23, 20) < 0.5
    sizes = []
    model.register_forward_hook(lambda module, inputs, output: sizes.append(len(output)))
    found = Neighbourhood(model, image, image * 0, segments, 10).answers(masks)
    assert sizes == [10, 10, 3]
    expected = model(compose(image, image * 0, segments, masks)).softmax(-1)
    torch.testing.assert_close(found.clone(), expected.detach())


def test_mean_replacement(scene):
    image, segments = scene
    fudged = replace(image, segments, "mean")
    assert fudged.dtype == image.dtype
    for segment in range(20):
        for channel in range(3):
            inside = fudged[channel][segments == segment]
            np.testing.assert_allclose(inside, image[channel][segments == segment].mean(), rtol=1e-5, atol=1e-7)


def test_constant_replacement(scene):
    np.testing.assert_array_equal(replace(*scene, 0.25), np.full((3, 24, 20), 0.25, np.float32))
    found = replace(*scene, (1, 2, 3))
    assert [np.unique(channel).tolist() for channel in found] == [[1], [2], [3]]


def test_blur_keeps_exposure_and_takes_texture(scene):
    image, segments = scene
    image = image + np.linspace(0, 30, 20, dtype=np.float32)
    fudged = replace(image, segments, "blur")
    np.testing.assert_allclose(fudged.mean(axis=(1, 2)), image.mean(axis=(1, 2)), rtol=0.02)
    trend = np.linspace(0, 30, 20)
    assert (fudged - trend)[:, 3:-3, 3:-3].std() < 0.6 * (image - trend)[:, 3:-3, 3:-3].std()


def test_inpainting_is_skimages_with_the_rest_of_the_image_present(scene):
    image, segments = scene
    fudged = replace(image, segments, "inpaint")
    for segment in (0, 7, 19):
        hole = segments == segment
        for channel in range(3):
            whole = inpaint_biharmonic(image[channel].astype(np.float64), hole)
            free = hole & (np.abs(whole) < 1.5)  # skimage clips to the values of its picture, a window or the whole
            assert free.sum() >= 6
            np.testing.assert_allclose(fudged[channel][free], whole[free], rtol=1e-4, atol=1e-4)


def test_inpainting_continues_a_slope(scene):
    _, segments = scene
    slope = np.broadcast_to(np.arange(20, dtype=np.float32), (1, 24, 20))
    inner = (slice(6, 18), slice(4, 16))  # at the border of the image there is less to go by
    np.testing.assert_allclose(replace(slope, segments, "inpaint")[0][inner], slope[0][inner], atol=0.05)


def test_inpainting_one_segment_for_the_whole_image():
    image = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    np.testing.assert_allclose(replace(image, np.zeros((3, 4), dtype=np.int64), "inpaint"), 5.5)


def test_callable_replacement_gets_image_and_segments(scene):
    image, segments = scene
    found = replace(image, segments, lambda x, s: x * 0 + s)
    np.testing.assert_array_equal(found, np.broadcast_to(segments, image.shape))
    assert found.dtype == image.dtype


def test_peak_memory_counts_what_lives_at_one_time():
    start = torch.zeros(1000)
    with PeakMemory() as counted:
        first = start + 1  # 4000 bytes
        second = first * 2  # and 4000
        del first
        third = second.double()  # 4000 + 8000
        view = third[10:].view(-1, 10)
        third.add_(1)
        del second
        fourth = view.sum()
    assert counted.peak == 12000
    assert counted.held == 8000 + 8
    del third, view, fourth
    assert counted.held == 0


class Wide(nn.Module):
    """Holds a tensor of a given number of bytes an image."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.new_zeros(len(x), self.size // 4).sum(dim=1, keepdim=True)


@pytest.mark.parametrize(("size", "expected"), [(40, 32), (10**6, 10), (10**8, 1)])
def test_batch_size_follows_free_memory(monkeypatch, size, expected):
    monkeypatch.setattr(batch_size, "available_bytes", lambda device: 40_500_000)
    assert choose_batch_size(Wide(size), torch.zeros(1, 2, 2)) == expected


@given(st.integers(1, 10**9), st.integers(0, 10**11), st.integers(1, 256))
def test_the_largest_batch_that_fits_is_taken(bytes_an_image, available, largest):
    size = fitting_batch(bytes_an_image, available, largest)

    def fits(images: int) -> bool:
        return 4 * images * bytes_an_image <= available

    assert 1 <= size <= largest
    assert size == 1 or fits(size)
    assert size == largest or not fits(size + 1)


def test_free_memory_of_a_gpu_is_the_devices_and_what_torch_holds_unused(monkeypatch):
    """No GPU is asked: the figures are those of a card with 3 GB free, and 2 of 7 GB of torch's in use."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (3 * 10**9, 80 * 10**9))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 7 * 10**9)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 2 * 10**9)
    available = batch_size.available_bytes(torch.device("cuda"))
    assert available == 8 * 10**9
    assert fitting_batch(10 * 10**6, available, LARGEST_BATCH) == 200
    assert fitting_batch(10**6, available, LARGEST_BATCH) == LARGEST_BATCH
    assert fitting_batch(10**10, available, LARGEST_BATCH) == 1


def test_free_memory_is_known_and_plausible():
    assert 2**20 < batch_size.available_bytes(torch.device("cpu")) < 2**50


class Narrow(nn.Module):
    """Has room for a few images only, as a device that is full."""

    def __init__(self, most: int, error: Exception) -> None:
        super().__init__()
        self.most, self.error = most, error
        self.sizes: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(x))
        if len(x) > self.most:
            raise self.error
        return x.flatten(1)[:, :3]


OUT_OF_MEMORY = [
    torch.cuda.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    MemoryError(),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
def test_a_batch_that_does_not_fit_is_halved_and_the_answers_are_the_same(scene, error):
    image, segments = (torch.from_numpy(array) for array in scene)
    masks = torch.rand(40, int(segments.max()) + 1, generator=torch.Generator().manual_seed(0)) > 0.5
    size = BatchSize(32)
    narrow = Narrow(5, error)
    answers = Neighbourhood(narrow, image, image * 0, segments, size).answers(masks)
    assert size.size == 4
    assert narrow.sizes[:4] == [32, 16, 8, 4]
    roomy = Neighbourhood(Narrow(40, error), image, image * 0, segments, 40).answers(masks)
    torch.testing.assert_close(answers, roomy)


def test_an_image_that_does_not_fit_alone_and_other_errors_are_told(scene):
    image, segments = (torch.from_numpy(array) for array in scene)
    masks = torch.ones(4, int(segments.max()) + 1, dtype=torch.bool)
    for most, error in ((0, OUT_OF_MEMORY[0]), (3, RuntimeError("shapes do not match"))):
        with pytest.raises(RuntimeError, match=str(error)):
            Neighbourhood(Narrow(most, error), image, image * 0, segments, 8).answers(masks)
