"""The fine-tuning step as a LightningModule: loss, optimiser, schedule, and validation.

Knows torch and Lightning. It may not know files or data sets.
"""

from __future__ import annotations

import math
from typing import Any

import lightning as L
import torch
from torch import nn

from .evaluation import as_evaluation
from .order import seed_of
from .settings import TrainingSettings

__all__ = ["FineTuning", "loss_of", "rate_factor"]


class FineTuning(L.LightningModule):  # type: ignore[misc]
    """Fine-tune a classifier by cross entropy, of classes or of each finding.

    Logs ``train_loss`` by step and epoch, and ``val_loss``, ``val_accuracy`` and ``val_auroc`` by epoch, these over all
    images of the epoch and not as means of batches.

    Parameters
    ----------
    model : torch.nn.Module
        timm model with a classifier.
    settings : TrainingSettings
        The recipe.
    targets : torch.Tensor
        Of the training images, for ``class_weights="balanced"``: int64 ``(N,)``, or 0 and 1 ``(N, K)``.
    class_names : tuple of str
        Names of the ``K`` outputs.
    task : str
        "multiclass", "multilabel" or "binary".
    """

    def __init__(
        self,
        model: nn.Module,
        settings: TrainingSettings,
        targets: torch.Tensor,
        class_names: tuple[str, ...],
        task: str = "multiclass",
    ) -> None:
        super().__init__()
        self.model = model
        self.settings = settings
        self.class_names = class_names
        self.task = task
        self.loss = loss_of(task, settings, targets, len(class_names))
        self._logits: list[torch.Tensor] = []
        self._targets: list[torch.Tensor] = []
        self._loss_sum = 0.0

    def on_train_batch_start(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> None:
        """Seed dropout by epoch, step and process, whatever drew random numbers before."""
        further = (self.global_rank,) if self.global_rank else ()
        torch.manual_seed(seed_of(self.settings.seed, self.current_epoch, batch_idx, *further))

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
        """Loss of one batch."""
        images, targets = batch
        loss: torch.Tensor = self.loss(self.model(images), targets)
        several = self.trainer.world_size > 1
        self.log(
            "train_loss", loss, prog_bar=True, on_step=True, on_epoch=True, batch_size=len(targets), sync_dist=several
        )
        return loss

    def on_validation_epoch_start(self) -> None:
        """Forget the answers of the epoch before."""
        self._logits, self._targets, self._loss_sum = [], [], 0.0

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> None:
        """Keep the answers to one batch."""
        images, targets = batch
        logits = self.model(images).float()
        self._loss_sum += float(self.loss(logits, targets)) * len(targets)
        self._logits.append(logits.cpu())
        self._targets.append(targets.cpu())

    def on_validation_epoch_end(self) -> None:
        """Log accuracy, mean AUROC and loss over the whole split."""
        logits, targets, loss_sum = self._answers_of_all()
        answers = as_evaluation(logits, targets, self.class_names, self.task)
        # The same in all processes, since all have all answers.
        self.log("val_accuracy", answers.accuracy.value, prog_bar=True)
        self.log("val_auroc", answers.mean_auroc)
        self.log("val_loss", loss_sum / answers.count, prog_bar=True)

    def _answers_of_all(self) -> tuple[torch.Tensor, torch.Tensor, float]:
        """Logits and targets of the epoch in the order of the split, and the sum of the loss, over all processes."""
        own = torch.cat(self._logits), torch.cat(self._targets), self._loss_sum
        processes = self.trainer.world_size
        if processes == 1:
            return own
        parts: list[tuple[torch.Tensor, torch.Tensor, float]] = [own] * processes
        torch.distributed.all_gather_object(parts, own)
        order = torch.cat([torch.arange(len(part[0])) * processes + rank for rank, part in enumerate(parts)]).argsort()
        logits, targets, sums = zip(*parts, strict=True)
        return torch.cat(logits)[order], torch.cat(targets)[order], sum(sums)

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


class _SmoothedBCE(nn.BCEWithLogitsLoss):
    """Binary cross entropy whose targets are moved towards one half."""

    def __init__(self, smoothing: float, pos_weight: torch.Tensor | None) -> None:
        super().__init__(pos_weight=pos_weight)
        self.smoothing = smoothing

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Mean over images and findings."""
        return super().forward(logits, targets * (1 - self.smoothing) + self.smoothing / 2)


def loss_of(task: str, settings: TrainingSettings, targets: torch.Tensor, classes: int) -> nn.Module:
    """Loss of a task.

    Parameters
    ----------
    task : str
        "multiclass": cross entropy; "multilabel" and "binary": binary cross entropy of each finding.
    settings : TrainingSettings
        Its ``class_weights`` and ``label_smoothing`` are used.
    targets : torch.Tensor
        Of the training images.
    classes : int
        Number of outputs.
    """
    balanced, weight = settings.class_weights == "balanced", None
    if task == "multiclass":
        if balanced:
            counts = torch.bincount(targets, minlength=classes).float().clamp_min(1)
            weight = counts.sum() / (len(counts) * counts)
        return nn.CrossEntropyLoss(weight=weight, label_smoothing=settings.label_smoothing)
    if balanced:
        with_finding = targets.sum(dim=0)
        weight = (len(targets) - with_finding).clamp_min(1) / with_finding.clamp_min(1)
    return _SmoothedBCE(settings.label_smoothing, weight)


def rate_factor(step: int, steps: int, warmup: float, schedule: str) -> float:
    """Factor on the learning rate at a step.

    Parameters
    ----------
    step : int
        Number of the step, from 0.
    steps : int
        Number of all steps.
    warmup : float
        Share of the steps with a linear rise.
    schedule : str
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
