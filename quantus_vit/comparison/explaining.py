"""One call of a method on one image: a record of it, and the map that it gives, through ``quantus.explain``.

Runner, metrics that explain again, figures and ``explain`` make their maps by this record alone. Knows Quantus' public
call; the names of this package reach Quantus by its plugin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from inspect import signature
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..models import Classifier
from ..quantus_plugin import available_methods
from ..quantus_plugin.registry import METHODS as EXPLAINERS
from ..tables import unknown_name
from .calls import Call
from .methods import METHODS, ControlInputs, MethodSpec, method_spec, options_of
from .protocol import ExplainOptions

__all__ = ["ExplainedImage", "MethodCall", "known_methods", "method_calls"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class ExplainedImage:
    """What a method is given.

    Parameters
    ----------
    image : torch.Tensor
        float32 ``(C, H, W)``, as the model takes it.
    target : int
        The explained output.
    seed : tuple of int
        For methods that draw by themselves: the protocol's seed and the image's own.
    masks : mapping of str to numpy.ndarray
        For controls: finding or organ -> bool ``(1, H, W)``.
    map_of : callable
        For controls: ``map_of(label, target)`` is another method's map of the image.
    """

    image: torch.Tensor
    target: int
    seed: tuple[int, ...] = (0,)
    masks: Mapping[str, Array] = field(default_factory=dict)
    map_of: Callable[[str, int], Array] | None = None


@dataclass(frozen=True)
class MethodCall:
    """A method with its options bound.

    Parameters
    ----------
    label : str
        As the protocol names it, options in brackets.
    spec : MethodSpec
    options : mapping
        ``xai_lib_kwargs`` of ``quantus.explain``, or keywords of the spec's ``make``.
    precision : str
        Number format of its forward passes, "float32" or "bfloat16".
    """

    label: str
    spec: MethodSpec
    options: Mapping[str, Any]
    precision: str = "float32"

    def explain(self, classifier: Classifier, image: ExplainedImage, device: str) -> Array:
        """Map of one image for one output.

        Returns
        -------
        numpy.ndarray
            float32 ``(1, H, W)``. Maps with several channels are summed over them, so that all methods are compared
            in one layout.

        Raises
        ------
        ValueError
            The method returns another shape.
        """
        (relevance,) = self.explain_all(classifier, [image], device)
        return relevance

    def explain_all(self, classifier: Classifier, images: Sequence[ExplainedImage], device: str) -> list[Array]:
        """Maps of several images by one call of the method; only for one that :meth:`takes_batches`, or one image.

        Returns
        -------
        list of numpy.ndarray
            As :meth:`explain` gives them.
        """
        explain = self.explain_func(images[0])
        channels, *size = images[0].image.shape
        maps = explain(
            model=classifier.module,
            inputs=torch.stack([image.image for image in images]).numpy(),
            targets=np.array([image.target for image in images]),
            device=device,
        )
        if maps.ndim == 4 and maps.shape[1] == channels:
            maps = maps.sum(axis=1, keepdims=True)
        expected = (len(images), 1, *size)
        if maps.shape != expected:
            raise ValueError(f"method {self.label!r} returned shape {maps.shape}, expected {expected}")
        return [relevance.astype(np.float32) for relevance in maps]

    def takes_batches(self, device: str) -> bool:
        """Whether several images are to be explained by one call.

        On a CPU it gains nothing, and TransformerLRP magnifies the rounding of a batch's other products. Elsewhere
        methods of this package do, whose maps do not depend on the batch; of others nobody knows.
        """
        name = self.spec.name
        built_in = self.spec.make is None and name in EXPLAINERS and EXPLAINERS[name].is_built_in
        return built_in and torch.device(device).type != "cpu"

    def explain_func(self, image: ExplainedImage) -> Callable[..., Array]:
        """Function with the signature of ``quantus.explain``, bound to the options and the image's seed.

        Called as ``f(model=..., inputs=..., targets=..., device=...)``; returns maps ``(N, 1, H, W)``.
        """
        if self.spec.make is not None:
            return self._made_func(image)

        def explain(model: torch.nn.Module, inputs: Array, targets: Array, **kwargs: Any) -> Array:
            # Not `from quantus import explain`: importing Quantus registers this package's names.
            import quantus

            with self._precision(str(kwargs.get("device") or "cpu")):
                options = {"method": self.spec.name, **({"xai_lib_kwargs": dict(self.options)} if self.options else {})}
                return np.asarray(quantus.explain(model, inputs, targets, **options, **kwargs))

        return explain

    def _made_func(self, image: ExplainedImage) -> Callable[..., Array]:
        make, calls = self.spec.make, 0
        assert make is not None

        def no_map(label: str, target: int) -> Array:
            raise ValueError(f"{self.label} needs the map of {label!r}, which only a comparison has")

        def explain(model: torch.nn.Module, inputs: Array, targets: Array, **_: Any) -> Array:
            nonlocal calls
            maps = []
            for one, target in zip(inputs, targets, strict=True):
                seen = ControlInputs(model, one, int(target), image.masks, image.seed, calls, image.map_of or no_map)
                maps.append(make(seen, **self.options))
                calls += 1
            return np.stack(maps)

        return explain

    def _precision(self, device: str) -> AbstractContextManager[Any]:
        if not self.spec.lower_precision or self.precision == "float32":
            return nullcontext()
        return torch.autocast(device.split(":")[0], dtype=torch.bfloat16)


def known_methods() -> list[str]:
    """Names that ``compare`` takes: this package's and registered ones, then those of the table that are installed."""
    registered = available_methods()
    return [*registered, *(spec.name for spec in METHODS if spec.name not in registered and not _lacking(spec))]


