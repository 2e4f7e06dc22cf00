"""What all operations have in common: the two backward modes, and the rule's view of the call.

An :class:`Operation` is one call of a torch function. Its forward is torch's own computation. Its backward hands down
either the true gradient (:meth:`Operation.gradient`) or what the operation's rule makes of the relevance message. This
folder knows torch; it does not know which torch function a model called (``handlers``) nor any rule (``rules``). What
is kept in between is settled in ``memory``, how autograd calls it in ``node``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from ..interfaces import Reads, RuledOperation
from ..numerics import Messages, divide
from ..rules import Rule
from ..state import Keeps, TraceState
from .memory import Kept, Values, what_to_keep

__all__ = ["KINDS", "Operation"]

KINDS: dict[str, list[type[Operation]]] = {}
"""Every kind of operation, and the classes that are of it; a class that states its ``kind`` enters itself."""


class Operation(RuledOperation):
    """One call of a torch function.

    It is made with the call's options, and bound to a rule (:meth:`bind`) where it is recorded; its tensors
    (``values``) are there during a backward pass only.

    Attributes
    ----------
    kind : str
        The name that composites give rules for.
    gradient_reads, frozen_reads : Reads
        What :meth:`gradient` and ``frozen_gradient`` look at.
    recomputable : bool
        The output is cheap to compute again from the inputs, so it is not kept; if there is one input, neither by the
        operations that the output enters.
    """

    kind: str = ""
    gradient_reads: ClassVar[Reads] = Reads.INPUTS
    frozen_reads: ClassVar[Reads] = Reads.INPUTS
    recomputable: bool = False

    rule: Rule[Any]
    state: TraceState
    values: Values | Any = None
    kept = Kept()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__dict__.get("kind"):
            KINDS.setdefault(cls.kind, []).append(cls)

    def bind(self, rule: Rule[Any], state: TraceState, module_name: str) -> Operation:
        """The same operation, with the rule that its relevance follows, in a trace and a module."""
        self.rule, self.state, self.module_name = rule, state, module_name
        self.memory: dict[str, Tensor] = {}  # what depends on the forward alone
        return self

    # What a subclass defines -----------------------------------------------------------------------------------------

    def function(self, *inputs: Tensor) -> Tensor:
        """Torch's own computation of this call."""
        raise NotImplementedError

    def forward(self, *inputs: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The call's output, and further tensors to keep as ``extras``."""
        return self.function(*inputs), ()

    def gradient(self, message: Tensor) -> Messages:
        """Vector-Jacobian product: message (shape of the output) -> one message per input."""
        with torch.enable_grad():
            inputs = [x.detach().requires_grad_(need) for x, need in zip(self.inputs, self.needs, strict=True)]
            wanted = [x for x in inputs if x.requires_grad]
            gradients = iter(torch.autograd.grad(self.function(*inputs), wanted, message))
        return tuple(next(gradients) if need else None for need in self.needs)

    @property
    def is_constant(self) -> bool:
        """Whether nothing will be handed down, so that the call need not be recorded."""
        return False

    # Its tensors in a backward pass ----------------------------------------------------------------------------------

    @property
    def keeps(self) -> Keeps:
        """Which of the call's tensors the passes to come look at."""
        key = (type(self), id(self.rule))
        keeps = self.state.keeps.get(key)
        if keeps is None:
            keeps = what_to_keep(
                self.rule, self.state.recording, self.gradient_reads, self.frozen_reads, self.recomputable
            )
            self.state.keeps[key] = keeps
        return keeps

    @property
    def keeps_inputs(self) -> bool:
        """Whether ``inputs`` can be asked for."""
        return cast(bool, self.values.has_inputs)

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The call's inputs."""
        return cast("tuple[Tensor, ...]", self.values.inputs)

    @property
    def output(self) -> Tensor:
        """The call's output."""
        return cast(Tensor, self.values.output)

    def cached(self, key: str, compute: Callable[..., Tensor], *arguments: Tensor) -> Tensor:
        """What depends on the forward alone is kept while further passes follow."""
        value = self.memory.get(key)
        if value is None:
            value = compute(*arguments)
            if self.state.current.keep:
                self.memory[key] = value
        return value

    # What a rule works with ------------------------------------------------------------------------------------------

    @property
    def carries_relevance(self) -> bool:
        """Whether messages are relevances R; otherwise they are multipliers R / activation."""
        return self.state.carries_relevance

    def ratio(self, message: Tensor, denominator: Tensor, stabilizer: float = 0.0) -> Tensor:
        """Relevance of the output over ``denominator``; 0 where the denominator is 0 (then nothing was passed up).

        The stabilizer is added with the denominator's sign.
        """
        if stabilizer:  # float16 would round a small one to 0
            stabilizer = max(stabilizer, torch.finfo(denominator.dtype).tiny)
        if not self.carries_relevance and denominator is self.output:
            size = denominator.abs()  # m z / (z + eps sign z) = m |z| / (|z| + eps)
            return message * (size / (size + stabilizer)) if stabilizer else message
        relevance = message if self.carries_relevance else message * self.output
        if stabilizer:
            denominator = denominator + torch.copysign(denominator.new_full((), stabilizer), denominator)
            return relevance / denominator
        return divide(relevance, denominator)

    def to_input_message(self, index: int, signed: Tensor, absolute: Tensor | None = None) -> Tensor:
        """Message for input x = ``inputs[index]`` whose relevance is ``x * signed + |x| * absolute``.

        Overwrites ``signed``. Multipliers without an absolute part need no x.
        """
        if self.carries_relevance:
            x = self.inputs[index]
            signed = signed.mul_(x)
            return signed if absolute is None else signed.addcmul_(self.absolute_input(index), absolute)
        return signed if absolute is None else signed.addcmul_(self.inputs[index].sign(), absolute)

    def absolute_input(self, index: int) -> Tensor:
        """|x| of one input."""
        return self.inputs[index].abs()

    # The two backward modes ------------------------------------------------------------------------------------------

    def propagate(self, message: Tensor) -> Messages:
        """Message of the output -> one message per input: the true gradient, or by the rule."""
        current = self.state.current
        if not current.relevance:
            return self.gradient(message)
        messages = self.follow_rule(message)
        if current.on_operation is not None:
            current.on_operation(self, message, messages)
        return messages

    def follow_rule(self, message: Tensor) -> Messages:
        """What the rule makes of the message.

        Raises
        ------
        RuntimeError
            The rule failed, or handed down what does not fit the call's inputs.
        """
        try:
            messages = self.rule.propagate(self, message)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            raise RuntimeError(f"{self._rule_here()} failed: {type(error).__name__}: {error}") from error
        if len(messages) != len(self.shapes):
            raise RuntimeError(f"{self._rule_here()} gave {len(messages)} messages for {len(self.shapes)} inputs")
        for part, shape in zip(messages, self.shapes, strict=True):
            if part is not None and part.shape != shape:
                raise RuntimeError(
                    f"{self._rule_here()} gave a message of shape {tuple(part.shape)} for an input of {tuple(shape)}"
                )
        return messages

    def _rule_here(self) -> str:
        place = f" in module '{self.module_name}'" if self.module_name else ""
        shapes = ", ".join(str(tuple(shape)) for shape in self.shapes)
        return f"the rule {self.rule!r} for {self.kind!r}{place} (inputs of shape {shapes})"
