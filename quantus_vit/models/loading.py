"""From a SPEC to a :class:`Classifier`, through the table of model sources.

Knows the table. It may not know any source of models.
"""

from __future__ import annotations

import os
from dataclasses import replace

import torch

from .base import MODELS, Classifier, ModelSpec

__all__ = ["load_model"]


def load_model(spec: str | os.PathLike[str], device: str | torch.device = "cpu") -> Classifier:
    """Load a model from wherever it comes.

    Parameters
    ----------
    spec : str or path
        ``FILE.safetensors`` (written by ``quantus-vit train``), ``timm:NAME`` or ``timm:NAME@FILE``,
        ``hf:FOLDER_OR_ID``, ``FILE.py:NAME`` or ``package.module:NAME``, or what another package adds to the table
        :data:`~quantus_vit.models.MODELS`.
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
    loaded = _source_of(text).load(text)
    return replace(loaded, module=loaded.module.to(target), source=loaded.source or text)


def _source_of(text: str) -> ModelSpec:
    prefix, colon, _ = text.partition(":")
    if colon and prefix in MODELS:
        return MODELS[prefix]
    for source in MODELS:
        if source.claims is not None and source.claims(text):
            return source
    forms = "; ".join(f"{source.syntax} ({source.summary})" for source in MODELS)
    raise ValueError(f"{text!r} names no model; a model is given as {forms}")


def _device(device: str | torch.device) -> torch.device:
    try:
        return torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"torch has no device {device!r}; take 'cpu', 'cuda' or 'mps'") from error
