"""What all attribution methods share: Captum's base class where Captum is there, checks of inputs and targets.

It knows torch and, where importable, Captum; it knows no method.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from torch import Tensor, nn

from ..relevance.passes import original

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

    def attribute(self, inputs: Tensor, target: Target = None, additional_forward_args: Any = None) -> Tensor:
        """Attribution of one target per image; see the class for shapes."""
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


def like_captum(attribute: Method) -> Method:
    """Decorate ``attribute`` to answer as Captum's own methods do: a tuple of one input with a tuple of one map.

    ``captum.attr.NoiseTunnel`` moreover wants to find the undecorated method as ``attribute.__wrapped__``.
    """

    @wraps(attribute)
    def answer(self: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        found = attribute(self, inputs, *args, **kwargs)
        return (found,) if isinstance(inputs, tuple) else found

    return cast(Method, answer)


def arguments(additional_forward_args: Any) -> tuple[Any, ...]:
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


def resolve_target(target: Target, logits: Tensor) -> Tensor:
    """Class index per image, (N,) int64 on the logits' device.

    Parameters
    ----------
    target : int, sequence of int, Tensor or None
        Captum's meaning: one class for all images, or one per image; None is the predicted class.
    logits : Tensor
        (N, classes).

    Raises
    ------
    TypeError, ValueError
        The target is of another type, has another length, or lies outside [0, classes).
    """
    size, classes = logits.shape
    if target is None:
        return logits.argmax(1)
    try:
        indices = torch.as_tensor(target, device=logits.device)
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
    wrong = indices[(indices < 0) | (indices >= classes)]
    if wrong.numel():
        raise ValueError(f"target {int(wrong[0])} is out of range: the model has {classes} classes, 0 to {classes - 1}")
    return indices


def one_hot(target: Tensor, logits: Tensor) -> Tensor:
    """(N, classes): 1 at each image's target class."""
    return torch.zeros_like(logits).scatter_(1, target[:, None], 1)
