"""What the tests of methods share: one thread, for in tiny models more would only wait for each other; a plain ViT."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from .families import BY_NAME, images, make


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def vit() -> nn.Module:
    return make(BY_NAME["vit"])


@pytest.fixture
def batch() -> Tensor:
    return images(BY_NAME["vit"])
