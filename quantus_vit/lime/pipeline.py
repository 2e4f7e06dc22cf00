"""One image to its explanation: segments, neighbourhood, local models. Knows this folder's other steps only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from lime.lime_image import ImageExplanation, LimeImageExplainer
from numpy.typing import NDArray
from torch import Tensor, nn

from ..batch_size import BatchSize
from .explanation import build_explanation
from .fitting import LocalModel, cosine_distances, fit
from .neighbourhood import Neighbourhood
from .patches import patch_size
from .replacement import replace
from .sampling import DESIGNS, clusters
from .segmentation import SegmentMap, check_map, run_preset, split_at_border, to_lime_layout
from .settings import Settings

__all__ = ["explain_image"]

ROUND = 100  # samples between two looks at the ranking
STABLE_ROUNDS = 3  # looks in a row that must agree


def explain_image(
    model: nn.Module,
    image: Tensor,
    settings: Settings,
    *,
    batch_size: BatchSize,
    index: int,
    labels: Sequence[int] | None,
    num_features: int,
    lung_mask: NDArray[Any] | None,
) -> ImageExplanation:
    """Lime's ``explain_instance``, step by step.

    Parameters
    ----------
    model
        Maps (B, C, H, W) to logits.
    image
        Shape (C, H, W), on the model's device.
    settings
        The options.
    batch_size
        Images a forward; shared by the images of a batch.
    index
        The image's place in its batch: which of several segment maps is its own.
    labels
        Classes to explain; None: all.
    num_features
        As in lime.
    lung_mask
        Shape (H, W), or None.
    """
    lime = LimeImageExplainer(
        settings.kernel_width, feature_selection=settings.feature_selection, random_state=settings.seed
    )
    # lime draws the segmentation's seed first; so do we, or the masks would differ from lime's
    segmentation_seed = int(lime.random_state.randint(0, high=1000))
    pixels: NDArray[Any] = (image if image.dtype == torch.float64 else image.float()).cpu().numpy()
    segments = _segment(model, image, pixels, settings, segmentation_seed, index)
    if lung_mask is not None:
        segments = split_at_border(segments, lung_mask.astype(np.bool_))
    fudged = torch.from_numpy(replace(pixels, segments, settings.replacement)).to(image)
    placed = torch.from_numpy(segments).to(image.device)
    neighbourhood = Neighbourhood(model, image, fudged, placed, batch_size, settings.link)
    masks = DESIGNS[settings.sampling](settings.num_samples, int(segments.max()) + 1, lime.random_state)
    distances = cosine_distances(masks)
    answers, models = _sample_and_fit(neighbourhood, masks, distances, lime, settings, labels, num_features)
    taken = len(answers)
    weights = lime.base.kernel_fn(distances[:taken])
    return build_explanation(to_lime_layout(pixels), segments, masks[:taken], answers, weights, models)


def _segment(
    model: nn.Module, image: Tensor, pixels: NDArray[Any], settings: Settings, seed: int, index: int
) -> SegmentMap:
    shape = (pixels.shape[-2], pixels.shape[-1])
    if isinstance(settings.segments, str):
        patch = lambda: patch_size(model, image)  # noqa: E731
        return run_preset(settings.segments, pixels, seed, patch, settings.num_segments)
    if callable(settings.segments):
        return check_map(settings.segments(to_lime_layout(pixels)), shape)
    given = settings.segments
    return check_map(given[index] if given.ndim == 3 else given, shape)


def _sample_and_fit(
    neighbourhood: Neighbourhood,
    masks: NDArray[np.int64],
    distances: NDArray[np.float64],
    lime: LimeImageExplainer,
    settings: Settings,
    labels: Sequence[int] | None,
    num_features: int,
) -> tuple[NDArray[np.float32], dict[int, LocalModel]]:
    """Answers (M, classes) and the local model of each class; in rounds, where a stable ranking may end it."""
    groups = clusters(settings.sampling, len(masks))
    rows = torch.from_numpy(masks.astype(np.bool_))
    ends = [len(masks)] if settings.stable_features is None else [*range(ROUND, len(masks), ROUND), len(masks)]
    parts: list[NDArray[np.float32]] = []
    rankings: list[list[list[int]]] = []
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        parts.append(neighbourhood.answers(rows[start:end]).numpy())
        answers = np.concatenate(parts)
        models = {
            label: fit(
                lime.base,
                masks[:end],
                answers,
                distances[:end],
                label,
                num_features,
                settings.feature_selection,
                groups[:end],
            )
            for label in (range(answers.shape[1]) if labels is None else labels)
        }
        rankings.append([_ranking(model, settings.stable_features) for model in models.values()])
        if len(rankings) >= STABLE_ROUNDS and all(ranking == rankings[-1] for ranking in rankings[-STABLE_ROUNDS:]):
            break
    return answers, models


def _ranking(model: LocalModel, count: int | None) -> list[int]:
    return [segment for segment, _ in model.coefficients[:count]]
