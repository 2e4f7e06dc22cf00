"""Images to their explanations: segments, neighbourhood, local models. Knows this folder's other steps only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from lime.lime_image import ImageExplanation, LimeImageExplainer
from numpy.typing import NDArray
from torch import Tensor, nn

from ..batch_size import BatchSize
from .device_fitting import fit_on_device, fits_on_device
from .explanation import build_explanation
from .fitting import LocalModel, cosine_distances, fit
from .neighbourhood import Neighbourhood
from .patches import patch_size
from .replacement import replace
from .sampling import DESIGNS, clusters
from .segmentation import PRESETS, SegmentMap, check_map, run_preset, split_at_border, to_lime_layout
from .settings import Settings

__all__ = ["explain_images"]

ROUND = 100  # samples between two looks at the ranking
STABLE_ROUNDS = 3  # looks in a row that must agree


@dataclass(frozen=True, eq=False)
class Prepared:
    """What the model is asked about one image: all of it made on the CPU.

    Parameters
    ----------
    lime : lime.lime_image.LimeImageExplainer
        Lime's kernel and regression, of this image alone.
    pixels, fudged : ndarray
        Shape (C, H, W): the image, and the image with every segment replaced.
    segments : SegmentMap
        Shape (H, W).
    masks, distances : ndarray
        The design: (M, n_segments), and each row's distance from the first, (M,).
    """

    lime: LimeImageExplainer
    pixels: NDArray[Any]
    fudged: NDArray[Any]
    segments: SegmentMap
    masks: NDArray[np.int64]
    distances: NDArray[np.float64]


def explain_images(
    model: nn.Module,
    images: Tensor,
    settings: Settings,
    *,
    batch_size: BatchSize,
    labels: Sequence[Sequence[int] | None],
    num_features: int,
    lung_masks: Sequence[NDArray[Any] | None],
) -> Iterator[ImageExplanation]:
    """Lime's ``explain_instance`` for each image; the CPU prepares the next and fits the last beside the model's work.

    Parameters
    ----------
    model : nn.Module
        Maps (B, C, H, W) to logits.
    images : Tensor
        Shape (N, C, H, W), on the model's device.
    settings : Settings
        The options.
    batch_size : BatchSize
        Images a forward; shared by the images.
    labels : sequence of sequences of int, or None each
        For each image the classes to explain; None: all.
    num_features : int
        As in lime.
    lung_masks : sequence of ndarray or None
        For each image shape (H, W), or None.

    Yields
    ------
    lime.lime_image.ImageExplanation
        One an image, in order; the same as from images one by one.
    """
    prepare = partial(_prepare, model, settings)
    # Fetched at once: a copy from the device beside the model's work would wait for the end of it.
    pixels: NDArray[Any] = (images if images.dtype == torch.float64 else images.float()).cpu().numpy()
    given = list(zip(images, pixels, range(len(images)), lung_masks, strict=True))
    if len(given) < 2 or _asks_the_model(settings):
        for image, wanted in zip(given, labels, strict=True):
            yield _explain(model, image[0], prepare(*image), settings, batch_size, wanted, num_features)()
        return
    with ThreadPoolExecutor(1, thread_name_prefix="quantus-vit-lime") as pool:
        ahead = pool.submit(prepare, *given[0])
        fitting: Future[ImageExplanation] | None = None
        for number, wanted in enumerate(labels):
            prepared = ahead.result()
            if number + 1 < len(given):
                ahead = pool.submit(prepare, *given[number + 1])
            fit_it = _explain(model, images[number], prepared, settings, batch_size, wanted, num_features)
            if fitting is not None:
                yield fitting.result()
            fitting = pool.submit(fit_it)
        if fitting is not None:
            yield fitting.result()


def _asks_the_model(settings: Settings) -> bool:
    """Whether preparing may call the model, or a user's function that knows nothing of threads."""
    segments = settings.segments
    if callable(segments) or callable(settings.replacement):
        return True
    return isinstance(segments, str) and PRESETS[segments].needs_patch


def _prepare(
    model: nn.Module,
    settings: Settings,
    image: Tensor,
    pixels: NDArray[Any],
    index: int,
    lung_mask: NDArray[Any] | None,
) -> Prepared:
    """Segments, replacement and design of an image, the ``index``-th of its batch."""
    lime = LimeImageExplainer(
        settings.kernel_width, feature_selection=settings.feature_selection, random_state=settings.seed
    )
    # lime draws the segmentation's seed first; so do we, or the masks would differ from lime's
    segmentation_seed = int(lime.random_state.randint(0, high=1000))
    segments = _segment(model, image, pixels, settings, segmentation_seed, index)
    if lung_mask is not None:
        segments = split_at_border(segments, lung_mask.astype(np.bool_))
    fudged = replace(pixels, segments, settings.replacement)
    masks = DESIGNS[settings.sampling](settings.num_samples, int(segments.max()) + 1, lime.random_state)
    return Prepared(lime, pixels, fudged, segments, masks, cosine_distances(masks))


