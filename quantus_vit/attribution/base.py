"""What all attribution methods share: Captum's base class where Captum is there, and the way from a batch to maps.

It knows torch and, where importable, Captum; it knows no method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from torch import Tensor, nn

from ..relevance import Trace
from ..relevance.forward import original
from ..relevance.numerics import HALF
from .batches import images_at_once, in_parts
from .graphed import Capture, Graphed
from .inputs import (
    Target,
    along_batch,
    as_forward_args,
    check_inputs,
    parse_target,
    resolve_target,
)

__all__ = ["AttributionMethod", "PropagationMethod", "check_finite", "like_captum", "own_modes", "require_relevance"]

if TYPE_CHECKING:

    class Attribution:
        """Captum's base class, as far as this package relies on it."""

        def __init__(self, forward_func: Any) -> None:
            self.forward_func = forward_func

else:
    try:
        from captum.attr import Attribution
    except Exception:  # Captum is absent, or does not import beside this torch

        class Attribution:
            """Stand-in for ``captum.attr.Attribution``, used where Captum cannot be imported."""

            def __init__(self, forward_func: Any) -> None:
                self.forward_func = forward_func

            @property
            def multiplies_by_inputs(self) -> bool:
                """Whether attributions are scaled by the input."""
                return False

            @classmethod
            def get_name(cls) -> str:
                """Name of the method."""
                return cls.__name__


Method = TypeVar("Method", bound=Callable[..., Any])


