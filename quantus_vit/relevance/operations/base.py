"""What all operations have in common: the recorded call, what it keeps of the forward, the two backward meanings.

An :class:`Operation` is one call of a torch function. Its forward is torch's own computation. Its backward hands down
either the true gradient (:meth:`Operation.gradient`) or what the operation's rule makes of the relevance message. This
folder knows torch; it does not know which torch function a model called (``handlers``) nor any rule (``rules``).

Memory: an operation keeps no more than its passes will look at. Rules and gradients say what that is (``reads``), and
what is cheap to compute again (``recomputable``) is computed again rather than kept.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ..passes import PassState
    from ..rules import Rule

Messages = tuple["Tensor | None", ...]
BOTH = frozenset({"inputs", "output"})


class Operation:
    """One call of a torch function inside a traced forward.

    During a backward pass ``inputs`` and ``output`` are the call's tensors, as far as its passes read them; ``shapes``
    are the inputs' shapes, and ``needs`` says which inputs want a message.

    Attributes
    ----------
    gradient_reads, frozen_reads : frozenset of {"inputs", "output"}
        What :meth:`gradient` and ``frozen_gradient`` look at.
    recomputable : bool
        The output is cheap to compute again from the inputs, so it is not kept; if there is one input, neither by the
        operations that the output enters.
    """

    kind: ClassVar[str]
    gradient_reads: ClassVar[frozenset[str]] = frozenset({"inputs"})
    frozen_reads: ClassVar[frozenset[str]] = frozenset({"inputs"})
    recomputable: ClassVar[bool] = False
    needs: tuple[bool, ...]
    _kept_inputs: tuple[Tensor, ...]

    def __init__(self, rule: Rule, state: PassState, module_name: str) -> None:
        self.rule = rule
        self.state = state
        self.module_name = module_name
        self.memory: dict[str, Any] = {}  # shared by the copies that backward passes make
        self.shapes: tuple[torch.Size, ...] = ()
        self.extras: tuple[Tensor, ...] = ()  # what a subclass keeps beside inputs and output, in a backward pass
        self._makers: tuple[Operation | None, ...] = ()  # of the kept inputs; None: the input itself is kept
        self._keeps_output = False

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Run the call and record it in autograd's graph."""
        state = self.state
        if self.kind == "softmax" and self.rule.stops and not state.gradients and not state.keep_inputs:
            return self.function(*[x.detach() for x in inputs])
        self.shapes = tuple(x.shape for x in inputs)
        sources = [state.sources.of(x) for x in inputs]
        output = cast(Tensor, _Node.apply(self, sources, *inputs))
        if self.recomputable and len(inputs) == 1 and not state.keep_inputs:
            state.sources.add(output, Source(self, inputs[0], inputs[0]._version))
        return output

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
            found = iter(torch.autograd.grad(self.function(*inputs), wanted, message))
        return tuple(next(found) if need else None for need in self.needs)

    # What is kept from the forward -----------------------------------------------------------------------------------

    @property
    def reads(self) -> frozenset[str]:
        """Which of "inputs" and "output" the passes to come look at."""
        key = (type(self), id(self.rule))
        found = self.state.reads.get(key)
        if found is None:
            found = self.state.reads[key] = self._find_reads()
        return found

    def _find_reads(self) -> frozenset[str]:
        state = self.state
        if state.keep_inputs:
            return BOTH
        reads = self.rule.reads(state.message_kind) | ({"gradient"} if state.gradients else set())
        found = reads & BOTH
        if "gradient" in reads:
            found |= self.gradient_reads
        return found | self.frozen_reads if "frozen" in reads else found

    def keep(self, inputs: tuple[Tensor, ...], output: Tensor, sources: list[Source | None]) -> tuple[Tensor, ...]:
        """The tensors to keep: of an input that can be computed again, what it comes from."""
        reads = self.reads
        if self.recomputable and "output" in reads:
            reads |= {"inputs"}
        kept: tuple[Tensor, ...] = ()
        if "inputs" in reads:
            self._makers = tuple(None if source is None else source.operation for source in sources)
            kept = tuple(x if source is None else source.x for x, source in zip(inputs, sources, strict=True))
        self._keeps_output = "output" in reads and not self.recomputable
        if self._keeps_output:
            kept += (output,)
        return kept

    def restored(self, kept: tuple[Tensor, ...], needs: tuple[bool, ...]) -> Operation:
        """A copy for one backward pass, with what :meth:`keep` kept."""
        found = object.__new__(type(self))  # copy.copy is slow
        found.__dict__.update(self.__dict__)
        count = len(self._makers)
        found._kept_inputs = kept[:count]
        if self._keeps_output:
            found.output = kept[count]
        found.extras = kept[count + self._keeps_output :]
        found.needs = needs
        return found

    @property
    def keeps_inputs(self) -> bool:
        """Whether ``inputs`` can be asked for."""
        return bool(self._makers)

    @cached_property
    def inputs(self) -> tuple[Tensor, ...]:
        """The call's inputs."""
        if not self._makers:
            raise RuntimeError(
                f"{self.rule} does not say in reads() that it looks at the inputs, so they were not kept"
            )
        pairs = enumerate(zip(self._kept_inputs, self._makers, strict=True))
        return tuple(x if maker is None else self.cached(f"input {i}", maker.function, x) for i, (x, maker) in pairs)

    @cached_property
    def output(self) -> Tensor:
        """The call's output."""
        if not self.recomputable:
            raise RuntimeError(f"{self.rule} does not say in reads() that it looks at the output, so it was not kept")
        return self.cached("output", self.function, *self.inputs)

    def cached(self, key: str, compute: Callable[..., Tensor], *arguments: Tensor) -> Tensor:
        """What depends on the forward alone is kept while further targets follow."""
        found: Tensor | None = self.memory.get(key)
        if found is None:
            found = compute(*arguments)
            if self.state.keep:
                self.memory[key] = found
        return found

    # What a rule works with ------------------------------------------------------------------------------------------

    @property
    def carries_relevance(self) -> bool:
        """Whether messages are relevances R; otherwise they are multipliers R / activation."""
        return self.state.message_kind == "relevance"

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
            denominator = denominator + torch.copysign(denominator.new_tensor(stabilizer), denominator)
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

    def propagate(self, message: Tensor) -> Messages:
        if not self.state.relevance:
            return self.gradient(message)
        messages = self.rule.propagate(self, message)
        if self.state.report is not None:
            self.state.report.record(self, message, messages)
        return messages


