"""What an operation keeps of the forward, and how a backward pass gets it back.

An operation keeps no more than its passes will look at: rules and gradients say what that is (:class:`Reads`), and what
is cheap to compute again is computed again rather than kept.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple, Protocol

from torch import Tensor

from ..interfaces import Reads
from ..rules import Rule
from ..state import Keeps, Recording, Source

__all__ = ["Keeper", "Kept", "Values", "keep", "what_to_keep"]

Function = Callable[..., Tensor]


class Keeper(Protocol):
    """An operation, as far as its values ask it."""

    recomputable: bool

    @property
    def rule(self) -> object:
        """The rule, for error messages."""

    def function(self, *inputs: Tensor) -> Tensor:
        """The call's output from its inputs."""

    def cached(self, key: str, compute: Function, *arguments: Tensor) -> Tensor:
        """What depends on the forward alone is kept while further passes follow."""


class Kept(NamedTuple):
    """What one call keeps: for each kept input the function that makes it (None: itself is kept); its output or not."""

    makers: tuple[Function | None, ...] = ()
    output: bool = False


def what_to_keep(rule: Rule[object], recording: Recording, gradient: Reads, frozen: Reads, again: bool) -> Keeps:  # type: ignore[type-var]
    """Which of a call's tensors its passes look at.

    Parameters
    ----------
    rule : Rule
    recording : Recording
    gradient, frozen : Reads
        What the operation's gradient and frozen gradient look at.
    again : bool
        The output can be computed again from the inputs.
    """
    reads = Reads.INPUTS | Reads.OUTPUT if recording.every_input else rule.reads(recording.message_kind)
    if recording.gradients:
        reads |= Reads.GRADIENT
    if Reads.GRADIENT in reads:
        reads |= gradient
    if Reads.FROZEN in reads:
        reads |= frozen
    output = Reads.OUTPUT in reads
    return Keeps(Reads.INPUTS in reads or (again and output), output and not again)


def keep(
    keeps: Keeps, inputs: tuple[Tensor, ...], output: Tensor, sources: list[Source | None]
) -> tuple[Kept, tuple[Tensor, ...]]:
    """The tensors to keep of one call: of an input that can be computed again, what it comes from."""
    makers: tuple[Function | None, ...] = ()
    tensors: tuple[Tensor, ...] = ()
    if keeps.inputs:
        makers = tuple([None if source is None else source.function for source in sources])
        tensors = tuple([x if source is None else source.x for x, source in zip(inputs, sources, strict=True)])
    if keeps.output:
        tensors += (output,)
    return Kept(makers, keeps.output), tensors


class Values:
    """A call's tensors during one backward pass: as they were kept, or computed again when first asked for."""

    def __init__(self, keeper: Keeper, kept: Kept, tensors: tuple[Tensor, ...]) -> None:
        self._memo: dict[str, Tensor] = {}
        count = len(kept.makers)
        self._keeper, self._makers, self._kept_inputs = keeper, kept.makers, tensors[:count]
        if kept.output:
            self.output = tensors[count]
        self.extras = tensors[count + kept.output :]

    @property
    def has_inputs(self) -> bool:
        """Whether ``inputs`` can be asked for."""
        return bool(self._makers)

    @cached_property
    def inputs(self) -> tuple[Tensor, ...]:
        """The call's inputs."""
        if not self._makers:
            raise RuntimeError(
                f"{self._keeper.rule} does not say in reads() that it looks at the inputs, so they were not kept"
            )
        again = self._keeper.cached
        pairs = enumerate(zip(self._kept_inputs, self._makers, strict=True))
        return tuple([x if maker is None else again(f"input {i}", maker, x) for i, (x, maker) in pairs])

    @cached_property
    def output(self) -> Tensor:
        """The call's output."""
        if not self._keeper.recomputable:
            raise RuntimeError(
                f"{self._keeper.rule} does not say in reads() that it looks at the output, so it was not kept"
            )
        return self._keeper.cached("output", self._keeper.function, *self.inputs)

    def once(self, key: str, compute: Callable[[], Tensor]) -> Tensor:
        """What is computed once in this pass."""
        value = self._memo.get(key)
        if value is None:
            value = self._memo[key] = compute()
        return value
