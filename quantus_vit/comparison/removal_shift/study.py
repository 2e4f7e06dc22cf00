"""Random removal of patches from some images of a comparison, by every removal. Knows the plan, removals and files."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ...metrics import REMOVALS, RemovalSpec
from ...metrics.patches import fitting_patch_size, patch_units
from ...metrics.removal import removal_of
from ...relevance import tokens_removed
from ..plan import Plan
from ..protocol import image_seed
from ..scores import CsvLog
from .measure import RemovalShiftRow, Responses, respond, shift_row

__all__ = ["SHARES", "study_removal_shift"]

Array = npt.NDArray[Any]

SHARES = tuple(share / 10 for share in range(1, 10))
"""Parts of the patches that are removed."""


def study_removal_shift(folder: Path, plan: Plan, count: int, report_only: bool = False) -> list[RemovalShiftRow]:
    """Measure every removal on some images of a comparison, and write ``removal_shift.csv``.

    Patches are removed in one random order an image, the same for all removals; a larger share removes what a smaller
    one did, and more.

    Parameters
    ----------
    folder : Path
        Result folder. Rows of the same model, images and seed that lie there are taken over.
    plan : Plan
        Of the comparison.
    count : int
        Images: a class-balanced beginning of the sample; those that cannot be read are left out.
    report_only : bool
        Measure nothing.

    Returns
    -------
    list of RemovalShiftRow
        Every removal in :data:`quantus_vit.metrics.REMOVALS`, then the numbers among the protocol's baselines. Empty
        where fewer than two images can be read.
    """
    path = folder / "removal_shift.csv"
    if report_only and not path.exists():
        return []
    identities = list(dict.fromkeys(case.identity for case in plan.cases))[:count]
    settings = _settings(plan, identities)
    log = CsvLog(path, RemovalShiftRow)
    kept = [row for row in log.rows if row.settings == settings]
    shares = Counter(row.removal for row in kept)  # a crash may have cut the last removal's rows
    kept = [row for row in kept if shares[row.removal] == len(SHARES)]
    if len(kept) < len(log.rows):
        log.replace(kept)
    names = [*REMOVALS.names(), *(str(value) for value in plan.protocol.baselines if not isinstance(value, str))]
    missing = [name for name in dict.fromkeys(names) if name not in {row.removal for row in kept}]
    if missing and not report_only:
        images, seeds = _read(plan, identities)
        if len(images) > 1:
            _measure(plan, images, seeds, missing, settings, log)
    return log.rows


def _settings(plan: Plan, identities: Sequence[str]) -> str:
    protocol = plan.protocol
    parts = (protocol.model_digest, protocol.data_digest, str(protocol.sample_seed), *identities)
    return hashlib.sha256("\0".join(parts).encode(errors="backslashreplace")).hexdigest()[:12]


def _read(plan: Plan, identities: Sequence[str]) -> tuple[Tensor, list[int]]:
    images, seeds = [], []
    for identity in identities:
        index = next(case.index for case in plan.cases if case.identity == identity)
        try:
            images.append(plan.dataset.sample(index, plan.classifier.preprocessing).image)
        except (OSError, ValueError):
            continue  # the comparison says so
        seeds.append(image_seed(identity))
    return torch.stack(images) if images else torch.empty(0), seeds


def _measure(
    plan: Plan, images: Tensor, seeds: Sequence[int], names: Sequence[str], settings: str, log: CsvLog[RemovalShiftRow]
) -> None:
    module, device = plan.classifier.module, plan.device
    whole = respond(module, images.to(device))
    grid = _token_grid(module, images[:1].to(device))
    shape = (images.shape[2], images.shape[3])
    units = patch_units(shape, fitting_patch_size(shape), grid)
    patches = int(units.max()) + 1
    orders = [np.random.default_rng((plan.protocol.sample_seed, seed)).permutation(patches) for seed in seeds]
    for name in names:
        spec = removal_of(name if name in REMOVALS else float(name))
        rows = []
        for share in SHARES:
            if spec.replace is None and grid is None:
                rows.append(RemovalShiftRow.refused(name, share, settings))
                continue
            removed = np.stack([np.isin(np.arange(patches), order[: round(share * patches)]) for order in orders])
            after = _respond_without(module, images, removed, units, spec, device)
            rows.append(shift_row(name, share, whole, after, plan.classifier.task == "multiclass", settings))
        log.append(rows)


def _respond_without(
    module: nn.Module, images: Tensor, removed: Array, units: Array, spec: RemovalSpec, device: str
) -> Responses:
    if spec.replace is None:
        with tokens_removed(module, torch.from_numpy(removed).to(device)):
            return respond(module, images.to(device))
    replaced = [spec.replace(image, mask[None, units])[0] for image, mask in zip(images.numpy(), removed, strict=True)]
    return respond(module, torch.from_numpy(np.stack(replaced)).to(device, images.dtype))


def _token_grid(module: nn.Module, image: Tensor) -> tuple[int, ...] | None:
    """Rows and columns of the model's tokens; None where they cannot be removed."""
    try:
        with torch.no_grad(), tokens_removed(module, None) as run:
            module(image)
    except (TypeError, ValueError, RuntimeError):
        return None
    return run.grid
