"""Self-contained model files: weights and the recipe to rebuild the model, in one ``.safetensors``.

Knows torch, timm and safetensors. It may not know Lightning: whoever explains a model need not be able to train one.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from ..data.conventions import CLASS_NAMES, IMAGENET_MEAN, IMAGENET_STD
from ..data.preprocessing import Preprocessing
from .base import Classifier, ModelSpec

__all__ = ["METADATA_KEY", "SPEC", "ModelConfig", "build_model", "load_checkpoint", "save_checkpoint"]

METADATA_KEY = "quantus_vit"
"""Key of the safetensors metadata under which the configuration lies, as JSON."""


@dataclass(frozen=True)
class ModelConfig:
    """All that is needed to rebuild a model and to feed it.

    Parameters
    ----------
    architecture
        Name of a timm model that takes ``img_size``, such as "vit_base_patch16_224".
    model_kwargs
        Further arguments of ``timm.create_model``, such as ``{"depth": 4}``. Must survive JSON.
    class_names
        Names of the outputs in their order.
    image_size
        Side of the square input in pixels.
    mean, std
        Normalisation per channel of the input.
    training
        How it was trained: settings and measured accuracy, for the reader alone; nothing depends on it.
    """

    architecture: str
    model_kwargs: dict[str, Any] = field(default_factory=dict)
    class_names: tuple[str, ...] = CLASS_NAMES
    image_size: int = 224
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    training: dict[str, Any] = field(default_factory=dict)

    def to_json(self, indent: int | None = None) -> str:
        """Write the configuration as JSON."""
        return json.dumps(asdict(self), indent=indent)

    @classmethod
    def from_json(cls, text: str) -> ModelConfig:
        """Read what :meth:`to_json` wrote.

        Raises
        ------
        ValueError
            If the text is no JSON object, or its fields are not those of this class.
        """
        try:
            values = json.loads(text)
            for name in ("class_names", "mean", "std"):
                values[name] = tuple(values[name])
            return cls(**values)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not the configuration of a quantus-vit model: {error}") from error


def build_model(config: ModelConfig, pretrained: bool = False) -> nn.Module:
    """Create the timm model of a configuration.

    Parameters
    ----------
    config
        What to build; one output for each of its class names.
    pretrained
        Ask timm for its pretrained weights; needs a network, or timm's cache.

    Returns
    -------
    torch.nn.Module
        In training mode, on the CPU.

    Raises
    ------
    ValueError
        If timm does not know the name, the model does not take the arguments, or pretrained weights cannot be had.
    """
    import timm  # takes seconds, which --help and --version should not

    if not timm.is_model(config.architecture):
        similar = difflib.get_close_matches(config.architecture, timm.list_models(), n=3)
        hint = f"; similar names: {', '.join(similar)}" if similar else "; timm.list_models('*vit*') lists names"
        raise ValueError(f"timm {timm.__version__} has no model {config.architecture!r}{hint}")
    arguments = {"img_size": config.image_size, **config.model_kwargs, "num_classes": len(config.class_names)}
    try:
        model: nn.Module = timm.create_model(config.architecture, pretrained=pretrained, **arguments)
    except (TypeError, AssertionError) as error:
        raise ValueError(f"timm cannot build {config.architecture!r} with {arguments}: {error}") from error
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise
        raise ValueError(
            f"no pretrained weights for {config.architecture!r}, is there a network? Without one, give a file with "
            f"--weights FILE, or --weights none to train from scratch. ({_first_line(error)})"
        ) from error
    return model


def save_checkpoint(path: str | os.PathLike[str], model: nn.Module, config: ModelConfig) -> Path:
    """Write weights and configuration to one file.

    Parameters
    ----------
    path
        File to write, by custom ``*.safetensors``; its folder is created where missing.
    model
        A model that ``build_model(config)`` could have made.
    config
        The recipe.

    Returns
    -------
    pathlib.Path
        The file written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, path, metadata={METADATA_KEY: config.to_json()})
    return path


def load_checkpoint(path: str | os.PathLike[str], device: str | torch.device = "cpu") -> tuple[nn.Module, ModelConfig]:
    """Rebuild a model from a file that :func:`save_checkpoint` wrote.

    Parameters
    ----------
    path
        The ``.safetensors`` file.
    device
        Where to put the model.

    Returns
    -------
    model : torch.nn.Module
        In evaluation mode, float32.
    config : ModelConfig
        Its configuration.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is none of ours, or its weights do not fit the model it describes.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"no checkpoint file {str(path)!r}; `quantus-vit train --out DIR` writes DIR/model.safetensors"
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except SafetensorError as error:
        raise ValueError(f"{str(path)!r} is no safetensors file: {error}") from error
    if METADATA_KEY not in metadata:
        raise ValueError(
            f"{str(path)!r} holds weights but not the configuration of a quantus-vit model; plain weights go to "
            "`quantus-vit train --weights FILE`, whose output can be loaded"
        )
    config = ModelConfig.from_json(metadata[METADATA_KEY])
    model = build_model(config)
    problems = state_problems(model.state_dict(), tensors)
    if problems:
        raise ValueError(f"the weights in {str(path)!r} do not fit {config.architecture!r}: {'; '.join(problems)}")
    model.load_state_dict(tensors)
    return model.to(device).eval(), config


def _load(spec: str) -> Classifier:
    """Load ``FILE.safetensors``."""
    model, config = load_checkpoint(spec)
    preprocessing = Preprocessing(
        size=(config.image_size, config.image_size), mean=config.mean, std=config.std, channels=len(config.mean)
    )
    return Classifier(model, config.class_names, preprocessing, source=spec)


SPEC = ModelSpec(
    name="checkpoint",
    summary="written by `quantus-vit train`",
    syntax="FILE.safetensors",
    claims=lambda text: text.lower().endswith(".safetensors"),
    load=_load,
)
"""The source of our own model files."""


def state_problems(expected: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor]) -> list[str]:
    """Say in words how two state dicts differ: missing keys, unexpected keys, other shapes; empty if they fit."""
    missing = sorted(expected.keys() - found.keys())
    unexpected = sorted(found.keys() - expected.keys())
    shapes = [
        f"{name} is {tuple(found[name].shape)} instead of {tuple(expected[name].shape)}"
        for name in sorted(expected.keys() & found.keys())
        if found[name].shape != expected[name].shape
    ]
    named = (("missing keys", missing), ("unexpected keys", unexpected), ("other shapes", shapes))
    return [f"{len(names)} {what} ({_shorten(names)})" for what, names in named if names]


def _shorten(names: list[str], limit: int = 4) -> str:
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