def method_calls(
    methods: Sequence[str], given: ExplainOptions, classifier: Classifier | None = None
) -> list[MethodCall]:
    """Calls of methods, checked before hours of work.

    Parameters
    ----------
    methods : sequence of str
        Names, with options in brackets.
    given : ExplainOptions
        Options of the run.
    classifier : Classifier, optional
        With it, methods of this package are made once, so that an option that they refuse is told now.

    Raises
    ------
    ValueError, TypeError
        A name is unknown, or an option is refused.
    ImportError
        A method needs a package that is not installed.
    """
    registered = tuple(available_methods())
    if classifier is not None:
        given = replace(given, link=classifier.link)
    calls = []
    for text in methods:
        call = Call.parse(text)
        if call.name not in registered and call.name not in METHODS:
            raise unknown_name("method", call.name, known_methods())
        spec = method_spec(call.name, registered)
        lacking = _lacking(spec)
        if lacking:
            extra = ": pip install 'quantus-vit[lime]'" if "lime" in spec.packages else ""
            raise ImportError(f"{call.name} needs {', '.join(lacking)}, which cannot be imported{extra}")
        made = MethodCall(call.label, spec, options_of(call, spec, given), given.precision)
        if classifier is not None:
            _check_options(made, classifier)
        calls.append(made)
    return calls


def _lacking(spec: MethodSpec) -> list[str]:
    return [package for package in spec.packages if find_spec(package) is None]


def _check_options(call: MethodCall, classifier: Classifier) -> None:
    """Make a method of this package with its options: what it refuses, it refuses now; so for a control's."""
    if call.spec.make is not None:
        try:
            signature(call.spec.make).bind(None, **call.options)
        except TypeError as error:
            raise ValueError(f"{call.label}: {error}; write {call.spec.name}[OPTION=VALUE]") from None
    elif call.spec.name in EXPLAINERS and EXPLAINERS[call.spec.name].is_built_in:
        try:
            EXPLAINERS[call.spec.name].load()(classifier.module, **call.options)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{call.label}: {error}") from error
