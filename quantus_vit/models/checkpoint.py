"""Self-contained model files: weights and the recipe to rebuild the model, in one ``.safetensors``.

Knows torch, timm and safetensors. It may not know Lightning: whoever explains a model need not be able to train one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from ..data.conventions import CLASS_NAMES
from ..data.preprocessing import Preprocessing
from .architecture import build_timm_model, check_model_kwargs, check_takes_images
from .base import Classifier, ModelSpec, check_class_names
from .weights import state_problems

__all__ = ["METADATA_KEY", "SPEC", "ModelConfig", "build_model", "load_checkpoint", "save_checkpoint"]

METADATA_KEY = "quantus_vit"
"""Key of the safetensors metadata under which the configuration lies, as JSON."""


@dataclass(frozen=True)
class ModelConfig:
    """All that is needed to rebuild a model and to feed it.

    Parameters
    ----------
    architecture : str
        Name of a timm model that takes ``img_size``, such as "vit_base_patch16_224".
    model_kwargs : dict
        Further arguments of ``timm.create_model``, such as ``{"depth": 4}``; those that
        :func:`~.architecture.check_model_kwargs` lets pass.
    class_names : tuple of str
        Names of the outputs in their order.
    preprocessing : Preprocessing
        How the model wants its images.
    task : str
        "multiclass", "multilabel" or "binary", see :class:`Classifier`.
    training : dict
        How it was trained: settings and measured numbers, for the reader alone; nothing depends on it.

    Raises
    ------
    TypeError, ValueError
        A field that makes no sense; the message names it.
    """

    architecture: str
    model_kwargs: dict[str, Any] = field(default_factory=dict)
    class_names: tuple[str, ...] = CLASS_NAMES
    preprocessing: Preprocessing = Preprocessing()  # noqa: RUF009 (frozen)
    task: str = "multiclass"
    training: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the fields: a configuration may come from a file of anybody's."""
        if not isinstance(self.architecture, str):
            raise TypeError(f"architecture must be the name of a timm model, got {self.architecture!r}")
        if not isinstance(self.preprocessing, Preprocessing):
            raise TypeError(f"preprocessing must be a Preprocessing, got {self.preprocessing!r}")
        if not isinstance(self.training, dict):
            raise TypeError(f"training must be a mapping, got {self.training!r}")
        check_model_kwargs(self.model_kwargs)
        object.__setattr__(self, "class_names", check_class_names(self.class_names, self.task))

    @property
    def image_size(self) -> int:
        """Side of the square input in pixels.

        Raises
        ------
        ValueError
            The input is no square.
        """
        rows, columns = self.preprocessing.size
        if rows != columns:
            raise ValueError(f"the model's input is no square, but {rows} x {columns} pixels")
        return rows

    def to_json(self, indent: int | None = None) -> str:
        """Write the configuration as JSON."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return json.dumps({**values, "preprocessing": self.preprocessing.to_dict()}, indent=indent)

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
            known = [item.name for item in fields(cls)]
            unknown = sorted(values.keys() - set(known)) if isinstance(values, dict) else []
            if unknown:
                raise ValueError(f"it has no {unknown[0]!r}; there are: {', '.join(known)}")
            return cls(**{**values, "preprocessing": Preprocessing.from_dict(values["preprocessing"])})
        except KeyError as error:
            raise ValueError(f"not the configuration of a quantus-vit model: {error} is missing") from error
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"not the configuration of a quantus-vit model: {error}") from error


def build_model(config: ModelConfig, pretrained: bool = False) -> nn.Module:
    """Create the timm model of a configuration.

    Parameters
    ----------
    config : ModelConfig
        What to build; one output for each of its class names.
    pretrained : bool
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
    rows, columns = config.preprocessing.size
    arguments = {"img_size": rows if rows == columns else (rows, columns), **config.model_kwargs}
    if config.preprocessing.channels != 3:
        arguments["in_chans"] = config.preprocessing.channels
    return build_timm_model(config.architecture, pretrained, **arguments, num_classes=len(config.class_names))


def save_checkpoint(path: str | os.PathLike[str], model: nn.Module, config: ModelConfig) -> Path:
    """Write weights and configuration to one file.

    Parameters
    ----------
    path : str or path
        File to write, by custom ``*.safetensors``; its folder is created where missing.
    model : torch.nn.Module
        A model that ``build_model(config)`` could have made.
    config : ModelConfig
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
    path : str or path
        The ``.safetensors`` file. It may come from anybody: nothing in it is executed, and only known-harmless
        arguments reach timm.
    device : str or torch.device
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
    metadata, tensors = _read(path)
    if METADATA_KEY not in metadata:
        raise ValueError(
            f"{str(path)!r} holds weights but not the configuration of a quantus-vit model; give plain weights of a "
            f"timm model as timm:NAME@{path}"
        )
    try:
        config = ModelConfig.from_json(metadata[METADATA_KEY])
        _check_dimensions(config, tensors)
        model = build_model(config)
        check_takes_images(model, config.preprocessing)
    except ValueError as error:
        raise ValueError(f"cannot load {str(path)!r}: {error}") from error
    problems = state_problems(model.state_dict(), tensors)
    if problems:
        raise ValueError(f"the weights in {str(path)!r} do not fit {config.architecture!r}: {'; '.join(problems)}")
    model.load_state_dict(tensors)
    return model.to(device).eval(), config


def _read(path: Path) -> tuple[Mapping[str, str], dict[str, torch.Tensor]]:
    """Metadata and tensors of a safetensors file."""
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, RuntimeError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{str(path)!r} is no safetensors file: {error}") from error


def _check_dimensions(config: ModelConfig, tensors: Mapping[str, torch.Tensor]) -> None:
    """Refuse a model that is larger than the weights in the file, before it takes the memory.

    Every width is a dimension of some tensor, and there are more tensors than blocks.
    """
    largest = max([len(tensors), *(side for tensor in tensors.values() for side in tensor.shape)], default=0)
    for name, value in config.model_kwargs.items():
        for number in value if isinstance(value, list | tuple) else [value]:
            if isinstance(number, int | float) and number > largest:
                raise ValueError(f"the model's {name}={value!r} does not go with weights of at most {largest} rows")


def _load(spec: str) -> Classifier:
    """Load ``FILE.safetensors``."""
    model, config = load_checkpoint(spec)
    return Classifier(model, config.class_names, config.preprocessing, config.task, source=spec)


SPEC = ModelSpec(
    name="checkpoint",
    summary="a file written by `quantus-vit train`",
    syntax="FILE.safetensors",
    load=_load,
    claims=lambda text: text.lower().endswith(".safetensors"),
)
"""The source of our own model files."""
