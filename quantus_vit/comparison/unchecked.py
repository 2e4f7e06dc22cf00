"""Metrics of Quantus 0.6 spared two checks that cost more than the scores.

Both ways are keywords of Quantus' own, ``normalise_func`` and ``perturb_func``; scores are the same to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Unchecked"]

Array = npt.NDArray[Any]

_LOOKED_AT = 64
"""Replaced values of an image that are looked at for a change, before all of them are."""


class Unchecked:
    """A metric of Quantus that is called as any other, with maps of which none is constant.

    Quantus puts all values of all maps into one Python set, to refuse maps without contrast: 0.9 s for 48 maps of 224 x
    224 pixels. Here it is shown where each map is largest, and what it normalises is the maps. And it compares every
    perturbed image with the image by ``np.allclose``, to warn; here the values that were replaced answer that.

    Parameters
    ----------
    metric : type
        Of Quantus, with a ``perturb_func`` that takes images ``(N, F)`` and ``indices`` ``(N, I)``.
    settings : mapping
        Its keywords.
    """

    def __init__(self, metric: Any, settings: Mapping[str, Any]) -> None:
        self._metric, self._settings = metric, dict(settings)
        self._plain = metric(**settings)  # what it refuses, it refuses now
        self._normalise: Callable[[Array], Array] | None = self._plain.normalise_func if self._plain.normalise else None
        self._perturb: Callable[..., Array] = self._plain.perturb_func

    def __getattr__(self, name: str) -> Any:
        """A setting of the metric."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._plain, name)

    def __call__(self, *, a_batch: Array, batch_size: int, **arguments: Any) -> Any:
        """What the metric returns."""
        shown, normalise = a_batch, self._normalise
        settings: dict[str, Any] = {**self._settings, "perturb_func": self._replaced}
        if normalise is not None:
            shown = a_batch == a_batch.max(axis=tuple(range(1, a_batch.ndim)), keepdims=True)
            settings["normalise_func"] = lambda *_, **__: normalise(a_batch)
        return self._metric(**settings)(a_batch=shown, batch_size=batch_size, **arguments)

    def _replaced(self, arr: Array, indices: Array, **_: Any) -> Array:
        """As Quantus' own, with a mark on each image of which a change is seen among the first values."""
        arr = np.asarray(arr)
        found = self._perturb(arr=arr, indices=indices)
        looked_at = np.arange(len(arr))[:, None], indices[:, :_LOOKED_AT]
        marked = found.view(_Replaced)
        marked.changed = ~np.isclose(arr[looked_at], found[looked_at], equal_nan=True).all(axis=1)
        return marked


class _Replaced(np.ndarray[Any, Any]):
    """Images, or one, some values of which were replaced; ``np.allclose`` of it with the image before knows so.

    ``changed`` is bool ``(N,)``, or one bool: True where a value is known to have changed; elsewhere ``np.allclose``
    looks at all of them.
    """

    changed: Any = False

    def __array_finalize__(self, source: Array | None) -> None:
        self.changed = getattr(source, "changed", False)

    def __iter__(self) -> Any:
        for one, changed in zip(np.asarray(self), self.changed, strict=True):
            row = one.view(_Replaced)
            row.changed = changed
            yield row

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if func is np.allclose and np.ndim(self.changed) == 0 and self.changed:
            return False
        return super().__array_function__(func, types, args, kwargs)
