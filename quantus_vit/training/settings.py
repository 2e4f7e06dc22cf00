"""The settings of a fine-tuning; the defaults are the recipe of the 2023 paper.

Plain values: knows neither torch nor Lightning.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TrainingSettings"]

_CHOICES = {
    "monitor": ("accuracy", "auroc", "loss"),
    "schedule": ("constant", "cosine"),
    "class_weights": ("none", "balanced"),
    "precision": ("32-true", "bf16-mixed", "16-mixed"),
}


@dataclass(frozen=True)
class TrainingSettings:
    """How to fine-tune.

    Parameters
    ----------
    epochs : int
        Most epochs to run.
    batch_size : int
        Images a step.
    lr : float
        Learning rate of AdamW (Loshchilov and Hutter, 2019).
    head_lr : float, optional
        Learning rate of the classifier; None for ``lr``.
    embed_lr : float, optional
        Learning rate of the patch embedding; None for ``lr``. From scratch it wants to be lower by far: a patch's
        pixels move together, so that their weights' steps add up.
    weight_decay : float
        Decay of AdamW, on matrices alone.
    warmup : float
        Share of all steps during which the rate rises from 0.
    schedule : str
        After that, "constant" or "cosine" down to 0 at the last step.
    label_smoothing : float
        Probability spread over all classes, or over "there" and "not there" of each finding.
    class_weights : str
        "balanced" weighs a class by the inverse of its frequency, or images with a finding as much as those without;
        "none" does not.
    patience : int
        Epochs without improvement until training stops; 0 never stops early.
    monitor : str
        What on the validation set decides on improvement and the best epoch: "accuracy", "auroc" (mean over the classes
        or findings) or "loss".
    precision : str
        Lightning's name of the arithmetic: "32-true", "bf16-mixed" or "16-mixed".
    augment : bool
        Whether to flip and shift training images.
    seed : int
        Of the new head, the order of images, and augmentation.
    """

    epochs: int = 10
    batch_size: int = 32
    lr: float = 1e-4
    head_lr: float | None = None
    embed_lr: float | None = None
    weight_decay: float = 0.01
    warmup: float = 0.0
    schedule: str = "constant"
    label_smoothing: float = 0.0
    class_weights: str = "none"
    patience: int = 3
    monitor: str = "accuracy"
    precision: str = "32-true"
    augment: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse values that make no sense, naming them."""
        positive = {"epochs": self.epochs, "batch_size": self.batch_size, "lr": self.lr}
        optional = {"head_lr": self.head_lr, "embed_lr": self.embed_lr}
        positive |= {name: value for name, value in optional.items() if value is not None}
        for name, value in positive.items():
            if not value > 0:
                raise ValueError(f"{name} must be positive, got {value!r}")
        for name, value in {"weight_decay": self.weight_decay, "patience": self.patience}.items():
            if not value >= 0:
                raise ValueError(f"{name} must be 0 or more, got {value!r}")
        for name, value in {"warmup": self.warmup, "label_smoothing": self.label_smoothing}.items():
            if not 0 <= value < 1:
                raise ValueError(f"{name} must be a share in [0, 1), got {value!r}")
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}")
