"""Names of methods -> maps of one image, through ``quantus.explain``, computed once and kept on disk.

Knows Quantus and the protocol; the names of this package reach Quantus by its plugin.
"""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import quantus
import torch

from .. import available_methods
from .protocol import Protocol, image_seed

__all__ = ["RANDOM", "MapStore", "check_methods", "explain_image", "explainer_of"]

Array = npt.NDArray[Any]

RANDOM = "Random"
"""A map of independent uniform values, seeded by the image: what a method must beat to say anything."""

# Of Quantus' Captum methods, those that need no layer, no constant and no convolution.
_SUITABLE = ("Saliency", "Gradient", "InputXGradient", "IntegratedGradients", "GradientShap", "DeepLift", "Occlusion",
             "FeatureAblation", "Lime", "KernelShap", "Control Var. Sobel Filter")  # fmt: skip


def known_methods() -> list[str]:
    """Names that ``compare`` takes: this package's, the random baseline, and of Quantus' own some."""
    return [*available_methods(), RANDOM, *(_SUITABLE if find_spec("captum") else ())]


def check_methods(names: tuple[str, ...]) -> None:
    """Refuse a method that nobody knows, before hours of work.

    Raises
    ------
    ValueError
        If a name is unknown; the message lists the known ones.
    """
    known = known_methods()
    for name in names:
        if name not in known:
            raise ValueError(f"unknown method {name!r}; known are {', '.join(known)}")


def explainer_of(method: str, protocol: Protocol, path: str) -> Callable[..., Array]:
    """Function with the signature of ``quantus.explain`` for one method and image, its options bound.

    Parameters
    ----------
    method
        One of :func:`known_methods`.
    protocol
        Gives LimeCXR's options and precision, and the random baseline's seed.
    path
        The image; seeds the random baseline.

    Returns
    -------
    callable
        Called as ``f(model=..., inputs=..., targets=..., device=...)``; returns maps ``(N, 1, H, W)``.
    """
    if method == RANDOM:
        generator = np.random.default_rng([protocol.sample_seed, image_seed(path)])

        def random_map(model: torch.nn.Module, inputs: Array, targets: Array, **_: Any) -> Array:
            return generator.random((len(inputs), 1, *inputs.shape[2:]), dtype=np.float32)

        return random_map

    options: dict[str, Any] = {"method": method}
    if method == "LimeCXR":
        options["xai_lib_kwargs"] = {"num_samples": protocol.lime_samples, "seed": protocol.lime_seed}

    def explain(model: torch.nn.Module, inputs: Array, targets: Array, **kwargs: Any) -> Array:
        with lime_precision(method, protocol, kwargs.get("device") or "cpu"):
            return np.asarray(quantus.explain(model, inputs, targets, **options, **kwargs))

    return explain


def lime_precision(method: str, protocol: Protocol, device: str) -> AbstractContextManager[Any]:
    """Lower precision for LimeCXR's forwards where the protocol asks for it: they are a thousand, and noise anyway."""
    if method != "LimeCXR" or protocol.precision == "float32":
        return nullcontext()
    return torch.autocast(device.split(":")[0], dtype=torch.bfloat16)


def explain_image(
    model: torch.nn.Module, image: torch.Tensor, target: int, method: str, protocol: Protocol, path: str, device: str
) -> Array:
    """Map of one image for one class.

    Parameters
    ----------
    model
        Classifier in evaluation mode.
    image
        float32 ``(C, H, W)``.
    target
        The explained class.
    method, protocol, path, device
        As in :func:`explainer_of`.

    Returns
    -------
    ndarray
        float32 ``(1, H, W)``. Maps with several channels are summed over them, so that all methods are compared in
        one layout.

    Raises
    ------
    ValueError
        If the method returns another shape.
    """
    explain = explainer_of(method, protocol, path)
    maps = explain(model=model, inputs=image[None].numpy(), targets=np.array([target]), device=device)
    if maps.ndim == 4 and maps.shape[1] == image.shape[0]:
        maps = maps.sum(axis=1, keepdims=True)
    if maps.shape != (1, 1, *image.shape[1:]):
        raise ValueError(f"method {method!r} returned shape {maps.shape}, expected {(1, 1, *image.shape[1:])}")
    relevance: Array = maps[0].astype(np.float32)
    return relevance


class MapStore:
    """Maps on disk, one compressed file for an image, class and method.

    Parameters
    ----------
    folder
        Where the files lie; made when missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def get_or_compute(self, path: str, target: int, method: str, compute: Callable[[], Array]) -> Array:
        """Map from the disk, or from ``compute`` and then on the disk; a file that cannot be read is made anew."""
        file = self._file(path, target, method)
        if file.exists():
            try:
                with np.load(file) as stored:
                    return np.asarray(stored["relevance"])
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
                file.unlink()
        relevance = compute()
        write_npz(file, relevance=relevance)
        return relevance

    def _file(self, path: str, target: int, method: str) -> Path:
        name = re.sub(r"\W+", "_", Path(path).stem)[:40]
        digest = hashlib.sha1(path.encode()).hexdigest()[:10]
        folder = self.folder / re.sub(r"\W+", "_", method)
        folder.mkdir(exist_ok=True)
        return folder / f"{name}-{digest}-class{target}.npz"


def write_npz(file: Path, **arrays: Array) -> None:
    """Write arrays so that a crash leaves no half file under the final name."""
    partial = file.with_name(f".{file.name}.{os.getpid()}.npz")
    np.savez_compressed(partial, **arrays)  # type: ignore[arg-type,unused-ignore]
    partial.replace(file)