class Source(NamedTuple):
    """Where a tensor comes from: a recomputable operation, its input, and the version of it that was read."""

    operation: Operation
    x: Tensor
    version: int


class Sources:
    """The sources of tensors that are still alive; as fast as a dictionary of tensors by identity can be."""

    def __init__(self) -> None:
        self._found: dict[int, tuple[weakref.ref[Tensor], int, Source]] = {}

    def add(self, x: Tensor, source: Source) -> None:
        key = id(x)
        self._found[key] = (weakref.ref(x, lambda _: self._found.pop(key, None)), x._version, source)

    def of(self, x: Tensor) -> Source | None:
        """The tensor's source; None where it has none, or where either was changed in place since."""
        found = self._found.get(id(x))
        if found is None:
            return None
        reference, version, source = found
        unchanged = x._version == version and source.x._version == source.version
        return source if reference() is x and unchanged else None

    def clear(self) -> None:
        self._found.clear()


class _Node(torch.autograd.Function):
    """The autograd function behind every operation: keeps the operation, asks it for the messages."""

    @staticmethod
    def forward(ctx: Any, operation: Operation, sources: list[Source | None], *inputs: Tensor) -> Tensor:
        output, extras = operation.forward(*inputs)
        ctx.operation = operation
        ctx.save_for_backward(*operation.keep(inputs, output, sources), *extras)
        return output

    @staticmethod
    def backward(ctx: Any, message: Tensor) -> Any:
        if torch.is_grad_enabled():  # create_graph=True
            raise RuntimeError("a trace's messages cannot be differentiated again")
        operation = ctx.operation.restored(ctx.saved_tensors, ctx.needs_input_grad[2:])
        return (None, None, *operation.propagate(message))


def divide(numerator: Tensor, denominator: Tensor, stabilizer: float = 0.0) -> Tensor:
    """The quotient numerator / (denominator + stabilizer), 0 where the denominator is 0.

    The stabilizer counts in double precision only; in single precision it is below what a denominator resolves, and
    leaving it out saves passes over memory (comparisons are slow on CPUs, ``nan_to_num_`` is not).
    """
    if stabilizer and denominator.dtype == torch.float64:
        return (numerator / (denominator + stabilizer)).masked_fill_(denominator == 0, 0)
    return (numerator / denominator).nan_to_num_(0.0, 0.0, 0.0)


def reduce_to(message: Tensor, shape: torch.Size) -> Tensor:
    """Sum a message over the dimensions along which an input of that shape was broadcast."""
    return message if message.shape == shape else message.sum_to_size(shape)
