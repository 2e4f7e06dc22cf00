"""Image classifiers of Hugging Face's transformers, from a folder or the hub. Needs the extra ``hf``.

Knows transformers, which is imported when a model is loaded. It never runs code that comes with a model.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from ..data.preprocessing import Preprocessing
from .base import Classifier, ModelSpec
from .timm import unique_names

__all__ = ["SPEC", "LogitsOnly", "huggingface_preprocessing", "load_huggingface"]

_RESAMPLINGS = {0: "nearest", 2: "bilinear", 3: "bicubic"}
_CONVNEXT_SIZE = 384  # from here on ConvNeXT's processor squashes
_TOLERANCE = 0.02  # of the grey scale: resampling of torchvision and Pillow differ by rounding


class LogitsOnly(nn.Module):
    """A classifier of transformers that returns its logits alone, as other models do.

    Parameters
    ----------
    model : torch.nn.Module
        Takes ``pixel_values`` and returns an output with ``logits``.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits ``(N, classes)`` of images ``(N, C, H, W)``."""
        logits: torch.Tensor = self.model(pixel_values=images).logits
        return logits


def load_huggingface(name: str) -> Classifier:
    """Load ``AutoModelForImageClassification`` with its image processor.

    Parameters
    ----------
    name : str
        A folder that ``save_pretrained`` wrote, of model and image processor; or a name on the hub, which needs a
        network or its cache.

    Returns
    -------
    Classifier
        On the CPU, its module a :class:`LogitsOnly`. Class names are those of ``id2label``; the task follows
        ``problem_type`` and the number of labels.

    Raises
    ------
    FileNotFoundError
        If ``name`` looks like a folder and is none.
    ImportError
        If transformers is not installed.
    ValueError
        If there is no such model, its code is not part of transformers, or its images are prepared in a way that
        :class:`Preprocessing` has not.
    """
    if importlib.util.find_spec("transformers") is None:
        raise ImportError("hf: models need transformers: pip install 'quantus-vit[hf]'")
    if name.startswith((".", "/", "~")) and not Path(name).expanduser().is_dir():
        raise FileNotFoundError(f"no folder {name!r} with a Hugging Face model")
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    place = str(Path(name).expanduser()) if Path(name).expanduser().is_dir() else name
    try:
        model, report = AutoModelForImageClassification.from_pretrained(
            place, trust_remote_code=False, output_loading_info=True
        )
        processor = AutoImageProcessor.from_pretrained(place, trust_remote_code=False)
    except Exception as error:  # transformers has no class of its own for what is wrong with a model
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"transformers cannot load {name!r}: {reason}") from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise ValueError(
            f"{name!r} has no weights for {', '.join(missing[:3])}, which transformers would draw at random; give a "
            "fine-tuned image classifier"
        )
    outputs = int(model.config.num_labels)
    names = unique_names([str(model.config.id2label.get(index, index)) for index in range(outputs)])
    channels = int(getattr(model.config, "num_channels", 3))
    return Classifier(
        LogitsOnly(model), names, huggingface_preprocessing(processor, channels), _task(model.config, outputs)
    )


def _task(config: Any, outputs: int) -> str:
    problem = config.problem_type
    if problem == "regression":
        raise ValueError("the model's problem_type is 'regression'; classifiers alone are explained")
    if problem == "multi_label_classification":
        return "multilabel"
    return "binary" if outputs == 1 else "multiclass"


def huggingface_preprocessing(processor: Any, channels: int = 3) -> Preprocessing:
    """Preprocessing of an image processor of transformers.

    Parameters
    ----------
    processor : transformers.BaseImageProcessor
    channels : int
        1 or 3.

    Raises
    ------
    ValueError
        If it does what :class:`Preprocessing` has not; the message names it.

    Notes
    -----
    Known are processors that squash to a size; that bring the shortest side to a length and cut the centre; and that
    cut the centre of an image by ``crop_pct``. Whatever the settings say, the result is compared with the processor's
    own on test pictures, and refused where it differs.
    """
    values: Mapping[str, Any] = processor.to_dict()
    normalises = values.get("do_normalize", True)
    resample = values.get("resample")
    interpolation = _RESAMPLINGS.get(2 if resample is None else int(resample))
    if interpolation is None:
        raise ValueError(f"the image processor resamples by Pillow's number {resample}; known: {_RESAMPLINGS}")
    preprocessing = Preprocessing(
        **_geometry(values),
        interpolation=interpolation,
        mean=_by_channel(values.get("image_mean") if normalises else 0.0, channels),
        std=_by_channel(values.get("image_std") if normalises else 1.0, channels),
        channels=channels,
    )
    _check_on_pictures(preprocessing, processor)
    return preprocessing


def _check_on_pictures(preprocessing: Preprocessing, processor: Any) -> None:
    """Refuse a preprocessing that makes something else of a picture than the processor does.

    The pictures are ramps with waves, some three grey levels a pixel: another resampling, or half a pixel more or
    less, changes little, another size, crop or scale much.
    """
    for shape in ((200, 300), (331, 257)):
        rows, columns = (np.linspace(0, 1, length, dtype=np.float32) for length in shape)
        grey = 0.1 + 0.5 * rows[:, None] + 0.2 * columns[None, :] + 0.1 * np.sin(20 * columns)[None, :]
        levels = np.rint(grey * 255).astype(np.uint8)
        picture = Image.fromarray(levels)
        if preprocessing.channels == 3:
            picture = picture.convert("RGB")
        expected = torch.as_tensor(processor(images=picture, return_tensors="pt")["pixel_values"][0])
        ours = preprocessing.image(levels.astype(np.float32) / np.float32(255))
        if expected.shape != ours.shape:
            raise ValueError(
                f"the image processor {type(processor).__name__} makes {tuple(expected.shape)} of an image of {shape}, "
                f"and its settings say {tuple(ours.shape)}; wrap the model in a function (FILE.py:NAME) that returns a "
                "Classifier with the preprocessing you want"
            )
        difference = float(((ours - expected).abs() * preprocessing.std[0]).max())
        if difference > _TOLERANCE:
            raise ValueError(
                f"the image processor {type(processor).__name__} prepares images otherwise than its settings say (by "
                f"{difference:.3f} of the grey scale); wrap the model in a function (FILE.py:NAME) that returns a "
                "Classifier with the preprocessing you want"
            )


def _by_channel(values: Any, channels: int) -> tuple[float, ...]:
    numbers = list(values) if isinstance(values, list | tuple) else [values] * channels
    return tuple(float(number) for number in numbers[:channels])


def _geometry(values: Mapping[str, Any]) -> dict[str, Any]:
    """Size, resize and crop fraction."""
    if not values.get("do_resize", True):
        raise ValueError("the image processor does not resize (do_resize is off), so that the input has no fixed size")
    size, crop = _sides(values.get("size")), _sides(values.get("crop_size"))
    if isinstance(size, int) and values.get("crop_pct"):  # ConvNeXT's
        if size >= _CONVNEXT_SIZE:
            return {"size": (size, size), "resize": "squash"}
        return {"size": (size, size), "resize": "crop", "crop_fraction": float(values["crop_pct"])}
    if not values.get("do_center_crop"):
        if isinstance(size, tuple):
            return {"size": size, "resize": "squash"}
        raise ValueError(f"the image processor's size {values.get('size')!r} gives inputs of changing shape")
    target = (crop, crop) if isinstance(crop, int) else crop
    if target is None or size is None:
        raise ValueError(f"the image processor crops to {values.get('crop_size')!r}; a height and a width are needed")
    resized = (size, size) if isinstance(size, int) else size
    fractions = {round(part / whole, 6) for part, whole in zip(target, resized, strict=True)}
    if len(fractions) > 1 or max(fractions) > 1:
        raise ValueError(f"the image processor cuts {target} out of {resized}, other shares of height and width")
    return {
        "size": target,
        "resize": "crop" if isinstance(size, int) else "squash",
        # A hair less, so that dividing by it does not end below the length that it came from.
        "crop_fraction": 1.0 if target == resized else math.nextafter(target[0] / resized[0], 0.0),
    }


def _sides(size: Any) -> tuple[int, int] | int | None:
    """Height and width, the shortest side alone, or None."""
    if isinstance(size, int):
        return size
    if isinstance(size, Mapping) and size.get("height") and size.get("width"):
        return int(size["height"]), int(size["width"])
    if isinstance(size, Mapping) and size.get("shortest_edge") and not size.get("longest_edge"):
        return int(size["shortest_edge"])
    return None


def _load(spec: str) -> Classifier:
    """Load ``hf:FOLDER_OR_ID``."""
    name = spec.removeprefix("hf:")
    if not name:
        raise ValueError(f"{spec!r} should be hf:FOLDER_OR_ID")
    return load_huggingface(name)


SPEC = ModelSpec(
    name="hf",
    summary="an image classifier of transformers from a folder or the hub",
    syntax="hf:FOLDER_OR_ID",
    load=_load,
)
"""The source of Hugging Face's models."""
