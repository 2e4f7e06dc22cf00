"""The fine-tuning step as a LightningModule: loss, optimiser, schedule, and validation.

Knows torch and Lightning. It may not know files or data sets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from torch import nn

from .metrics import confusion_matrix
from .settings import TrainingSettings

__all__ = ["FineTuning", "rate_factor"]


class FineTuning(L.LightningModule):  # type: ignore[misc]
    """Fine-tune a classifier by cross entropy.

    Logs ``train_loss`` by step and epoch, and ``val_loss`` and ``val_accuracy`` by epoch, the latter two over all
    images of the epoch and not as means of batches.

    Parameters
    ----------
    model
        timm model with a classifier.
    settings
        The recipe.
    class_counts
        Training images of each class, for ``class_weights="balanced"``.
    """

    def __init__(self, model: nn.Module, settings: TrainingSettings, class_counts: Sequence[int]) -> None:
        super().__init__()
        self.model = model
        self.settings = settings
        weight = None
        if settings.class_weights == "balanced":
            counts = torch.tensor(class_counts, dtype=torch.float32).clamp_min(1)
            weight = counts.sum() / (len(counts) * counts)
        self.loss = nn.CrossEntropyLoss(weight=weight, label_smoothing=settings.label_smoothing)
        self.classes = len(class_counts)
        self._confusion = torch.zeros(self.classes, self.classes, dtype=torch.int64)
        self._loss_sum = 0.0

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
        """Loss of one batch."""
        images, labels = batch
        loss: torch.Tensor = self.loss(self.model(images), labels)
        self.log("train_loss", loss, prog_bar=True, on_step=True, on_epoch=True, batch_size=len(labels))
        return loss

    def on_validation_epoch_start(self) -> None:
        """Forget the counts of the epoch before."""
        self._confusion.zero_()
        self._loss_sum = 0.0

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> None:
        """Count the answers of one batch."""
        images, labels = batch
        logits = self.model(images).float()
        self._loss_sum += float(self.loss(logits, labels)) * len(labels)
        self._confusion += confusion_matrix(logits.argmax(dim=1).cpu(), labels.cpu(), self.classes)

    def on_validation_epoch_end(self) -> None:
        """Log accuracy and loss over the whole split."""
        total = int(self._confusion.sum())
        self.log("val_accuracy", int(self._confusion.trace()) / total, prog_bar=True)
        self.log("val_loss", self._loss_sum / total, prog_bar=True)

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW over groups: patch embedding, backbone and head, each with and without decay."""
        settings = self.settings
        rates = self._rates()
        groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
        for parameter in self.model.parameters():
            if parameter.requires_grad:
                # Biases, norms and LayerScale are vectors; decaying them towards 0 has no good reason.
                rate = rates.get(id(parameter), settings.lr)
                groups.setdefault((rate, parameter.ndim >= 2), []).append(parameter)
        optimizer = torch.optim.AdamW(
            [
                {"params": parameters, "lr": rate, "weight_decay": settings.weight_decay if decays else 0.0}
                for (rate, decays), parameters in groups.items()
            ]
        )
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: rate_factor(step, steps, settings.warmup, settings.schedule)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _rates(self) -> dict[int, float]:
        """Learning rates that differ from the backbone's, by the parameter's id."""
        parts = {"get_classifier": self.settings.head_lr, "patch_embed": self.settings.embed_lr}
        rates: dict[int, float] = {}
        for name, rate in parts.items():
            if rate is None:
                continue
            part = getattr(self.model, name, None)
            if part is None:
                raise ValueError(f"{type(self.model).__name__} has no {name} to give a learning rate of its own")
            module = part if isinstance(part, nn.Module) else part()
            rates |= {id(parameter): rate for parameter in module.parameters()}
        return rates


def rate_factor(step: int, steps: int, warmup: float, schedule: str) -> float:
    """Factor on the learning rate at a step.

    Parameters
    ----------
    step
        Number of the step, from 0.
    steps
        Number of all steps.
    warmup
        Share of the steps with a linear rise.
    schedule
        "constant" (1 after the rise) or "cosine" (half a cosine down to 0).

    Returns
    -------
    float
        In [0, 1].
    """
    rise = int(steps * warmup)
    if step < rise:
        return (step + 1) / (rise + 1)
    if schedule == "constant":
        return 1.0
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (step - rise) / max(1, steps - rise))))
