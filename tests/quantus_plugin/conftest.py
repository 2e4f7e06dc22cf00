from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import quantus
from torch import nn

import quantus_vit

from .toy import ToyViT, toy_batch, toy_vit


def pytest_configure(config: pytest.Config) -> None:
    # Tens of thousands of NumPy's deprecations from the older releases of Quantus.
    config.addinivalue_line("filterwarnings", r"ignore::DeprecationWarning:quantus\.")
    config.addinivalue_line("filterwarnings", r"ignore:invalid escape sequence:DeprecationWarning")


@pytest.fixture
def plain() -> ToyViT:
    return toy_vit(hooked=False)


@pytest.fixture
def hooked() -> ToyViT:
    return toy_vit(hooked=True)


@pytest.fixture
def batch() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return toy_batch()


@pytest.fixture
def explain() -> Any:
    """``quantus.explain``, which 0.2.2 has without Captum only while we are registered."""
    return quantus.explain


@pytest.fixture
def method() -> Iterator[str]:
    """The name of a method that is registered for one test: input times gradient, (N, C, H, W)."""
    quantus_vit.register_method("Toy", InputTimesGradient)
    yield "Toy"
    if "Toy" in quantus_vit.available_methods():
        quantus_vit.unregister_method("Toy")


class InputTimesGradient:
    """A class in the style of Captum, without Captum."""

    def __init__(self, model: nn.Module, scale: float = 1.0) -> None:
        self.model = model
        self.scale = scale

    def attribute(self, inputs: Any, target: Any = None, offset: float = 0.0) -> Any:
        import torch

        x = inputs.detach().requires_grad_()
        logits = self.model(x)
        target = logits.argmax(1) if target is None else target
        (gradient,) = torch.autograd.grad(logits.gather(1, target.reshape(-1, 1)).sum(), x)
        return gradient * x.detach() * self.scale + offset
