"""LIME for chest X-rays behind Captum's interface. Knows this folder's pipeline and the attribution base."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from lime.lime_image import ImageExplanation
from numpy.typing import NDArray
from torch import Tensor, nn

from ..attribution.base import AttributionMethod
from ..attribution.inputs import Target, check_inputs, parse_target, resolve_target
from ..batch_size import BatchSize, choose_batch_size
from ..relevance.forward import logits_of
from .explanation import dense_map, warn_if_poor
from .inputs import check_labels, check_map_count, mask_for_each, to_numpy
from .neighbourhood import Link
from .pipeline import explain_images
from .replacement import Replacement
from .segmentation import SegmentFunction
from .settings import ALL_FEATURES, Settings, check_whole

__all__ = ["LimeCXR"]


class LimeCXR(AttributionMethod):
    """LIME on radiographs: which superpixels speak for and against a class.

    A thin layer over the lime package: kernel, distances, regression and the explanation object are lime's own;
    superpixels for radiographs, and perturbed images composed and classified in batches on the model's device, are
    ours. With the same segments, seed and replacement, and the plain sampling, the neighbourhood and the coefficients
    are those of ``LimeImageExplainer(random_state=seed)`` with the same probabilities as classifier function. Where the
    classifier is saturated, the coefficients of probabilities are small and the fit is poor (see ``r2_warning``).

    Parameters
    ----------
    model : nn.Module
        Maps (N, C, H, W) to logits (N, classes); one or three channels, any size. Called as it is: put it in eval mode.
    num_samples : int
        Perturbed images, the unperturbed one included; with ``stable_features`` the most that are taken. More lower the
        standard errors by the square root.
    segments : str or SegmentFunction or ndarray or Tensor
        "cxr": superpixels that follow lung borders, ribs and opacities, small where there is structure. "lime-default":
        the quickshift call of lime. "grid": the model's patches. A callable as lime's ``segmentation_fn``, from an
        array (H, W, 3) in input space to an integer map (H, W). Or such a map, for all images (H, W) or one for each
        (N, H, W).
    seed : int
        Seed of the masks and of quickshift. Every image starts from it, so a batch gives what single images give.
    batch_size : int, optional
        Images a forward; None: as many as fit into half of the free memory, at most 32 on a CPU and 256 elsewhere.
        Halved where memory runs out all the same. The result does not depend on it beyond the rounding of the model's
        own arithmetic.
    num_segments : int, optional
        How many segments, for "cxr" (default 80) and "grid" (at most; default one a patch). Fewer give coarser
        maps and smaller standard errors at the same number of samples.
    replacement : Replacement
        What stands in for an absent segment: "mean" (of the segment; lime's default; takes texture and edges away,
        keeps exposure), "blur", "inpaint" (slow, most plausible), a number or one for each channel in input space (0 is
        the mean colour of normalised inputs; black creates edges that models react to), or a callable of image (C, H,
        W) and segments.
    kernel_width : float
        Of lime's exponential kernel on cosine distances. Small: only images with few absent segments count, a more
        local answer from fewer effective samples; large: all count alike.
    sampling : str
        "plain": lime's coin tosses. "antithetic", "stratified", "orthogonal": designs that need fewer samples for the
        same accuracy, see ``quantus_vit.lime.sampling``.
    feature_selection : str
        As in lime.
    stable_features : int, optional
        Stop as soon as the ranking of the so many most important segments, of every class asked for, is the same in
        three looks in a row, 100 samples apart. The result is that of a plain run with ``num_samples`` set to where it
        stopped.
    lung_mask : ndarray or Tensor, optional
        (H, W) for all images or (N, H, W) or (N, 1, H, W): cut the segments along the lung border, so that none
        straddles it.
    link : Link, optional
        What the linear model is fitted to: "softmax" or "sigmoid" probabilities, or the logits ("identity"). None: by
        the number of outputs, "sigmoid" for one and "softmax" for more. A multilabel model wants "sigmoid"; the link of
        a :class:`quantus_vit.Classifier` is its ``link``.
    r2_warning : float
        Warn (``LocalFitWarning``) where the weighted R2 of the local fit is below this; 0 never warns.

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
        link: Link | None = None,
        r2_warning: float = 0.2,
    ) -> None:
        super().__init__(model)
        check_whole("batch_size", batch_size)
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size={batch_size}; use a positive number, or None to choose it by memory")
        self.settings = Settings(
            num_samples=num_samples,
            segments=segments if isinstance(segments, str) or callable(segments) else to_numpy(segments),
            seed=seed,
            num_segments=num_segments,
            replacement=replacement,
            kernel_width=kernel_width,
            sampling=sampling,
            feature_selection=feature_selection,
            stable_features=stable_features,
            link=link,
        )
        self.batch_size = batch_size
        self.lung_mask = lung_mask
        self.r2_warning = r2_warning

    def attribute(  # type: ignore[override]  # its images are perturbed ones; see ``batch_size``
        self,
        inputs: Tensor,
        target: Target = None,
        additional_forward_args: Any = None,
        *,
        lung_mask: NDArray[Any] | Tensor | None = None,
    ) -> Tensor:
        """Dense map of one class: each pixel has the coefficient of its superpixel.

        Parameters
        ----------
        inputs : Tensor
            Shape (N, C, H, W), as the model takes them.
        target : Target
            Captum's meaning: a class for all images, one for each image, or None for the predicted ones.
        additional_forward_args : object
            Not served: LIME calls the model with perturbed images alone.
        lung_mask : ndarray or Tensor, optional
            As in the constructor; this one goes first.

        Returns
        -------
        Tensor
            Shape (N, 1, H, W), float32, on the inputs' device, signed: change of the class's probability, or of its
            logit, when the superpixel is present.
        """
        if additional_forward_args is not None:
            raise TypeError("LimeCXR takes no additional_forward_args; bind them to the model beforehand")
        images = self._checked(inputs)
        batch_size = self._batch_size(images)
        with torch.inference_mode():  # N bare forwards, so that a wrong target costs no neighbourhood
            logits = batch_size.run(lambda size: self._logits(images, size))
            labels = [[int(label)] for label in resolve_target(parse_target(target, len(logits)), logits)]
        explanations = self._explain_all(images, labels, ALL_FEATURES, batch_size, lung_mask)
        maps = [dense_map(explanation, label) for explanation, [label] in zip(explanations, labels, strict=True)]
        return torch.from_numpy(np.stack(maps)[:, None]).to(images.device)

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
        inputs : Tensor
            Shape (N, C, H, W).
        targets : sequence of int, optional
            The classes; None: all.
        lung_mask : ndarray or Tensor, optional
            As in the constructor; this one goes first.

        Returns
        -------
        Tensor
            Shape (N, T, 1, H, W), float32, in the order of ``targets``.
        """
        images = self._checked(inputs)
        explanations = self.explain(images, targets, lung_mask=lung_mask)
        labels = sorted(explanations[0].local_exp) if targets is None else [int(label) for label in targets]
        maps = [[dense_map(explanation, label) for label in labels] for explanation in explanations]
        return torch.from_numpy(np.array(maps)[:, :, None]).to(images.device)

    def explain(
        self,
        inputs: Tensor,
        labels: Sequence[int] | None = None,
        num_features: int = ALL_FEATURES,
        *,
        lung_mask: NDArray[Any] | Tensor | None = None,
    ) -> list[ImageExplanation]:
        """One explanation an image, see ``explain_instance``.

        Parameters
        ----------
        inputs : Tensor
            Shape (N, C, H, W).
        labels : sequence of int, optional
            Classes to explain; None: all.
        num_features : int
            As in lime: segments that the linear model may use.
        lung_mask : ndarray or Tensor, optional
            As in the constructor; this one goes first.
        """
        images = self._checked(inputs)
        if labels is not None:
            labels = check_labels(self.model, labels, images[:1])
        return self._explain_all(images, [labels] * len(images), num_features, self._batch_size(images), lung_mask)

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
        image : Tensor or ndarray
            Shape (C, H, W) or (1, C, H, W), normalised as the model takes it; moved to its device and floating type.
        labels : sequence of int, optional
            Classes to explain, from one neighbourhood; None: all.
        num_features : int
            As in lime: segments that the linear model may use.
        lung_mask : ndarray or Tensor, optional
            (H, W) or (1, H, W); goes before the constructor's.

        Returns
        -------
        lime.lime_image.ImageExplanation
            ``image`` is (H, W, 3) in the model's input space. ``score`` and ``local_pred`` are, as in lime, those of
            the last class. Beyond lime's attributes: ``top_labels`` (always, the explained classes by the model's
            answer), ``r2`` (a dict by class), ``standard_errors`` (a dict by class, each (n_segments,)), and the
            neighbourhood: ``masks`` (M, n_segments), ``labels`` (M, classes) and ``weights`` (M,), row 0 the
            unperturbed image.
        """
        tensor = torch.as_tensor(image)
        if tensor.ndim == 3:
            tensor = tensor[None]
        if tensor.ndim != 4 or len(tensor) != 1:
            raise ValueError(f"image has shape {tuple(np.shape(image))}; use (C, H, W) or (1, C, H, W)")
        parameter = next(self.model.parameters(), None)
        if parameter is not None:
            tensor = check_inputs(tensor).to(parameter)
        return self.explain(tensor, labels, num_features, lung_mask=lung_mask)[0]

    def _explain_all(
        self,
        images: Tensor,
        labels: Sequence[Sequence[int] | None],
        num_features: int,
        batch_size: BatchSize,
        lung_mask: NDArray[Any] | Tensor | None,
    ) -> list[ImageExplanation]:
        masks = mask_for_each(self.lung_mask if lung_mask is None else lung_mask, images)
        check_map_count(self.settings.segments, images)
        explanations = []
        made = explain_images(
            self.model, images, self.settings,
            batch_size=batch_size, labels=labels, num_features=num_features, lung_masks=masks,
        )  # fmt: skip
        for index, explanation in enumerate(made):
            warn_if_poor(explanation, index, self.r2_warning)
            explanations.append(explanation)
        return explanations

    def _checked(self, inputs: Tensor) -> Tensor:
        inputs = check_inputs(inputs, "LIME's superpixels are parts of an image (H, W), so it takes no volumes")
        self.check_model(inputs)
        return inputs.detach()

    def _logits(self, images: Tensor, size: int) -> Tensor:
        return torch.cat([logits_of(self.model(part)) for part in torch.split(images, size)])

    def _batch_size(self, images: Tensor) -> BatchSize:
        return BatchSize(choose_batch_size(self.model, images[0]) if self.batch_size is None else self.batch_size)
