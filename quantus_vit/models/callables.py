"""Models that a user's own Python code builds: ``FILE.py:NAME`` and ``package.module:NAME``.

Knows torch and this folder. It runs the code that the user names, as ``python FILE.py`` would.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from ..data.preprocessing import Preprocessing
from .base import Classifier, ModelSpec
from .timm import input_channels, timm_preprocessing

__all__ = ["SPEC", "classifier_of", "load_callable"]


def load_callable(spec: str) -> Classifier:
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
    ImportError
        If there is no such module.
    ValueError, TypeError
        If the name is missing, the code fails, or it returns something else.
    """
    place, _, name = spec.rpartition(":")
    module = _import_file(place) if place.endswith(".py") else _import_module(place)
    if not hasattr(module, name):
        public = [key for key in vars(module) if not key.startswith("_") and callable(getattr(module, key))]
        raise ValueError(f"{place!r} has no {name!r}; it has: {', '.join(public) or 'nothing that can be called'}")
    made = getattr(module, name)
    if callable(made) and not isinstance(made, nn.Module):
        try:
            made = made()
        except Exception as error:  # the user's code may raise anything
            raise ValueError(f"{spec!r}: {_told(error)}") from error
    if isinstance(made, Classifier):
        return made
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
            f"the model does not take images {tuple(images.shape)} ({_told(error)}); return a quantus_vit.Classifier "
            "with the preprocessing it needs"
        ) from error
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2 or not logits.shape[1]:
        got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise ValueError(f"the model must return logits (N, classes), and returned {got}")
    outputs = logits.shape[1]
    if outputs == 1:
        return Classifier(module, ("positive",), preprocessing, "binary")
    return Classifier(module, tuple(map(str, range(outputs))), preprocessing)


def _import_file(place: str) -> ModuleType:
    path = Path(place).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"no Python file {place!r}")
    name = f"_quantus_vit_model_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{place!r} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look a class's module up here
    sys.path.insert(0, str(path.parent.resolve()))  # so that the file can import its neighbours, as a script does
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the user's code may raise anything
        del sys.modules[name]
        raise ValueError(f"{place!r} cannot be run: {_told(error)}") from error
    finally:
        sys.path.remove(str(path.parent.resolve()))
    return module


def _import_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"cannot import {name!r} ({error}); is it installed, or should it be FILE.py:NAME?"
        ) from error
    except Exception as error:  # whatever a module's import raises
        raise ValueError(f"{name!r} cannot be imported: {_told(error)}") from error


def _told(error: BaseException) -> str:
    """An exception in one line, with the line of code that it came from."""
    message = (str(error).strip().splitlines() or [""])[0]
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{f': {message}' if message else ''}{where}"


def _claims(text: str) -> bool:
    place, separator, name = text.rpartition(":")
    return bool(separator) and name.isidentifier() and (place.endswith(".py") or _is_dotted(place))


def _is_dotted(text: Any) -> bool:
    return all(part.isidentifier() for part in text.split("."))


SPEC = ModelSpec(
    name="python",
    summary="a function of yours that returns a torch.nn.Module or a quantus_vit.Classifier",
    syntax="FILE.py:NAME or package.module:NAME",
    load=load_callable,
    claims=_claims,
)
"""The source of models that a user's code builds."""
