"""Models of timm: with its pretrained weights, or with a file of the user's.

Knows timm, which is imported when a model is loaded, and this folder.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..data.preprocessing import Preprocessing
from .architecture import build_timm_model, check_timm_name
from .base import Classifier, ModelSpec
from .weights import filtered, head_prefix, read_weights, state_problems

__all__ = ["SPEC", "input_channels", "load_timm", "preprocessing_of_name", "timm_preprocessing", "unique_names"]

_CROP_MODES = {"center": "crop", "squash": "squash", "border": "pad"}


def load_timm(name: str, weights: str | None = None) -> Classifier:
    """Load a timm model.

    Parameters
    ----------
    name : str
        Of a timm model, such as "vit_base_patch16_224.augreg_in1k".
    weights : str, optional
        A ``.safetensors`` file, or a file of ``torch.save``, which is read with ``weights_only=True``; None: timm's
        pretrained weights, from its cache or the network.

    Returns
    -------
    Classifier
        On the CPU. Preprocessing is that of timm's data configuration. Class names are those that the file holds under
        "class_names", for pretrained weights those of ImageNet where timm knows them, otherwise the numbers of the
        outputs. One output is a "binary" task, others are "multiclass".

    Raises
    ------
    FileNotFoundError
        If there is no such weights file.
    ValueError
        If timm has no such model, or the weights cannot be had, do not fit or have no classifier.
    """
    if weights is None:
        model = build_timm_model(name, pretrained=True)
        names = _imagenet_names(model)
    else:
        model, names = _with_weights(name, weights)
    outputs = int(getattr(model, "num_classes", 0))
    if outputs < 1:
        raise ValueError(
            f"{name!r} has no classifier in timm; fine-tune one with `quantus-vit train --model {name}`, or give "
            f"weights that have one as timm:{name}@FILE"
        )
    names = names or tuple(map(str, range(outputs)))
    if len(names) != outputs:
        raise ValueError(f"{weights!r} names {len(names)} classes ({', '.join(names)}) but its head has {outputs}")
    return Classifier(model, names, timm_preprocessing(model), "binary" if outputs == 1 else "multiclass")


def timm_preprocessing(model: nn.Module) -> Preprocessing:
    """Preprocessing of a model that timm built, by its data configuration.

    Raises
    ------
    ValueError
        If the configuration asks for what :class:`Preprocessing` has not.
    """
    from timm.data import resolve_model_data_config

    return _preprocessing(resolve_model_data_config(model), input_channels(model))


def _preprocessing(config: Mapping[str, Any], channels: int) -> Preprocessing:
    _, rows, columns = config["input_size"]
    mode = config.get("crop_mode") or "center"
    if mode not in _CROP_MODES:
        raise ValueError(f"timm prepares images for this model by the crop mode {mode!r}; known: {list(_CROP_MODES)}")
    return Preprocessing(
        size=(rows, columns),
        resize=_CROP_MODES[mode],
        crop_fraction=config["crop_pct"],
        interpolation=config["interpolation"],
        mean=_by_channel(config["mean"], channels),
        std=_by_channel(config["std"], channels),
        channels=channels,
        fill=None,  # timm's border holds the mean
    )


def preprocessing_of_name(name: str) -> Preprocessing:
    """Preprocessing of a timm model by its name alone, without building it.

    Raises
    ------
    ValueError
        If timm has no such model, or its configuration asks for what :class:`Preprocessing` has not.
    """
    check_timm_name(name)
    from timm.data import resolve_data_config
    from timm.models import get_pretrained_cfg

    config = get_pretrained_cfg(name)
    values = config.to_dict() if config is not None else {}
    return _preprocessing(resolve_data_config(pretrained_cfg=values), channels=3)


def input_channels(model: nn.Module) -> int:
    """Channels of the images that a model takes: those of its first convolution, 3 without one."""
    return next((module.in_channels for module in model.modules() if isinstance(module, nn.Conv2d)), 3)


def _by_channel(values: Sequence[float], channels: int) -> tuple[float, ...]:
    """Of three numbers three, or their mean for a model of one channel."""
    return tuple(values) if channels == len(values) else (sum(values) / len(values),) * channels


def unique_names(names: Sequence[str]) -> tuple[str, ...]:
    """Add the number of the output to names that occur more than once, as "crane" does in ImageNet."""
    counts = Counter(names)
    return tuple(f"{name} ({index})" if counts[name] > 1 else name for index, name in enumerate(names))


def _imagenet_names(model: nn.Module) -> tuple[str, ...] | None:
    """Names of the classes that timm's pretrained head has, where they are a subset of ImageNet that timm knows."""
    from timm.data import ImageNetInfo, infer_imagenet_subset

    subset = infer_imagenet_subset(model)
    if not subset:
        return None
    info = ImageNetInfo(subset)
    return unique_names([info.index_to_description(index) for index in range(info.num_classes())])


def _with_weights(name: str, path: str) -> tuple[nn.Module, tuple[str, ...] | None]:
    """The model with as many outputs as the file's head, and the class names that the file holds."""
    weights = read_weights(path)
    model = build_timm_model(name)
    _check_position_embedding(model, weights.state, path)
    state = filtered(weights.state, model)
    bias, weight = (state.get(f"{head_prefix(model)}{part}") for part in ("bias", "weight"))
    head = bias if bias is not None else weight
    if head is None:
        raise ValueError(
            f"{path!r} has no classifier ({head_prefix(model)}weight is missing); fine-tune one with `quantus-vit "
            f"train --model {name} --weights {path}`"
        )
    if not head.ndim or not 1 <= len(head) <= 10**6:
        raise ValueError(f"the classifier in {path!r} has the shape {tuple(head.shape)}")
    model.reset_classifier(len(head))  # type: ignore[operator]
    problems = state_problems(model.state_dict(), state)
    if problems:
        raise ValueError(f"the weights in {path!r} do not fit {name!r}: {'; '.join(problems)}")
    model.load_state_dict(state)
    return model, weights.class_names


def _check_position_embedding(model: nn.Module, state: Mapping[str, torch.Tensor], path: str) -> None:
    """Refuse weights of another image size: timm would resample them, which makes another model."""
    expected, found = model.state_dict().get("pos_embed"), state.get("pos_embed")
    if expected is None or found is None or found.ndim != expected.ndim or found.shape == expected.shape:
        return
    if expected.ndim == 3 and found.shape[1] == expected.shape[1]:
        return  # of another width: all shapes are compared later
    raise ValueError(
        f"{path!r} was trained at another image size: its position embedding is {tuple(found.shape)}, that of "
        f"{type(model).__name__} {tuple(expected.shape)}; give a function that builds your model with its img_size, as "
        "FILE.py:NAME"
    )


def _load(spec: str) -> Classifier:
    """Load ``timm:NAME`` or ``timm:NAME@FILE``."""
    name, separator, path = spec.removeprefix("timm:").partition("@")
    if not name or (separator and not path):
        raise ValueError(f"{spec!r} should be timm:NAME or timm:NAME@FILE")
    return load_timm(name, str(Path(path).expanduser()) if path else None)


SPEC = ModelSpec(
    name="timm",
    summary="a timm model with its pretrained weights, or with a weights file",
    syntax="timm:NAME[@FILE]",
    load=_load,
)
"""The source of timm's models."""
