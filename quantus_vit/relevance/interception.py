"""The interception: during one forward, torch's operations are swapped for recorded ones.

A :class:`torch.overrides.TorchFunctionMode` sees every torch function that the model calls. Functions that only move
values about (reshape, cat, indexing ...) run as they are, since autograd's own backward is right for gradients and
relevance alike. Functions with a rule become an :class:`~quantus_vit.relevance.operations.Operation`. Everything else
raises, if a traced value would go through it. Parameters are detached on the way: no gradient of theirs is computed.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils.weak import WeakIdKeyDictionary

from ..errors import UnsupportedOperationError
from .composites import Composite
from .handlers import HANDLERS
from .location import ModuleLocator
from .operations import Operation
from .passes import Attention, PassState
from .routing import METADATA, ROUTING


class Interception(TorchFunctionMode):
    """Active during one forward; knows the rules and collects the attention layers."""

    attend_from: int | None = None
    attend_last = False  # start at the last attention layer, as far as its place can be told beforehand
    keep_weights = False
    reduce_weights: Callable[[Tensor], Tensor] | None = None
    refusal: UnsupportedOperationError | None = None  # the last; Python's operators swallow a TypeError of theirs
    locate = False  # find the module of operations without parameters: needed for exceptions by name and for reports

    def __init__(
        self, locator: ModuleLocator, composite: Composite | None, state: PassState, leaves: list[Tensor]
    ) -> None:
        super().__init__()
        self.locator = locator
        self.composite = composite
        self.has_rules = composite is not None and bool(composite.rules or composite.exceptions)
        self.state = state
        self.leaves = leaves
        self.attentions: list[Attention] = []
        self.sums: list[weakref.ref[Tensor]] = []  # sums of two activations, where the graph may be cut
        self._weights: WeakIdKeyDictionary = WeakIdKeyDictionary()  # softmax outputs that may turn out as attention
        self._normalised: WeakIdKeyDictionary = WeakIdKeyDictionary()
        self._stale: WeakIdKeyDictionary = WeakIdKeyDictionary()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func in METADATA:
            return func(*args, **(kwargs or {}))
        if len(self._stale):
            self._refuse_stale(func, args, kwargs)
        if kwargs and kwargs.get("out") is not None:
            if is_traced(self.detach_parameters((args, {**kwargs, "out": None}))):
                raise self.unsupported(func, args, "writes a traced value into a tensor given as out=")
            return func(*args, **kwargs)
        handler = HANDLERS.get(func)
        if handler is not None:
            return handler(self, func, *args, **(kwargs or {}))
        return self.run(func, *args, **(kwargs or {}))

    def run(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run a function that has no rule of its own: routing, or one that no traced value goes through."""
        args, kwargs = self.detach_parameters(args), self.detach_parameters(kwargs)
        result = func(*args, **kwargs)
        if func not in ROUTING and is_traced(result) and self.has_rules:
            raise self.unsupported(func, args)
        return result

    def detach_parameters(self, value: Any) -> Any:
        """The value with every parameter detached."""
        if value is None or type(value) is int:  # most arguments of routing functions
            return value
        if isinstance(value, Tensor):
            if not value.requires_grad or not value.is_leaf:
                return value
            for leaf in self.leaves:
                if value is leaf:
                    return value
            return value.detach()
        if type(value) in (tuple, list):
            return type(value)([self.detach_parameters(item) for item in value])
        if type(value) is dict:
            return {key: self.detach_parameters(item) for key, item in value.items()}
        return value

    # For the handlers ------------------------------------------------------------------------------------------------

    def operation(self, cls: type[Operation], *args: Any, kind: str | None = None, owner: Any = None) -> Any:
        """An operation with its rule; None where the true gradient serves (no rule, and messages are multipliers)."""
        composite = self.composite
        if composite is None or (composite.message_kind == "multiplier" and not self.has_rules):
            return None
        kind = cls.kind if kind is None else kind
        module_name = self.locator.owner(owner) or ""
        if not module_name and self.locate:
            module_name = self.locator.current()
        rule = composite.rule(kind, module_name)
        if rule is None:
            if composite.message_kind == "multiplier":
                return None
            self.refusal = UnsupportedOperationError(
                f"the composite has no rule for {kind!r}, met in module '{module_name}'"
            )
            raise self.refusal
        return cls(rule, self.state, module_name, *args)

    def mark_weights(self, output: Tensor) -> Tensor:
        """Note a softmax output; make it the start of the graph where passes end at the attention maps."""
        if self.attend_last and self.attend_from is None and output.dim() >= 3:
            self.attend_from = self.locator.siblings() - 1
        start_here = self.attend_from is not None and len(self.attentions) >= self.attend_from
        if start_here and not output.requires_grad:
            output = output.detach().requires_grad_()
            self.leaves.append(output)
        self._weights[output] = True
        return output

    def is_weights(self, value: Tensor) -> bool:
        """Whether the value is a softmax output."""
        return value in self._weights

    def forward_mark(self, source: Tensor, target: Tensor) -> Tensor:
        """Attention weights that were cast or copied stay attention weights."""
        if source in self._weights:
            self._weights[target] = True
        return target

    def mark_normalised(self, x: Tensor) -> None:
        """Note that x enters a normalisation (a sum asks: the residual stream enters both)."""
        if self.composite is not None and x.requires_grad:
            self._normalised[x] = True

    def is_normalised(self, x: Tensor) -> bool:
        """Whether x entered a normalisation."""
        return x in self._normalised

    def mark_stale(self, x: Tensor) -> None:
        """Note a tensor that the model overwrites; here a new tensor took its place, so it must not be read again."""
        self._stale[x] = True
        if x._base is not None:
            self._stale[x._base] = True

    def _refuse_stale(self, func: Callable[..., Any], *values: Any) -> None:
        if any(tensor in self._stale for tensor in tensors_in(values)):
            raise self.unsupported(func, values, "reads a tensor through an alias after it was changed in place")

    def attention(self, weights: Tensor) -> Attention:
        """A new attention layer with these weights."""
        found = Attention(len(self.attentions), self.locator.current(), tuple(weights.shape))
        if self.keep_weights:
            kept = weights.detach()
            found.weights = kept if self.reduce_weights is None else self.reduce_weights(kept)
        self.attentions.append(found)
        return found

    def unsupported(self, func: Callable[..., Any], args: Any, reason: str = "has no relevance rule") -> Exception:
        """The error for an operation that cannot be traced."""
        shapes = ", ".join(str(tuple(x.shape)) for x in tensors_in(args)) or "no tensors"
        name = resolve_name(func) or getattr(func, "__name__", str(func))
        self.refusal = UnsupportedOperationError(
            f"{name} {reason}; it was called with {shapes} in {self.locator.describe()}. "
            "Relevance is never passed on by a rule that nobody chose."
        )
        return self.refusal


def tensors_in(value: Any) -> Iterable[Tensor]:
    """All tensors in nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors_in(item)


def is_traced(value: Any) -> bool:
    """Whether relevance flows through the value."""
    return any(tensor.requires_grad for tensor in tensors_in(value))
