"""`LimeCXR`: LIME for chest X-rays behind Captum's interface. Knows this folder, lime and the attribution base."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from lime.lime_image import ImageExplanation, LimeImageExplainer
from numpy.typing import NDArray
from torch import Tensor, nn

from quantus_vit.attribution.base import Attribution, check_inputs, resolve_target
from quantus_vit.lime.fitting import LocalModel, cosine_distances, fit
from quantus_vit.lime.memory import choose_batch_size
from quantus_vit.lime.neighbourhood import Neighbourhood, device_of
from quantus_vit.lime.patches import patch_size
from quantus_vit.lime.replacement import Replacement, check_replacement, replace
from quantus_vit.lime.sampling import DESIGNS, clusters
from quantus_vit.lime.segmentation import (
    SegmentFunction,
    SegmentMap,
    check_map,
    check_segments,
    run_preset,
    split_at_border,
    to_lime_layout,
)

ALL_FEATURES = 100_000  # lime's default for num_features
ROUND = 100  # samples between two looks at the ranking
STABLE_ROUNDS = 3  # looks in a row that must agree


class LocalFitWarning(UserWarning):
    """The linear model explains little of what the classifier does around the image."""


class LimeCXR(Attribution):  # type: ignore[misc]
    """LIME on radiographs: which superpixels speak for and against a class.

    A thin layer over the lime package: kernel, distances, regression and the explanation object are lime's own;
    superpixels for radiographs, and perturbed images composed and classified in batches on the model's device, are
    ours. With the same segments, seed and replacement, and the plain sampling, the neighbourhood and the coefficients
    are those of `lime.lime_image.LimeImageExplainer(random_state=seed)` with softmax probabilities as classifier
    function.

    The linear model is fitted to softmax probabilities, as in lime, not to logits: where the classifier is saturated,
    the coefficients are small and the fit is poor (see `r2_warning`).

    Parameters
    ----------
    model
        Maps (N, C, H, W) to logits (N, classes); one or three channels, any size. Called as it is: put it in eval mode.
    num_samples
        Perturbed images, the unperturbed one included; with `stable_features` the most that are taken. More lower the
        standard errors by the square root.
    segments
        "cxr": SLIC on the locally contrast-normalised picture, superpixels that follow lung borders, ribs and
        opacities. "lime-default": the quickshift call of lime. "grid": the model's patches. A callable as lime's
        `segmentation_fn`, from an array (H, W, 3) in input space to an integer map (H, W). Or such a map, for all
        images (H, W) or one for each (N, H, W).
    seed
        Seed of the masks and of quickshift. Every image starts from it, so a batch gives what single images give.
    batch_size
        Images a forward; None: as many as fit into half of the free memory, at most 32 on a CPU and 256 elsewhere.
        The result does not depend on it beyond the rounding of the model's own arithmetic.
    num_segments
        About how many segments, for "cxr" (default 80) and "grid" (at most; default one a patch). Fewer give coarser
        maps and smaller standard errors at the same number of samples.
    replacement
        What stands in for an absent segment: "mean" (of the segment; lime's default; takes texture and edges away,
        keeps exposure), "blur", "inpaint" (slow, most plausible), a number or one for each channel in input space (0 is
        the mean colour of normalised inputs; black creates edges that models react to), or a callable of image (C, H,
        W) and segments.
    kernel_width
        Of lime's exponential kernel on cosine distances. Small: only images with few absent segments count, a more
        local answer from fewer effective samples; large: all count alike.
    sampling
        "plain": lime's coin tosses. "antithetic", "stratified", "orthogonal": designs that need fewer samples for the
        same accuracy, see `quantus_vit.lime.sampling`.
    feature_selection
        As in lime.
    stable_features
        Stop as soon as the ranking of the so many most important segments, of every class asked for, is the same in
        three looks in a row, 100 samples apart. The result is that of a plain run with `num_samples` set to where it
        stopped.
    lung_mask
        (H, W) for all images or (N, H, W) or (N, 1, H, W): cut the segments along the lung border, so that none
        straddles it.
    r2_warning
        Warn (`LocalFitWarning`) where the weighted R2 of the local fit is below this; 0 never warns.

    References
    ----------
    Ribeiro, Singh and Guestrin, "Why should I trust you?": explaining the predictions of any classifier, KDD 2016.

    Examples
    --------
    >>> lime = LimeCXR(model, num_samples=500)  # doctest: +SKIP
    >>> maps = lime.attribute(images, target=0)  # (N, 1, H, W)  # doctest: +SKIP
    >>> explanation = lime.explain_instance(images[0])  # doctest: +SKIP
    >>> picture, mask = explanation.get_image_and_mask(0, num_features=3)  # doctest: +SKIP
    """

    def __init__(
        self,
        model: nn.Module,
        num_samples: int = 1000,
        segments: str | SegmentFunction | NDArray[Any] | Tensor = "cxr",
        seed: int = 0,
        batch_size: int | None = None,
        *,
        num_segments: int | None = None,
        replacement: Replacement = "mean",
        kernel_width: float = 0.25,
        sampling: str = "plain",
        feature_selection: str = "auto",
        stable_features: int | None = None,
        lung_mask: NDArray[Any] | Tensor | None = None,
        r2_warning: float = 0.2,
    ) -> None:
        super().__init__(model)
        if num_samples < 2:
            raise ValueError(f"num_samples={num_samples}; LIME needs at least 2.")
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size={batch_size}; use a positive number, or None to choose it by memory.")
        if not kernel_width > 0:
            raise ValueError(f"kernel_width={kernel_width} must be positive.")
        if sampling not in DESIGNS:
            raise ValueError(f"sampling={sampling!r} is unknown; choose one of {', '.join(map(repr, DESIGNS))}.")
        if stable_features is not None and stable_features < 1:
            raise ValueError(f"stable_features={stable_features}; use a positive number, or None to take all samples.")
        segments = _to_numpy(segments) if isinstance(segments, Tensor) else segments
        check_segments(segments, num_segments)
        check_replacement(replacement)
        self.model = model
        self.num_samples = num_samples
        self.segments = segments
        self.seed = seed
        self.batch_size = batch_size
        self.num_segments = num_segments
        self.replacement = replacement
        self.kernel_width = kernel_width
        self.sampling = sampling
        self.feature_selection = feature_selection
        self.stable_features = stable_features
        self.lung_mask = lung_mask
        self.r2_warning = r2_warning

    def attribute(
        self,
        inputs: Tensor,
        target: int | Sequence[int] | Tensor | None = None,
        *,
        lung_mask: NDArray[Any] | Tensor | None = None,
    ) -> Tensor:
        """Dense map of one class: each pixel has the coefficient of its superpixel.

        Parameters
        ----------
        inputs
            Shape (N, C, H, W), as the model takes them.
        target
            Captum's meaning: a class for all images, one for each image, or None for the predicted ones.
        lung_mask
            As in the constructor; this one goes first.

        Returns
        -------
        Tensor
            Shape (N, 1, H, W), float32, on the inputs' device, signed: change of the class probability when the
            superpixel is present.
        """
        check_inputs(inputs)
        images = inputs.detach()
        targets = resolve_target(target, self._logits(images)).tolist()
        masks = self._per_image(self.lung_mask if lung_mask is None else lung_mask, images, "lung_mask")
        maps = []
        for index, (image, label) in enumerate(zip(images, targets, strict=True)):
            maps.append(dense_map(self._explain(image, index, [label], masks[index]), label))
        return torch.from_numpy(np.stack(maps)[:, None]).to(inputs.device)

    def attribute_all_targets(
        self,
        inputs: Tensor,
        targets: Sequence[int] | None = None,
        *,
        lung_mask: NDArray[Any] | Tensor | None = None,
    ) -> Tensor:
        """Dense maps of several classes from one neighbourhood an image.

        Parameters
        ----------
        inputs
            Shape (N, C, H, W).
        targets
            The classes; None: all.
        lung_mask
            As in the constructor; this one goes first.

        Returns
        -------
        Tensor
            Shape (N, T, 1, H, W), float32.
        """
        explanations = self.explain(inputs, targets, lung_mask=lung_mask)
        maps = [
            np.stack([dense_map(explanation, label) for label in sorted_labels(explanation, targets)])
            for explanation in explanations
        ]
        return torch.from_numpy(np.stack(maps)[:, :, None]).to(inputs.device)

    def explain(
        self,
        inputs: Tensor,
        labels: Sequence[int] | None = None,
        num_features: int = ALL_FEATURES,
        *,
        lung_mask: NDArray[Any] | Tensor | None = None,
    ) -> list[ImageExplanation]:
        """One explanation an image, see `explain_instance`.

        Parameters
        ----------
        inputs
            Shape (N, C, H, W).
        labels
            Classes to explain; None: all.
        num_features
            As in lime: segments that the linear model may use.
        lung_mask
            As in the constructor; this one goes first.
        """
        check_inputs(inputs)
        images = inputs.detach()
        if labels is not None:
            labels = _checked_labels(labels, self._logits(images[:1]))
        masks = self._per_image(self.lung_mask if lung_mask is None else lung_mask, images, "lung_mask")
        explanations = []
        for index, (image, mask) in enumerate(zip(images, masks, strict=True)):
            explanations.append(self._explain(image, index, labels, mask, num_features))
        return explanations

    def explain_instance(
        self,
        image: Tensor | NDArray[Any],
        labels: Sequence[int] | None = None,
        num_features: int = ALL_FEATURES,
        *,
        lung_mask: NDArray[Any] | Tensor | None = None,
    ) -> ImageExplanation:
        """Explain one image.

        Parameters
        ----------
        image
            Shape (C, H, W) or (1, C, H, W), as the model takes it.
        labels
            Classes to explain, from one neighbourhood; None: all.
        num_features
            As in lime: segments that the linear model may use.
        lung_mask
            (H, W) or (1, H, W); goes before the constructor's.

        Returns
        -------
        lime.lime_image.ImageExplanation
            `image` is (H, W, 3) in the model's input space. `score` and `local_pred` are, as in lime, those of the last
            class. Beyond lime's attributes: `top_labels` (always, the explained classes by probability),
            `r2` (a dict by class), `standard_errors` (a dict by class, each (n_segments,)), and the neighbourhood: `masks`
            (M, n_segments), `labels` (M, classes) and `weights` (M,), row 0 the unperturbed image.
        """
        tensor = torch.as_tensor(image)
        if tensor.ndim == 3:
            tensor = tensor[None]
        if tensor.ndim != 4 or len(tensor) != 1:
            raise ValueError(f"image has shape {tuple(np.shape(image))}; use (C, H, W) or (1, C, H, W).")
        tensor = tensor.to(device_of(self.model, tensor.device))
        return self.explain(tensor, labels, num_features, lung_mask=lung_mask)[0]

    def _explain(
        self,
        image: Tensor,
        index: int,
        labels: Sequence[int] | None,
        lung_mask: NDArray[Any] | None,
        num_features: int = ALL_FEATURES,
    ) -> ImageExplanation:
        """Lime's `explain_instance`, step by step."""
        lime = LimeImageExplainer(self.kernel_width, feature_selection=self.feature_selection, random_state=self.seed)
        # lime draws the segmentation's seed first; so do we, or the masks would differ from lime's
        segmentation_seed = int(lime.random_state.randint(0, high=1000))
        pixels = _to_numpy(image if image.dtype.is_floating_point and image.dtype.itemsize >= 4 else image.float())
        segments = self._segment(pixels, index, segmentation_seed, lung_mask)
        fudged = replace(pixels, segments, self.replacement)
        neighbourhood = Neighbourhood(
            self.model,
            image,
            torch.from_numpy(fudged).to(image),
            torch.from_numpy(segments).to(image.device),
            choose_batch_size(self.model, image) if self.batch_size is None else self.batch_size,
        )
        masks = DESIGNS[self.sampling](self.num_samples, int(segments.max()) + 1, lime.random_state)
        probabilities, models = self._fit(neighbourhood, masks, lime, labels, num_features)
        self._warn(models, index)
        explanation = _explanation(to_lime_layout(pixels), segments, probabilities, models)
        explanation.masks = masks[: len(probabilities)].astype(np.bool_)
        explanation.weights = lime.base.kernel_fn(cosine_distances(masks[: len(probabilities)]))
        return explanation

    def _fit(
        self,
        neighbourhood: Neighbourhood,
        masks: NDArray[np.int64],
        lime: LimeImageExplainer,
        labels: Sequence[int] | None,
        num_features: int,
    ) -> tuple[NDArray[np.float32], dict[int, LocalModel]]:
        """Probabilities (M, classes) and the local model of each class; in rounds, where the ranking may end it."""
        distances = cosine_distances(masks)
        groups = clusters(self.sampling, len(masks))
        rows = torch.from_numpy(masks.astype(np.bool_))
        ends = [len(masks)] if self.stable_features is None else [*range(ROUND, len(masks), ROUND), len(masks)]
        parts: list[NDArray[np.float32]] = []
        rankings: list[list[list[int]]] = []
        for start, end in zip([0, *ends[:-1]], ends, strict=True):
            parts.append(neighbourhood.probabilities(rows[start:end]).numpy())
            probabilities = np.concatenate(parts)
            chosen = range(probabilities.shape[1]) if labels is None else labels
            models = {
                label: fit(
                    lime.base,
                    masks[:end],
                    probabilities,
                    distances[:end],
                    label,
                    num_features,
                    self.feature_selection,
                    groups[:end],
                )
                for label in chosen
            }
            rankings.append([_ranking(model, self.stable_features) for model in models.values()])
            if len(rankings) >= STABLE_ROUNDS and all(ranking == rankings[-1] for ranking in rankings[-STABLE_ROUNDS:]):
                break
        return probabilities, models

    def _segment(self, image: NDArray[Any], index: int, seed: int, lung_mask: NDArray[Any] | None) -> SegmentMap:
        shape = (image.shape[-2], image.shape[-1])
        if isinstance(self.segments, str):
            segments = run_preset(self.segments, image, seed, lambda: patch_size(self.model), self.num_segments)
        elif callable(self.segments):
            segments = check_map(self.segments(to_lime_layout(image)), shape)
        else:
            given = np.asarray(self.segments)
            segments = check_map(given[index] if given.ndim == 3 else given, shape)
        if lung_mask is not None:
            segments = split_at_border(segments, lung_mask.astype(bool))
        return segments

    def _logits(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of the unperturbed images: to resolve targets before any neighbourhood is paid for."""
        with torch.inference_mode():
            return torch.cat([self.model(part) for part in images.split(self.batch_size or 1)])  # type: ignore[no-untyped-call]

    def _per_image(self, masks: NDArray[Any] | Tensor | None, images: Tensor, name: str) -> list[NDArray[Any] | None]:
        """One (H, W) array or None for each image."""
        if masks is None:
            return [None] * len(images)
        array = _to_numpy(masks) if isinstance(masks, Tensor) else np.asarray(masks)
        height, width = images.shape[-2:]
        if array.ndim == 4 and array.shape[1] == 1:
            array = array[:, 0]
        if array.shape == (height, width):
            array = array[None].repeat(len(images), axis=0)
        if array.shape != (len(images), height, width):
            raise ValueError(
                f"{name} has shape {array.shape}; use {(height, width)}, {(len(images), height, width)} or "
                f"{(len(images), 1, height, width)}."
            )
        return list(array)

    def _warn(self, models: dict[int, LocalModel], index: int) -> None:
        poor = {label: model.r2 for label, model in models.items() if model.r2 < self.r2_warning}
        if poor:
            classes = ", ".join(f"class {label}: {r2:.2f}" for label, r2 in poor.items())
            warnings.warn(
                f"LIME's linear model fits image {index} poorly (weighted R2 of {classes}; it warns below "
                f"{self.r2_warning}): its coefficients say little about the classifier. More samples do not help; other "
                "segments, another replacement or a smaller kernel_width may.",
                LocalFitWarning,
                stacklevel=4,
            )


def _ranking(model: LocalModel, count: int | None) -> list[int]:
    return [segment for segment, _ in model.coefficients[:count]]


def dense_map(explanation: ImageExplanation, label: int) -> NDArray[np.float32]:
    """Map (H, W), float32: each pixel has its superpixel's coefficient for class `label`; 0 where lime left it out."""
    if label not in explanation.local_exp:
        raise ValueError(f"Class {label} was not explained; there are {sorted(explanation.local_exp)}.")
    coefficients = np.zeros(int(explanation.segments.max()) + 1, dtype=np.float32)
    for segment, weight in explanation.local_exp[label]:
        coefficients[segment] = weight
    dense: NDArray[np.float32] = coefficients[explanation.segments]
    return dense


def sorted_labels(explanation: ImageExplanation, labels: Sequence[int] | None) -> list[int]:
    """The classes in the caller's order, or all in ascending order."""
    return sorted(explanation.local_exp) if labels is None else [int(label) for label in labels]


def _explanation(
    image: NDArray[Any], segments: SegmentMap, probabilities: NDArray[np.float32], models: dict[int, LocalModel]
) -> ImageExplanation:
    """Lime's object, filled as lime fills it, and our additions."""
    explanation = ImageExplanation(image, segments)
    for label, model in models.items():
        explanation.intercept[label] = model.intercept
        explanation.local_exp[label] = model.coefficients
        explanation.score, explanation.local_pred = model.r2, model.local_prediction
    explanation.top_labels = sorted(models, key=lambda label: -probabilities[0, label])
    explanation.labels = probabilities
    explanation.r2 = {label: model.r2 for label, model in models.items()}
    explanation.standard_errors = {label: model.standard_errors for label, model in models.items()}
    return explanation


def _checked_labels(labels: Sequence[int], logits: Tensor) -> list[int]:
    """The classes as ints, refused as a target would be."""
    if not len(labels):
        raise ValueError("No class to explain; give at least one, or None for all.")
    return [int(resolve_target(int(label), logits)[0]) for label in labels]


def _to_numpy(tensor: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().cpu().numpy()
    return array
