"""Base of this package's metrics: one image at a time, on every supported release of Quantus.

Releases up to 0.3 call ``evaluate_instance`` for each image, later ones ``evaluate_batch``; a metric here says how one
image is scored. Knows Quantus' ``Metric`` and its model wrapper.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from quantus.metrics.base import Metric
from torch import nn

from ..relevance import tokens_removed
from .patches import patch_units
from .removal import RemovalSpec

__all__ = ["ImageMetric", "check_choice", "check_count", "probabilities"]

Array = npt.NDArray[Any]


class ImageMetric(Metric):  # type: ignore[misc,type-arg,unused-ignore]
    """A metric that scores each image by itself.

    Parameters
    ----------
    output : {"logit", "probability"}
        What of the target's output is scored. A probability is the softmax over the logits, or the sigmoid of a single
        one.
    abs, normalise, normalise_func, normalise_func_kwargs, return_aggregate, aggregate_func, default_plot_func, \
disable_warnings, display_progressbar
        As in every metric of Quantus; a map is not normalised by default, since only its order counts.
    """

    fills_batches = True
    """That ``batch_size`` counts images which the model sees at once, of however many maps, and not maps."""

    def __init__(
        self,
        output: str,
        abs: bool = False,
        normalise: bool = False,
        normalise_func: Callable[..., Array] | None = None,
        normalise_func_kwargs: dict[str, Any] | None = None,
        return_aggregate: bool = False,
        aggregate_func: Callable[..., Any] | None = None,
        default_plot_func: Callable[..., Any] | None = None,
        disable_warnings: bool = True,
        display_progressbar: bool = False,
    ) -> None:
        check_choice("output", output, ("logit", "probability"))
        super().__init__(
            abs=abs,
            normalise=normalise,
            normalise_func=normalise_func,
            normalise_func_kwargs=normalise_func_kwargs,
            return_aggregate=return_aggregate,
            aggregate_func=np.mean if aggregate_func is None else aggregate_func,
            default_plot_func=default_plot_func,
            disable_warnings=disable_warnings,
            display_progressbar=display_progressbar,
        )
        self.output = output

    def __call__(
        self,
        model: Any,
        x_batch: Array,
        y_batch: Array,
        a_batch: Array | None = None,
        s_batch: Array | None = None,
        channel_first: bool | None = None,
        explain_func: Callable[..., Array] | None = None,
        explain_func_kwargs: dict[str, Any] | None = None,
        model_predict_kwargs: dict[str, Any] | None = None,
        softmax: bool | None = False,
        device: str | None = None,
        batch_size: int = 64,
        custom_batch: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Score maps; arguments and result as those of every metric of Quantus.

        Parameters
        ----------
        model : nn.Module
        x_batch : ndarray
            ``(N, C, H, W)``.
        y_batch : ndarray
            ``(N,)``, the explained classes.
        a_batch : ndarray, optional
            ``(N, 1, H, W)`` or ``(N, C, H, W)``; else ``explain_func`` makes them.
        batch_size : int
            Images that the model sees at once.

        Returns
        -------
        list of float
            One score an image; one in all with ``return_aggregate``.
        """
        self._batch_size = check_count("batch_size", batch_size)
        if softmax and self.output == "probability":
            raise ValueError("output='probability' takes the softmax itself; call the metric with softmax=False")
        options: dict[str, Any] = {"custom_batch": custom_batch, **kwargs}
        return super().__call__(
            model=model,
            x_batch=x_batch,
            y_batch=y_batch,
            a_batch=a_batch,
            s_batch=s_batch,
            channel_first=channel_first,
            explain_func=explain_func,
            explain_func_kwargs=explain_func_kwargs,
            model_predict_kwargs=model_predict_kwargs,
            softmax=softmax,
            device=device,
            **options,
        )

    def evaluate_batch(
        self, model: Any, x_batch: Array, y_batch: Array, a_batch: Array, s_batch: Array | None = None, **_: Any
    ) -> list[float]:
        """Scores of a batch, for releases of Quantus from 0.4 on."""
        masks = [None] * len(x_batch) if s_batch is None else s_batch
        return [self.score(model, x, int(y), a, s) for x, y, a, s in zip(x_batch, y_batch, a_batch, masks, strict=True)]

    def evaluate_instance(self, model: Any, x: Array, y: Any, a: Array, s: Array | None = None, **_: Any) -> float:
        """Score of one image, for releases of Quantus before 0.4."""
        return self.score(model, x, int(y), a, s)

    def score(self, model: Any, x: Array, y: int, a: Array, s: Array | None = None) -> float:
        """Score of one map.

        Parameters
        ----------
        model : ModelInterface
            Quantus' wrapper of the model.
        x : ndarray
            ``(C, H, W)``.
        y : int
            The explained class.
        a : ndarray
            ``(1, H, W)`` or ``(C, H, W)``.
        s : ndarray, optional
            The mask, bool ``(1, H, W)``.
        """
        raise NotImplementedError

    # For the metrics -------------------------------------------------------------------------------------------------

    def outputs_without(
        self, model: Any, x: Array, y: int, removed: Array, units: Array, removal: RemovalSpec
    ) -> Array:
        """The target's output, ``(M,)``, with some of the image's units replaced, or left out of the model.

        Parameters
        ----------
        model, x, y
            As in :meth:`score`.
        removed : ndarray
            bool ``(M, units)``, True where a unit is removed.
        units : ndarray
            int ``(H, W)``, the unit (a pixel, a patch) that each pixel belongs to.
        removal : RemovalSpec
        """
        found = []
        for start in range(0, len(removed), self._batch_size):
            part = removed[start : start + self._batch_size]
            if removal.replace is None:
                images = np.broadcast_to(x, (len(part), *x.shape)).copy()
                with tokens_removed(_module_of(model), torch.from_numpy(part)):
                    found.append(self._predict(model, images, y))
            else:
                found.append(self._predict(model, removal.replace(x, part[:, units]), y))
        return np.concatenate(found)

    def units(self, model: Any, x: Array, removal: RemovalSpec, patch_size: int | None) -> Array:
        """Number of the patch of each pixel, int ``(H, W)``: patches of that size, or the model's own tokens."""
        if removal.replace is not None:
            return patch_units(x.shape[1:], patch_size)
        if patch_size is not None:
            raise ValueError(f"removal={removal.name!r} removes the model's own patches; leave patch_size out")
        with tokens_removed(_module_of(model), None) as run:
            model.predict(x[None])
        return patch_units(x.shape[1:], grid=run.grid)

    def _predict(self, model: Any, images: Array, y: int) -> Array:
        outputs = np.asarray(model.predict(images))
        if self.output == "probability":
            outputs = probabilities(outputs)
        return outputs[:, y].astype(np.float64)


def _module_of(model: Any) -> nn.Module:
    """The module that Quantus' wrapper runs: the model, or its copy without a softmax at the end."""
    return getattr(model, "get_softmax_arg_model", model.get_model)()  # type: ignore[no-any-return]


def probabilities(logits: Array) -> Array:
    """Softmax over ``(N, K)`` logits; the sigmoid where K is 1."""
    logits = logits.astype(np.float64)
    if logits.shape[1] == 1:
        return np.asarray(1 / (1 + np.exp(-logits)))
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def check_choice(name: str, value: str, allowed: tuple[str, ...]) -> str:
    """The value, if it is one of those allowed; else ``ValueError``."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, not {value!r}")
    return value


def check_count(name: str, value: int) -> int:
    """The value, if it is a whole number of 1 or more; else ``ValueError``."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be a whole number of 1 or more, not {value!r}")
    return int(value)
