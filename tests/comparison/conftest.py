from __future__ import annotations

from collections.abc import Iterator

import pytest

from quantus_vit import register, register_method, unregister_method

from .toys import LinearModel, contribution


@pytest.fixture
def model() -> LinearModel:
    return LinearModel().eval()


@pytest.fixture
def contribution_method() -> Iterator[str]:
    """The linear model's exact map, by name in ``quantus.explain``."""
    register()
    register_method("Contribution", contribution)
    yield "Contribution"
    unregister_method("Contribution")