def like_captum(attribute: Method) -> Method:
    """Decorate ``attribute`` to answer as Captum's own methods do: a tuple of one input with a tuple of one map.

    ``captum.attr.NoiseTunnel`` moreover wants to find the undecorated method as ``attribute.__wrapped__``.
    """

    @wraps(attribute)
    def answer(self: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        found = attribute(self, inputs, *args, **kwargs)
        return (found,) if isinstance(inputs, tuple) else found

    return cast(Method, answer)


@contextmanager
def own_modes() -> Iterator[None]:
    """Whatever the caller's modes: tensors that autograd may keep, and no graph but the traces' own."""
    with torch.inference_mode(False), torch.no_grad():
        yield


class AttributionMethod(Attribution):
    """Base of this package's methods.

    Parameters
    ----------
    model : nn.Module
        A Vision Transformer classifier, in evaluation mode; it is used as it is and left unchanged.

    Raises
    ------
    TypeError
        ``model`` is no ``nn.Module``.
    """

    def __init__(self, model: nn.Module) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be a torch.nn.Module, not {type(model).__name__}")
        super().__init__(model)
        self.model = model

    @like_captum
    def attribute(
        self,
        inputs: Tensor,
        target: Target = None,
        additional_forward_args: Any = None,
        internal_batch_size: int | None = None,
    ) -> Tensor:
        """Attribution of one class per image; the class says of what shape and range.

        Parameters
        ----------
        inputs : Tensor
            (N, C, H, W) images or (N, C, D, H, W) volumes, normalised as the model wants them.
        target : int, sequence of int, Tensor or None
            Class index for all images, or one per image; None is the predicted class.
        additional_forward_args : Any
            Further positional arguments of the model's forward, a tuple or one value; they get no relevance. Tensors
            whose first dimension is N go along with the images, those in lists, tuples and dicts, too.
        internal_batch_size : int or None
            Images that are explained at once; memory grows with it, the maps depend on it by rounding only. None
            chooses: 3 on a CPU, where more are hardly faster; elsewhere up to 32, and of larger batches as many as the
            free memory holds, at most 128. Halved where memory runs out all the same.

        Returns
        -------
        Tensor
            (N, ...), on the inputs' device; volumes' maps have a depth: (N, 1, D, H, W) where images' are (N, 1, H, W).

        Raises
        ------
        ValueError, TypeError
            Wrong inputs, targets or ``internal_batch_size``, or a model that the method does not serve.
        UnsupportedOperationError
            An operation of the model has no relevance rule.
        """
        inputs = check_inputs(inputs)
        self.check_model(inputs)
        targets = parse_target(target, len(inputs))
        forward_args = as_forward_args(additional_forward_args)
        at_once = images_at_once(self.model, inputs, forward_args, internal_batch_size)

        def explain(part: slice) -> Tensor:
            along = along_batch(forward_args, part, len(inputs))
            with own_modes():
                return check_finite(self._attribute(inputs[part], None if targets is None else targets[part], along))

        return in_parts(explain, inputs, at_once, targets)

    def _attribute(self, inputs: Tensor, target: Tensor | None, forward_args: tuple[Any, ...]) -> Tensor:
        """What :meth:`attribute` gives for images that are explained at once; target (N,) or None."""
        raise NotImplementedError

    def graphed(self, example: Tensor, capture: Capture | None = None) -> Graphed:
        """The method for images of one shape, as a CUDA graph: where a GPU waits for launches, several times as fast.

        The graph is captured at the first call, and anew after a change of the model's weights or modes. It keeps its
        memory, that of one attribution of the whole example at once. Targets are an input of it. What it does not serve
        (other shapes, a CPU, a model whose operations ask the host) the method explains itself, with a
        :class:`~quantus_vit.errors.GraphWarning` that says why.

        Parameters
        ----------
        example : Tensor
            (N, C, H, W), of the shape, type and device of the images to come.
        capture : callable, optional
            What captures and replays in place of CUDA, for tests.

        Returns
        -------
        Graphed
            Called as ``graphed(inputs, target)``; gives what :meth:`attribute` gives, to rounding.

        Examples
        --------
        >>> explain = TransformerLRP(model).graphed(images)  # (N, C, H, W) on a GPU
        >>> maps = explain(images, labels)
        """
        has_function = type(self)._attribute is not AttributionMethod._attribute

        def explain(inputs: Tensor, target: Tensor | None) -> Tensor:
            return self._attribute(inputs, target, ())

        return Graphed(
            original(self.model),
            explain if has_function else None,
            lambda inputs, target: self.attribute(inputs, target),
            check_inputs(example),
            own_modes,
            capture,
        )

    def has_convergence_delta(self) -> bool:
        """Whether a convergence delta is computed; none of the methods does."""
        return False

    def check_model(self, inputs: Tensor) -> None:
        """Raise where the input lies on another device than the model."""
        parameter = next(original(self.model).parameters(), None)
        if parameter is not None and parameter.device != inputs.device:
            raise ValueError(
                f"inputs are on {inputs.device} but the model is on {parameter.device}; move one of them with .to(...)"
            )


class PropagationMethod(AttributionMethod):
    """Base of the methods that propagate from the logits: the passes for several classes share one forward."""

    def attribute_all_targets(self, inputs: Tensor, internal_batch_size: int | None = None) -> Tensor:
        """Attribution of every class from one forward an image.

        Parameters
        ----------
        inputs : Tensor
            (N, C, H, W), normalised as the model wants it.
        internal_batch_size : int or None
            As in :meth:`attribute`.

        Returns
        -------
        Tensor
            (N, classes, ...), for each class what :meth:`attribute` gives.

        Raises
        ------
        ValueError, TypeError, UnsupportedOperationError
            As :meth:`attribute`.
        """
        inputs = check_inputs(inputs)
        self.check_model(inputs)

        def explain(part: slice) -> Tensor:
            with own_modes():
                traced = self._trace(inputs[part], ())
                size, classes = traced.logits.shape
                targets = [torch.full((size,), k, device=inputs.device) for k in range(classes)]
                return check_finite(torch.stack(self._maps(traced, targets, inputs[part]), 1))

        return in_parts(explain, inputs, images_at_once(self.model, inputs, (), internal_batch_size))

    def _attribute(self, inputs: Tensor, target: Tensor | None, forward_args: tuple[Any, ...]) -> Tensor:
        traced = self._trace(inputs, forward_args)
        return self._maps(traced, [resolve_target(target, traced.logits)], inputs)[0]

    def _trace(self, inputs: Tensor, forward_args: tuple[Any, ...]) -> Trace:
        """The forward pass."""
        raise NotImplementedError

    def _maps(self, traced: Trace, targets: list[Tensor], inputs: Tensor) -> list[Tensor]:
        """One attribution for each of the targets (N,); the passes for all targets go side by side."""
        raise NotImplementedError


def check_finite(maps: Tensor) -> Tensor:
    """The maps, if half precision, whose range is small, held all their numbers.

    Raises
    ------
    ValueError
        It did not.
    """
    if maps.dtype in HALF and not bool(maps.isfinite().all()):
        raise ValueError(
            f"maps are not finite: numbers on their way left the range of {maps.dtype}; convert model and inputs with "
            ".float() (or, from float16, .bfloat16())"
        )
    return maps


def require_relevance(message: Tensor | None) -> Tensor:
    """A pass' message at the input, which only a model that ignores its input leaves without one."""
    if message is None:
        raise ValueError("the model's logits do not depend on the input through any traced operation")
    return message
