"""The base class of rules, and what several of them share."""

from __future__ import annotations

from typing import Any, ClassVar, Generic, TypeVar, get_args, get_origin

import torch
from torch import Tensor

from ..interfaces import Reads, RuledOperation
from ..numerics import MessageKind, Messages, damped_ratio, divide

__all__ = ["BOTH", "Rule", "quotient", "through_copy"]

OperationType = TypeVar("OperationType", bound=RuledOperation, contravariant=True)
BOTH: tuple[MessageKind, ...] = ("relevance", "multiplier")


class Rule(Generic[OperationType]):
    """Base of all rules. Subclass it, state the formula in :meth:`propagate`, use it in a ``Composite``.

    What stands in brackets is the form of call that the rule takes: ``class Flat(Rule[AffineOperation])``. A composite
    refuses the rule for kinds of operation that are of another form. A rule may say that it looks at less than the
    operation's inputs and output (:meth:`reads`); the rest is then not kept in memory.

    Attributes
    ----------
    message_kinds : tuple of {"relevance", "multiplier"}
        The messages that :meth:`propagate` is written for; a composite with others refuses the rule. A rule that says
        nothing takes relevances only.
    operations : type
        The form of call that the rule takes, from the brackets.
    stops : bool
        It hands nothing down, so that nothing below a softmax need be recorded.
    by_token : bool
        It treats every token of a linear layer by itself, so that some may be left out.
    """

    message_kinds: ClassVar[tuple[MessageKind, ...]] = ("relevance",)
    operations: ClassVar[type[RuledOperation]] = RuledOperation  # type: ignore[type-abstract]
    stops: ClassVar[bool] = False
    by_token: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for base in cls.__dict__.get("__orig_bases__", ()):
            if get_origin(base) is Rule and isinstance(get_args(base)[0], type):
                cls.operations = get_args(base)[0]

    def reads(self, message_kind: MessageKind) -> Reads:
        """What :meth:`propagate` looks at.

        Parameters
        ----------
        message_kind : {"relevance", "multiplier"}

        Returns
        -------
        Reads
        """
        return Reads.INPUTS | Reads.OUTPUT

    def propagate(self, operation: OperationType, message: Tensor) -> Messages:
        """Message of the output -> one message per input (None where ``operation.needs`` says so).

        Parameters
        ----------
        operation : RuledOperation
            The call, of the form that the rule takes.
        message : Tensor
            Relevance or multiplier, shape of the output.

        Returns
        -------
        tuple of Tensor or None
            For each input a message of its shape.
        """
        raise NotImplementedError


def quotient(relevance: Tensor, output: Tensor, stabilizer: float, damping: float) -> Tensor:
    """R / output with its stabiliser; with ``damping`` :func:`~.numerics.damped_ratio`."""
    return damped_ratio(relevance, output, damping) if damping else divide(relevance, output, stabilizer)


def through_copy(relevance: Tensor, operation: RuledOperation, index: int, stabilizer: float) -> Tensor:
    """R * x / (x + stabilizer), x an input: what the authors' code does to relevance where a value was copied.

    Only in double precision: in single precision the factor is 1 but for values too small to carry relevance.
    """
    if relevance.dtype != torch.float64:
        return relevance
    x = operation.inputs[index]
    return relevance * (x / (x + stabilizer))
