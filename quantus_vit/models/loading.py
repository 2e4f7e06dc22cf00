"""From a SPEC to a :class:`Classifier`, through the table of model sources.

Knows the table. It may not know any source of models.
"""

from __future__ import annotations

import os
from dataclasses import replace

import torch

from .base import MODELS, Classifier

__all__ = ["load_model"]


def load_model(spec: str | os.PathLike[str], device: str | torch.device = "cpu") -> Classifier:
    """Load a model from wherever it comes.

    Parameters
    ----------
    spec : str or path
        ``FILE.safetensors`` (written by ``quantus-vit train``), or what another source of the table
        :data:`~quantus_vit.models.MODELS` claims.
    device : str or torch.device
        Where to put the model.

    Returns
    -------
    Classifier
        In evaluation mode.

    Raises
    ------
    FileNotFoundError
        If a file that the SPEC names is missing.
    ImportError
        If a package is missing that the source needs.
    ValueError, TypeError
        If no source claims the SPEC, or what it names is no usable model; in words.
    """
    text = os.fspath(spec)
    target = _device(device)
    for source in MODELS:
        if source.claims(text):
            loaded = source.load(text)
            return replace(loaded, module=loaded.module.to(target), source=loaded.source or text)
    forms = "; ".join(f"{source.syntax} ({source.summary})" for source in MODELS)
    raise ValueError(f"{text!r} names no model; a model is given as {forms}")


def _device(device: str | torch.device) -> torch.device:
    try:
        return torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"torch has no device {device!r}; take 'cpu', 'cuda' or 'mps'") from error
