"""What all attribution methods share: Captum's base class where Captum is there, checks of inputs and targets.

It knows torch and, where importable, Captum; it knows no method.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from torch import Tensor, nn

from ..relevance import Trace
from ..relevance.forward import original

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
Target = int | Sequence[int] | Tensor | None
DEFAULT_INTERNAL_BATCH_SIZE = {"cpu": 3}  # images; see benchmarks/README.md
ACCELERATOR_INTERNAL_BATCH_SIZE = 128


def like_captum(attribute: Method) -> Method:
    """Decorate ``attribute`` to answer as Captum's own methods do: a tuple of one input with a tuple of one map.

    ``captum.attr.NoiseTunnel`` moreover wants to find the undecorated method as ``attribute.__wrapped__``.
    """

    @wraps(attribute)
    def answer(self: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        found = attribute(self, inputs, *args, **kwargs)
        return (found,) if isinstance(inputs, tuple) else found

    return cast(Method, answer)


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
            (N, C, H, W), normalised as the model wants it.
        target : int, sequence of int, Tensor or None
            Class index for all images, or one per image; None is the predicted class.
        additional_forward_args : Any
            Further positional arguments of the model's forward, a tuple or one value; they get no relevance. A tensor
            whose first dimension is N goes along with the images.
        internal_batch_size : int or None
            Images that are explained at once; memory grows with it, the maps depend on it by rounding only. None
            chooses: 3 on a CPU, where more are hardly faster, and 128 elsewhere.

        Returns
        -------
        Tensor
            (N, ...), on the inputs' device.

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
        found = []
        for part in split_batch(inputs, internal_batch_size):
            along = tuple(x[part] if is_batched(x, len(inputs)) else x for x in forward_args)
            found.append(self._attribute(inputs[part], None if targets is None else targets[part], along))
        return found[0] if len(found) == 1 else torch.cat(found)

    def _attribute(self, inputs: Tensor, target: Tensor | None, forward_args: tuple[Any, ...]) -> Tensor:
        """What :meth:`attribute` gives for images that are explained at once; target (N,) or None."""
        raise NotImplementedError

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
        """Attribution of every class from one forward an image, (N, classes, ...); else as :meth:`attribute`."""
        inputs = check_inputs(inputs)
        self.check_model(inputs)
        found = []
        for part in split_batch(inputs, internal_batch_size):
            traced = self._trace(inputs[part], ())
            size, classes = traced.logits.shape
            targets = [torch.full((size,), k, device=inputs.device) for k in range(classes)]
            found.append(torch.stack(self._maps(traced, targets, inputs[part]), 1))
        return torch.cat(found)

    def _attribute(self, inputs: Tensor, target: Tensor | None, forward_args: tuple[Any, ...]) -> Tensor:
        traced = self._trace(inputs, forward_args)
        return self._maps(traced, [resolve_target(target, traced.logits)], inputs)[0]

    def _trace(self, inputs: Tensor, forward_args: tuple[Any, ...]) -> Trace:
        """The forward pass."""
        raise NotImplementedError

    def _maps(self, traced: Trace, targets: list[Tensor], inputs: Tensor) -> list[Tensor]:
        """One attribution for each of the targets (N,); the passes for all targets go side by side."""
        raise NotImplementedError


def require_relevance(message: Tensor | None) -> Tensor:
    """A pass' message at the input, which only a model that ignores its input leaves without one."""
    if message is None:
        raise ValueError("the model's logits do not depend on the input through any traced operation")
    return message


def as_forward_args(additional_forward_args: Any) -> tuple[Any, ...]:
    """Captum's ``additional_forward_args`` (None, one value or a tuple) as positional arguments."""
    if additional_forward_args is None:
        return ()
    return additional_forward_args if isinstance(additional_forward_args, tuple) else (additional_forward_args,)


def check_inputs(inputs: Any) -> Tensor:
    """The inputs, if they are one floating-point batch of images (N, C, H, W) with N > 0.

    Raises
    ------
    TypeError, ValueError
        Otherwise, with what was given and what is wanted.
    """
    if isinstance(inputs, (tuple, list)):
        if len(inputs) != 1:
            raise TypeError(f"inputs must be one tensor (N, C, H, W), not a tuple of {len(inputs)}")
        inputs = inputs[0]
    if not isinstance(inputs, Tensor):
        raise TypeError(f"inputs must be a torch.Tensor (N, C, H, W), not {type(inputs).__name__}")
    if inputs.dim() != 4 or inputs.shape[0] == 0:
        hint = "; add a batch dimension with x[None]" if inputs.dim() == 3 else ""
        raise ValueError(f"inputs must have shape (N, C, H, W) with N > 0, not {tuple(inputs.shape)}{hint}")
    if not inputs.is_floating_point():
        raise TypeError(f"inputs must be floating point, not {inputs.dtype}; convert and normalise them as in training")
    return inputs


def split_batch(inputs: Tensor, internal_batch_size: int | None) -> list[slice]:
    """The batch in pieces of at most so many images.

    Raises
    ------
    ValueError
        The number is not a positive integer.
    """
    if internal_batch_size is None:
        internal_batch_size = DEFAULT_INTERNAL_BATCH_SIZE.get(inputs.device.type, ACCELERATOR_INTERNAL_BATCH_SIZE)
    whole = hasattr(internal_batch_size, "__index__") and not isinstance(internal_batch_size, bool)
    if not whole or internal_batch_size < 1:
        raise ValueError(f"internal_batch_size must be a positive integer or None, not {internal_batch_size!r}")
    return [slice(i, i + internal_batch_size) for i in range(0, len(inputs), internal_batch_size)]


def is_batched(value: Any, size: int) -> bool:
    """Whether a further argument of the model has one entry per image."""
    return isinstance(value, Tensor) and value.dim() > 0 and len(value) == size


def parse_target(target: Target, size: int) -> Tensor | None:
    """Class index per image, (size,) int64; None where the predicted class is meant.

    Parameters
    ----------
    target : int, sequence of int, Tensor or None
        Captum's meaning: one class for all images, or one per image; None is the predicted class.
    size : int
        Number of images.

    Raises
    ------
    TypeError, ValueError
        The target is of another type or has another length.
    """
    if target is None:
        return None
    try:
        indices = torch.as_tensor(target)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"target must be an int, a list of ints, a tensor (N,) or None, not {target!r}") from error
    if indices.is_floating_point() or indices.is_complex() or indices.dtype == torch.bool:
        raise TypeError(f"target must hold integers, not {indices.dtype}")
    indices = indices.long()
    if indices.dim() == 2 and indices.shape[1] == 1:
        indices = indices[:, 0]
    if indices.numel() == 1 and indices.dim() < 2:
        indices = indices.reshape(1).expand(size)
    if indices.shape != (size,):
        raise ValueError(f"target must be one class or {size} (one per image), not of shape {tuple(indices.shape)}")
    return indices


def resolve_target(target: Tensor | None, logits: Tensor) -> Tensor:
    """The target, or the predicted class in place of None, (N,) int64 on the logits' device.

    Raises
    ------
    ValueError
        A target lies outside [0, classes).
    """
    if target is None:
        return logits.argmax(1)
    classes = logits.shape[1]
    wrong = target[(target < 0) | (target >= classes)]
    if wrong.numel():
        raise ValueError(f"target {int(wrong[0])} is out of range: the model has {classes} classes, 0 to {classes - 1}")
    return target.to(logits.device)


def one_hot(target: Tensor, logits: Tensor) -> Tensor:
    """(N, classes): 1 at each image's target class."""
    return torch.zeros_like(logits).scatter_(1, target[:, None], 1)