def _explain(
    model: nn.Module,
    image: Tensor,
    prepared: Prepared,
    settings: Settings,
    batch_size: BatchSize,
    labels: Sequence[int] | None,
    num_features: int,
) -> Callable[[], ImageExplanation]:
    """Ask the model; what is returned fits and needs it no more."""
    fudged = torch.from_numpy(prepared.fudged).to(image)
    placed = torch.from_numpy(prepared.segments).to(image.device)
    neighbourhood = Neighbourhood(model, image, fudged, placed, batch_size, settings.link)
    rows = torch.from_numpy(prepared.masks.astype(np.bool_)).to(image.device)
    if settings.stable_features is not None:
        answers, models = _until_stable(neighbourhood, prepared, rows, settings, labels, num_features)
        return lambda: _explanation(prepared, answers, models)
    found = neighbourhood.answers(rows)
    if fits_on_device(found.device, settings.feature_selection, num_features):
        models = _fit_there(prepared, rows, found, settings, labels, num_features)
        answers = _on_host(found)
        return lambda: _explanation(prepared, answers, models)
    answers = _on_host(found)
    return lambda: _explanation(prepared, answers, _fit(prepared, answers, settings, labels, num_features))


def _on_host(answers: Tensor) -> NDArray[np.float32]:
    """One transfer for all batches: one each would make the host wait for the device as often."""
    return answers.cpu().numpy()


def _explanation(prepared: Prepared, answers: NDArray[np.float32], models: dict[int, LocalModel]) -> ImageExplanation:
    taken = len(answers)
    weights = prepared.lime.base.kernel_fn(prepared.distances[:taken])
    picture = to_lime_layout(prepared.pixels)
    return build_explanation(picture, prepared.segments, prepared.masks[:taken], answers, weights, models)


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


def _until_stable(
    neighbourhood: Neighbourhood,
    prepared: Prepared,
    rows: Tensor,
    settings: Settings,
    labels: Sequence[int] | None,
    num_features: int,
) -> tuple[NDArray[np.float32], dict[int, LocalModel]]:
    """Answers (M, classes) and the local model of each class; in rounds, until the ranking is stable."""
    ends = [*range(ROUND, len(rows), ROUND), len(rows)]
    parts: list[Tensor] = []
    rankings: list[list[list[int]]] = []
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        parts.append(neighbourhood.answers(rows[start:end]))
        found = torch.cat(parts)
        if fits_on_device(found.device, settings.feature_selection, num_features):
            models = _fit_there(prepared, rows[:end], found, settings, labels, num_features)
        else:
            models = _fit(prepared, _on_host(found), settings, labels, num_features)
        rankings.append([_ranking(model, settings.stable_features) for model in models.values()])
        if len(rankings) >= STABLE_ROUNDS and all(ranking == rankings[-1] for ranking in rankings[-STABLE_ROUNDS:]):
            break
    return _on_host(found), models


def _fit_there(
    prepared: Prepared,
    rows: Tensor,
    answers: Tensor,
    settings: Settings,
    labels: Sequence[int] | None,
    num_features: int,
) -> dict[int, LocalModel]:
    """As :func:`_fit`, of answers on a device, in float64 there: what the host gets is the models."""
    taken = len(answers)
    return fit_on_device(
        rows,
        answers,
        prepared.lime.base.kernel_fn(prepared.distances[:taken]),
        range(answers.shape[1]) if labels is None else labels,
        num_features,
        settings.feature_selection,
        clusters(settings.sampling, len(prepared.masks))[:taken],
    )


def _fit(
    prepared: Prepared,
    answers: NDArray[np.float32],
    settings: Settings,
    labels: Sequence[int] | None,
    num_features: int,
) -> dict[int, LocalModel]:
    """The local model of each class, from the first rows of the design, as many as have an answer."""
    taken = len(answers)
    groups = clusters(settings.sampling, len(prepared.masks))[:taken]
    return {
        label: fit(
            prepared.lime.base,
            prepared.masks[:taken],
            answers,
            prepared.distances[:taken],
            label,
            num_features,
            settings.feature_selection,
            groups,
        )
        for label in (range(answers.shape[1]) if labels is None else labels)
    }


def _ranking(model: LocalModel, count: int | None) -> list[int]:
    return [segment for segment, _ in model.coefficients[:count]]
