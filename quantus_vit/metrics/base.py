"""Base of this package's metrics: each map by itself, in full batches, on every supported release of Quantus.

Releases up to 0.3 call ``evaluate_instance`` for each image, later ones ``evaluate_batch``; a metric here says how one
map is scored, and by which outputs of the model, which several maps then ask for together. Knows Quantus' ``Metric``
and its model wrapper.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from quantus.metrics.base import Metric
from torch import nn

from ..relevance import tokens_removed
from .checks import check_choice, check_count
from .patches import patch_units
from .removal import RemovalSpec

__all__ = ["ImageMetric", "Removed", "Scoring", "probabilities"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Removed:
    """Images without some of their units, whose outputs a metric asks for.

    Parameters
    ----------
    x : ndarray
        ``(C, H, W)``, the image.
    y : int
        The output.
    removed : ndarray
        bool ``(M, units)``, True where a unit is replaced, or left out of the model.
    units : ndarray
        int ``(H, W)``, the unit (a pixel, a patch) that each pixel belongs to.
    removal : RemovalSpec
    """

    x: Array
    y: int
    removed: Array
    units: Array
    removal: RemovalSpec


Scoring: TypeAlias = "Generator[Removed, Array | None, Any]"
"""A map's way to its score: asks for outputs, gets them, returns what the score is made of."""


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
        self._grids: dict[tuple[int, ...], tuple[int, ...]] = {}
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
        batch = zip(x_batch, y_batch, a_batch, masks, strict=True)
        runs = [self.scoring(model, x, int(y), a, s) for x, y, a, s in batch]
        return self.finish(self._run_together(model, runs))

    def evaluate_instance(self, model: Any, x: Array, y: Any, a: Array, s: Array | None = None, **_: Any) -> float:
        """Score of one image, for releases of Quantus before 0.4."""
        return self.finish(self._run_together(model, [self.scoring(model, x, int(y), a, s)]))[0]

    def scoring(self, model: Any, x: Array, y: int, a: Array, s: Array | None = None) -> Scoring:
        """Score one map, asking for outputs of the model on the way.

        Parameters
        ----------
        model : ModelInterface
            Quantus' wrapper of the model.
        x, y : ndarray, int
            The image ``(C, H, W)``, and the explained class.
        a, s : ndarray
            The map, ``(1, H, W)`` or ``(C, H, W)``, and the mask, bool ``(1, H, W)``, if there is one.

        Yields
        ------
        Removed
            Parts of the image that are removed; the outputs without them are sent back, ``(M,)``. What several maps
            ask for at a time goes through the model together.

        Returns
        -------
        object
            What :meth:`finish` makes a score of.
        """
        yield from ()
        return self.score(model, x, y, a, s)

    def score(self, model: Any, x: Array, y: int, a: Array, s: Array | None = None) -> float:
        """Score one map by itself: for metrics that do not share the model's batches by :meth:`scoring`."""
        raise NotImplementedError

    def finish(self, results: list[Any]) -> list[float]:
        """Scores of a batch, from what the maps' :meth:`scoring` returned."""
        return [float(result) for result in results]

    # For the metrics -------------------------------------------------------------------------------------------------

    def _run_together(self, model: Any, runs: Sequence[Scoring]) -> list[Any]:
        """Take all maps a step at a time, and give each the outputs that it asked for."""
        results: list[Any] = [None] * len(runs)
        answers: dict[int, Array | None] = dict.fromkeys(range(len(runs)))
        while answers:
            asked: dict[int, Removed] = {}
            for number, answer in answers.items():
                try:
                    asked[number] = runs[number].send(answer)
                except StopIteration as end:
                    results[number] = end.value
            answers = dict(zip(asked, self._outputs(model, list(asked.values())), strict=True))
        return results

    def _outputs(self, model: Any, asked: Sequence[Removed]) -> list[Array]:
        """Outputs for each of several requests, in full batches; what is asked twice of an image is run once."""
        rows: dict[tuple[int, bytes], int] = {}
        images: dict[tuple[bytes, int], int] = {}
        places, order = [], []
        for request in asked:
            image = images.setdefault((request.x.tobytes(), request.y), len(images))
            keys = [(image, removed.tobytes()) for removed in request.removed]
            for key, removed in zip(keys, request.removed, strict=True):
                if key not in rows:
                    rows[key] = len(rows)
                    order.append((request, removed))
            places.append([rows[key] for key in keys])
        outputs = [
            self._outputs_of(model, order[start : start + self._batch_size])
            for start in range(0, len(order), self._batch_size)
        ]
        found = np.concatenate(outputs) if outputs else np.empty(0)
        return [found[place] for place in places]

    def _outputs_of(self, model: Any, batch: Sequence[tuple[Removed, Array]]) -> Array:
        targets = np.array([request.y for request, _ in batch])
        if batch[0][0].removal.replace is None:
            masks = torch.from_numpy(np.stack([removed for _, removed in batch]))
            with tokens_removed(_module_of(model), masks):
                return self._predict(model, np.stack([request.x for request, _ in batch]), targets)
        parts = []
        for _, group in groupby(batch, key=lambda entry: id(entry[0])):
            entries = list(group)
            request = entries[0][0]
            assert request.removal.replace is not None
            removed = np.stack([row for _, row in entries])
            parts.append(request.removal.replace(request.x, removed[:, request.units]))
        return self._predict(model, np.concatenate(parts), targets)

    def units(self, model: Any, x: Array, removal: RemovalSpec, patch_size: int | None) -> Array:
        """Number of the patch of each pixel, int ``(H, W)``: patches of that size, or the model's own tokens."""
        if removal.replace is not None:
            return patch_units(x.shape[1:], patch_size)
        if patch_size is not None:
            raise ValueError(f"removal={removal.name!r} removes the model's own patches; leave patch_size out")
        if x.shape not in self._grids:
            with tokens_removed(_module_of(model), None) as run:
                model.predict(x[None])
            self._grids[x.shape] = run.grid
        return patch_units(x.shape[1:], grid=self._grids[x.shape])

    def _predict(self, model: Any, images: Array, targets: int | Array) -> Array:
        outputs = np.asarray(model.predict(images))
        if self.output == "probability":
            outputs = probabilities(outputs)
        return np.asarray(outputs[np.arange(len(outputs)), targets], dtype=np.float64)


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
