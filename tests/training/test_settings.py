"""The recipe: the paper's by default, and refusals that name the value."""

from __future__ import annotations

import pytest

from quantus_vit.training.settings import TrainingSettings


def test_defaults_are_the_papers() -> None:
    settings = TrainingSettings()
    assert (settings.epochs, settings.batch_size, settings.lr) == (10, 32, 1e-4)
    assert settings.patience > 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("batch_size", -1),
        ("lr", 0.0),
        ("lr", float("nan")),
        ("head_lr", -1.0),
        ("embed_lr", 0.0),
        ("weight_decay", -0.1),
        ("patience", -1),
        ("warmup", 1.0),
        ("label_smoothing", 1.5),
        ("schedule", "linear"),
        ("monitor", "recall"),
        ("class_weights", "yes"),
        ("precision", "8"),
    ],
)
def test_senseless_values_are_named(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"{name} must .*got {value!r}"):
        TrainingSettings(**{name: value})  # type: ignore[arg-type]
