"""What the figures show of a run: samples of each class, and for one image of each class the maps for every class.

Knows the model, the data and the map store; hands plain arrays to :mod:`.figures`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..data.conventions import IMAGENET_MEAN, IMAGENET_STD
from .explanations import RANDOM, MapStore, explain_image, lime_precision, write_npz
from .figures import LimeRegions, MapRow
from .protocol import Protocol
from .runner import XrayDataset
from .sampling import Selection

__all__ = ["LIME", "figure4_method", "gather_map_rows", "gather_samples"]

Array = npt.NDArray[Any]

LIME = "LimeCXR"
LIME_FEATURES = (3, 8)
"""How many superpixels the paper's figure 4 shows."""

SAMPLES_A_CLASS = 5


def to_gray(image: torch.Tensor) -> Array:
    """Grey values ``(H, W)`` in [0, 1] of a normalised image ``(3, H, W)``."""
    gray = image[0].numpy() * IMAGENET_STD[0] + IMAGENET_MEAN[0]
    return np.asarray(np.clip(gray, 0.0, 1.0))


def figure4_method(methods: Sequence[str]) -> str | None:
    """Method whose maps figure 4 shows for each class: the first that is neither LIME nor random."""
    return next((method for method in methods if method not in (LIME, RANDOM)), None)


def gather_samples(dataset: XrayDataset, selection: Selection, class_names: Sequence[str]) -> dict[str, list[Array]]:
    """The first X-rays of each class in the sample, for figure 1; images that cannot be read are left out."""
    samples: dict[str, list[Array]] = {}
    for label, name in enumerate(class_names):
        members = [index for index in selection.indices if dataset.labels[index] == label]
        grays = [to_gray(item["image"]) for _, item in _readable(dataset, members, SAMPLES_A_CLASS)]
        if grays:
            samples[name] = grays
    return samples


def gather_map_rows(
    dataset: XrayDataset,
    selection: Selection,
    model: torch.nn.Module,
    protocol: Protocol,
    folder: Path,
    device: str,
    class_names: Sequence[str],
) -> list[MapRow]:
    """One image of each class for figure 4: the sample's first that the model predicts right, else its first.

    Parameters
    ----------
    dataset, selection, model, protocol, device, class_names
        As in the run.
    folder
        Result folder; maps are read from and written to its ``maps``.

    Returns
    -------
    list of MapRow
        In label order. LIME's regions are there where LimeCXR is one of the methods; all classes and numbers of
        superpixels come from one neighbourhood.
    """
    method = figure4_method(protocol.methods)
    if method is None:
        return []
    store = MapStore(folder / "maps")
    rows = []
    for label in range(len(class_names)):
        chosen = _choose(dataset, selection, model, label, device)
        if chosen is None:
            continue
        item, probabilities = chosen
        target = label if protocol.target == "label" else int(np.argmax(probabilities))
        maps = [
            store.get_or_compute(
                item["path"],
                index,
                method,
                lambda item=item, index=index: explain_image(  # type: ignore[misc]
                    model, item["image"], index, method, protocol, item["path"], device
                ),
            )[0]
            for index in range(len(class_names))
        ]
        rows.append(
            MapRow(
                gray=to_gray(item["image"]),
                label=label,
                target=target,
                probabilities=probabilities,
                maps=maps,
                lung_mask=item["lung_mask"][0].numpy() if item["has_lung_mask"] else None,
                infection_mask=item["infection_mask"][0].numpy() if item["has_infection_mask"] else None,
                lime=_lime_regions(item, target, model, protocol, folder, device) if LIME in protocol.methods else (),
            )
        )
    return rows


def _choose(
    dataset: XrayDataset, selection: Selection, model: torch.nn.Module, label: int, device: str
) -> tuple[Any, list[float]] | None:
    first = None
    members = [index for index in selection.indices if dataset.labels[index] == label]
    for _, item in _readable(dataset, members, len(members)):
        with torch.no_grad():
            probabilities = model(item["image"][None].to(device)).softmax(dim=1)[0].cpu().tolist()
        if int(np.argmax(probabilities)) == label:
            return item, probabilities
        first = first or (item, probabilities)
    return first


def _readable(dataset: XrayDataset, indices: Sequence[int], count: int) -> Any:
    found = 0
    for index in indices:
        if found == count:
            return
        try:
            item = dataset[index]
        except (OSError, ValueError):
            continue  # counted by the run already
        found += 1
        yield index, item


def _lime_regions(
    item: Any, target: int, model: torch.nn.Module, protocol: Protocol, folder: Path, device: str
) -> list[LimeRegions]:
    """LIME's strongest superpixels by lime's own ``get_image_and_mask``, kept on disk."""
    digest = hashlib.sha1(str(item["path"]).encode()).hexdigest()[:10]
    file = folder / "maps" / f"figure4-{digest}-class{target}.npz"
    if not file.exists():
        from ..lime import LimeCXR

        explainer = LimeCXR(model, num_samples=protocol.lime_samples, seed=protocol.lime_seed)
        with lime_precision(LIME, protocol, device):
            explanation = explainer.explain_instance(item["image"])
        regions = {
            f"first{count}": explanation.get_image_and_mask(target, positive_only=False, num_features=count)[1]
            for count in LIME_FEATURES
        }
        write_npz(file, **regions)
    with np.load(file) as stored:
        return [LimeRegions(count, stored[f"first{count}"]) for count in LIME_FEATURES]
