"""Metrics of Quantus that make one result of a whole batch, called for each map by itself. Imports no Quantus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["OneByOne", "only_value"]


class OneByOne:
    """A metric that is made and called anew for each map.

    Parameters
    ----------
    metric : type
        Of Quantus.
    settings : mapping
        Its keywords.
    softmax : bool
        Score probabilities, whatever the call says.
    classes : bool
        The metric wants ``num_classes``, which the model says.
    """

    def __init__(self, metric: Any, settings: Mapping[str, Any], softmax: bool = False, classes: bool = False) -> None:
        self._metric, self._settings, self._softmax, self._classes = metric, dict(settings), softmax, classes
        metric(**settings)  # what it refuses, it refuses now

    def __call__(self, model: Any, x_batch: Any, y_batch: Any, a_batch: Any, **options: Any) -> list[Any]:
        """What the metric returns for each map.

        Raises
        ------
        ValueError
            The metric needs several classes, and the model has one output.
        """
        options.pop("s_batch", None)
        settings = dict(self._settings)
        if self._classes or self._softmax:
            outputs = _outputs(model, x_batch)
        if self._classes:
            settings["num_classes"] = outputs
        if self._softmax:
            options["softmax"] = True
        found = []
        for i in range(len(a_batch)):
            one = {"x_batch": x_batch[i : i + 1], "y_batch": y_batch[i : i + 1], "a_batch": a_batch[i : i + 1]}
            found.append(self._metric(**settings)(model=model, **one, **options))
        return found


def _outputs(model: Any, x_batch: Any) -> int:
    import torch

    from ...quantus_plugin.model_state import device_of

    with torch.no_grad():
        outputs = int(model(torch.as_tensor(x_batch[:1]).to(device_of(model))).shape[1])
    if outputs < 2:
        raise ValueError("the metric compares classes, but the model has one output; take another metric")
    return outputs


def only_value(found: Sequence[float]) -> float:
    """The one value of a call with one map."""
    (value,) = found
    return float(value)
