"""Models that a user's own Python code builds: ``FILE.py:NAME`` and ``package.module:NAME``.

Knows torch and this folder. It runs the code that the user names, as ``python FILE.py`` would.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from ..data.preprocessing import Preprocessing
from ..user_code import describe_error, load_callable, names_callable
from .base import Classifier, ModelSpec
from .timm import input_channels, timm_preprocessing

__all__ = ["SPEC", "call_for_model", "classifier_of"]


def call_for_model(spec: str) -> Classifier:
    """Call a function of the user's.

    Parameters
    ----------
    spec : str
        ``FILE.py:NAME`` or ``package.module:NAME``. NAME is a function or class that takes no arguments and returns a
        ``torch.nn.Module`` or a :class:`Classifier`, or such an object itself.

    Returns
    -------
    Classifier
        On the CPU; a module is completed by :func:`classifier_of`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError, TypeError
        If it cannot be imported, the name is missing, the code fails, or it returns something else.
    """
    made: Any = load_callable(spec)
    if not isinstance(made, nn.Module):  # a module is callable too, but with images
        try:
            made = made()
        except Exception as error:  # the user's code may raise anything
            raise ValueError(f"{spec!r}: {describe_error(error)}") from error
    if isinstance(made, Classifier):
        return replace(made, digest="")  # weights may have been loaded after it was made
    if not isinstance(made, nn.Module):
        raise TypeError(f"{spec!r} gave {type(made).__name__}; it must return a torch.nn.Module or a Classifier")
    try:
        return classifier_of(made)
    except ValueError as error:
        raise ValueError(f"{spec!r}: {error}") from error


def classifier_of(module: nn.Module) -> Classifier:
    """Complete a bare module by what can be found out about it.

    Parameters
    ----------
    module : torch.nn.Module
        Maps images to logits.

    Returns
    -------
    Classifier
        Preprocessing is timm's where timm built the module, otherwise 224 x 224 pixels, squashed, with ImageNet's mean
        and standard deviation. The number of outputs is found by a trial, and class names are the numbers of the
        outputs; one output is the task "binary", with the class name "positive", others are "multiclass". A model that
        needs anything else must come as a :class:`Classifier`.

    Raises
    ------
    ValueError
        If it does not take such images, or does not return logits ``(N, classes)``.
    """
    preprocessing = timm_preprocessing(module) if getattr(module, "pretrained_cfg", None) else Preprocessing()
    if preprocessing.channels == 3 and input_channels(module) == 1:
        preprocessing = replace(preprocessing, mean=(0.449,), std=(0.226,), channels=1)  # ImageNet's, of its channels
    parameter = next(module.parameters(), torch.empty(0))
    images = torch.zeros(1, preprocessing.channels, *preprocessing.size).to(parameter)
    module.eval()
    try:
        with torch.no_grad():
            logits = module(images)
    except Exception as error:  # whatever the module raises on images that it does not take
        raise ValueError(
            f"the model does not take images {tuple(images.shape)} ({describe_error(error)}); return a "
            "quantus_vit.Classifier with the preprocessing it needs"
        ) from error
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2 or not logits.shape[1]:
        got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise ValueError(f"the model must return logits (N, classes), and returned {got}")
    outputs = logits.shape[1]
    if outputs == 1:
        return Classifier(module, ("positive",), preprocessing, "binary")
    return Classifier(module, tuple(map(str, range(outputs))), preprocessing)


SPEC = ModelSpec(
    name="python",
    summary="a function of yours that returns a torch.nn.Module or a quantus_vit.Classifier",
    syntax="FILE.py:NAME or package.module:NAME",
    load=call_for_model,
    claims=names_callable,
)
"""The source of models that a user's code builds."""
