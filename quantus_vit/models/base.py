"""What a model is to the rest of the package: a :class:`Classifier`, and the open table of where models come from.

Knows torch, the preprocessing and the tables. It may not know timm, Hugging Face or any other source of models.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import nn

from ..data.base import TASKS
from ..data.preprocessing import Preprocessing
from ..tables import Table

__all__ = ["LINKS", "MODELS", "Classifier", "Link", "ModelSpec", "check_class_names", "weights_digest"]

Link: TypeAlias = Literal["softmax", "sigmoid"]

LINKS: dict[str, Link] = {"multiclass": "softmax", "multilabel": "sigmoid", "binary": "sigmoid"}
"""How logits become probabilities, by task."""


@dataclass(frozen=True, eq=False)
class Classifier:
    """A model with all that is needed to feed it and to read its answers.

    Parameters
    ----------
    module : torch.nn.Module
        Maps ``(N, C, H, W)`` to logits ``(N, len(class_names))``. It is put into evaluation mode.
    class_names : tuple of str
        Names of the outputs in their order, all different. A "binary" model has one output, and so one name: that of
        what a positive logit speaks for.
    preprocessing : Preprocessing
        How the model wants its images.
    task : str
        "multiclass" (one of the classes; softmax), "multilabel" (any number of findings; a sigmoid each) or "binary"
        (one logit, sigmoid).
    source : str
        Where the model came from, for reports: usually the SPEC of :func:`quantus_vit.load_model`.
    digest : str
        Identifies the weights, see :func:`weights_digest`; computed where it is left out.

    Raises
    ------
    TypeError, ValueError
        Fields that contradict each other; the message says which.
    """

    module: nn.Module
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    task: str = "multiclass"
    source: str = ""
    digest: str = ""

    def __post_init__(self) -> None:
        """Check the fields and put the module into evaluation mode."""
        if not isinstance(self.module, nn.Module):
            raise TypeError(f"module must be a torch.nn.Module, got {type(self.module).__name__}")
        if not isinstance(self.preprocessing, Preprocessing):
            raise TypeError(f"preprocessing must be a Preprocessing, got {type(self.preprocessing).__name__}")
        object.__setattr__(self, "class_names", check_class_names(self.class_names, self.task))
        self.module.eval()
        if not self.digest:
            object.__setattr__(self, "digest", weights_digest(self.module))

    @property
    def link(self) -> Link:
        """How logits become probabilities: "softmax" or "sigmoid"."""
        return LINKS[self.task]

    def probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """Probabilities of the classes.

        Parameters
        ----------
        logits : torch.Tensor
            ``(N, len(class_names))``.

        Returns
        -------
        torch.Tensor
            Same shape; rows sum to 1 for "multiclass" only.
        """
        return logits.softmax(dim=-1) if self.link == "softmax" else logits.sigmoid()


def check_class_names(names: object, task: object) -> tuple[str, ...]:
    """Class names as a tuple, refused where they cannot be those of a task's outputs.

    Raises
    ------
    TypeError
        ``names`` is no sequence of non-empty strings.
    ValueError
        An unknown task, equal names, or a number of them that does not go with the task.
    """
    if not isinstance(task, str) or task not in LINKS:
        raise ValueError(f"task must be one of {', '.join(map(repr, TASKS))}, got {task!r}")
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) and name.strip() for name in names):
        raise TypeError(f"class names must be non-empty strings, got {names!r}")
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        raise ValueError(f"class names must differ, got {', '.join(map(repr, repeated))} more than once")
    if task == "binary" and len(names) != 1:
        raise ValueError(f"a binary model has one output, and so one class name (the finding's), got {list(names)!r}")
    if task == "multiclass" and len(names) < 2:
        raise ValueError(
            f"a multiclass model has at least 2 classes, got {list(names)!r}; for one logit, task='binary'"
        )
    if not names:
        raise ValueError("a multilabel model needs at least one class name, got none")
    return tuple(names)


def weights_digest(module: nn.Module) -> str:
    """Identify a model by its parameters and buffers.

    Parameters
    ----------
    module : torch.nn.Module

    Returns
    -------
    str
        16 hexadecimal digits of a SHA-256 over the class's name and the names, types, shapes and bytes of the state.
        What a ``forward`` computes with them is not covered.
    """
    digest = hashlib.sha256(type(module).__name__.encode())
    for name, tensor in sorted(module.state_dict().items()):
        if isinstance(tensor, torch.Tensor):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class ModelSpec:
    """One place that models come from.

    Parameters
    ----------
    name : str
        Such as "timm". A text that begins with it and a colon is this source's.
    summary : str
        One line for the help.
    syntax : str
        What a user types, such as "timm:NAME[@FILE]".
    load : callable
        From the whole text to a :class:`Classifier` on the CPU.
    claims : callable, optional
        Whether a text without such a beginning is this source's too, as one that ends in ".safetensors" is.
    """

    name: str
    summary: str
    syntax: str
    load: Callable[[str], Classifier]
    claims: Callable[[str], bool] | None = None


MODELS: Table[ModelSpec] = Table("model source", ModelSpec, "quantus_vit.models")
"""All places that models come from; filled by :mod:`quantus_vit.models`, open to other packages."""
