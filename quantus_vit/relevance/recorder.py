"""The recorder: what one forward leaves behind, and what the handlers call while it runs.

It chooses the rule of every operation and collects the attention layers. It knows no torch function; which call becomes
which operation is the handlers' business, and seeing the calls is the interception's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import resolve_name
from torch.utils.weak import TensorWeakRef

from ..errors import UnsupportedOperationError
from .attention_order import AttentionOrder
from .below_start import BelowStart
from .cut_watch import CutWatch
from .graph_check import check_graph, node_of
from .handed_out import HandedOut
from .location import ModuleLocator
from .normalised import NormalisedInputs
from .operations.base import Operation
from .operations.node import record
from .options import TraceOptions
from .overwritten import Overwritten
from .places import Places
from .positions import Embedding, Positions
from .probabilities import Probabilities
from .residual import Stream
from .routing import ROUTING
from .rules import GradientTimesInput, Rule
from .state import Attention, Recording, TraceState
from .statistics import Statistics
from .tail import Tape
from .tensors import is_traced, tensors_in, traced
from .usage import check_usage
from .weights import AttentionWeights

__all__ = ["Recorder"]


class Recorder:
    """What one forward leaves behind.

    Attributes
    ----------
    attentions : list of Attention
        The attention layers so far.
    leaves : list of Tensor
        Where backward passes end: the input, or attention weights.
    sums : list of weak references to Tensor
        Sums of two activations, where the graph may be cut.
    stream : Stream or None
        Where the attention blocks are wanted: what they are found by.
    tape : Tape or None
        Where the model behind its last block is wanted: its calls.
    refusal : UnsupportedOperationError or None
        The last; Python's operators swallow a ``TypeError`` that is raised in them.
    positions : Positions or None
        Where the tokens of the first attention come from, if that is asked for.
    embeddings : list of Embedding
        The position embeddings, if passes are to end at them; they follow the input in ``leaves``.
    state : TraceState
        What the operations share.
    is_plain : bool
        No call needs a rule.
    """

    def __init__(self, model: nn.Module, options: TraceOptions) -> None:
        composite = options.composite
        self.options = options
        self.composite = composite
        self.locator = ModuleLocator(model)
        self.attentions: list[Attention] = []
        self.leaves: list[Tensor] = []
        self.sums: list[TensorWeakRef] = []
        self.refusal: UnsupportedOperationError | None = None
        self.positions = None if not options.grid else Places() if options.places else Positions()
        self.embeddings: list[Embedding] = []
        message_kind = "relevance" if composite is None else composite.message_kind
        self.state = TraceState(Recording(message_kind, options.locate, options.gradients))
        self.has_rules = composite is not None and bool(composite.rules or composite.exceptions)
        # Kinds that are recorded even where the true gradient serves, lest their nodes look like unseen ones.
        self._always_recorded = {"projection"} if composite is None else {"projection"} | composite.kinds_by_name
        self._locates = options.locate or (composite is not None and bool(composite.exceptions))
        self.cuts = CutWatch(model, self.locator.current, self.leaves)
        self.softmax_nodes: set[Any] = set()  # of torch's own that were seen to run
        self.below_start = BelowStart(composite is not None and not options.from_input)
        self.probabilities = Probabilities()
        self._met: set[tuple[str, str]] = set()  # kinds and modules of operations that asked for a rule
        self.is_plain = options.is_plain
        self.stream = Stream() if options.blocks or options.tail else None
        self.tape = Tape() if options.tail else None
        at_attention = options.start in ("attention", "each attention") and composite is not None
        self._attend_from = options.start_layer if at_attention else None
        self.weights = AttentionWeights()
        self.normalised = NormalisedInputs()
        self.statistics = Statistics()
        self.overwritten = Overwritten()
        self.handed_out = HandedOut()
        self._order = AttentionOrder()

    def begin(self, inputs: Tensor) -> Tensor:
        """The tensor that the model is given in place of the caller's, which stays as it is; the start, or below it."""
        x = inputs.detach()
        if x.is_inference() or not self.options.from_input:  # a model may change its input in place
            x = x.clone()
        if self.composite is not None and self.options.from_input:
            self.leaves.append(x.requires_grad_())
        if self.positions is not None:
            self.positions.begin(x)
        return x

    def finish(self, output: Tensor) -> None:
        """After the forward: check the logits' graph, and tell which of the composite's rules did nothing.

        Raises
        ------
        UnsupportedOperationError
            Something ran unseen (:mod:`graph_check`).
        ValueError
            The logits do not depend on the start, a rollout would miss a layer, or an exception of the composite names
            modules that have no operation of its kinds.
        """
        self.state.sources.clear()
        self.handed_out.check()
        reached = True
        if self.composite is not None:
            used = check_graph(output, self.leaves, self.composite, self.softmax_nodes, self.state)
            reached = bool(self.leaves) and all(node_of(leaf) in used for leaf in self.leaves)
            self._order.drop_unused(self.attentions, used)
            if self.options.of_attention and self.options.start in ("input", "attention"):
                self._order.note(self.attentions, output, used, self.leaves[1:] if self.embeddings else ())
            elif self.positions is not None and self.positions.read_again:
                self.attentions[-1].in_line = False  # of the layers below there is no graph
        if self.composite is not None and (self.options.of_class or not reached):
            self.probabilities.check(output, reached)
        if self.options.of_attention:
            self.weights.check()
        self.cuts.finish(reached)
        if self.composite is not None:
            check_usage(self.composite, self._met, self.locator.names)

    # What handlers call ----------------------------------------------------------------------------------------------

    def apply(
        self,
        operation: Operation,
        *inputs: Tensor,
        owner: Any = None,
        module_name: str = "",
        otherwise: Rule[Any] | None = None,
    ) -> Tensor:
        """Run one call: recorded with its rule where it is traced, as it is where the true gradient serves.

        Parameters
        ----------
        operation : Operation
            The call, not yet bound.
        inputs : Tensor
            Its inputs.
        owner : Parameter, optional
            A parameter of the module that makes the call, by which it is found fast.
        module_name : str
            The module's name, where it is known.
        otherwise : Rule, optional
            For an operation that is recorded even where the composite has no rule.

        Raises
        ------
        UnsupportedOperationError
            The composite's messages are relevances, and it has no rule for this kind.
        """
        if not traced(*inputs):
            return operation.function(*inputs)
        if owner is not None:
            module_name = self.locator.owner(owner) or ""
        if not module_name and self._locates:
            module_name = self.locator.current()
        rule = self._rule(operation.kind, module_name) or otherwise
        if rule is None:
            output = operation.function(*inputs)
        else:
            output = record(operation.bind(rule, self.state, module_name), *inputs)
        if self.statistics.awake:
            self.statistics.follow(inputs, (output,))
        return output

    def _rule(self, kind: str, module_name: str) -> Rule[Any] | None:
        composite = self.composite
        if composite is None or (not self.has_rules and composite.message_kind == "multiplier"):
            return None
        self._met.add((kind, module_name))
        rule = composite.rule(kind, module_name)
        if rule is None and composite.message_kind == "relevance":
            self.refusal = UnsupportedOperationError(
                f"the composite has no rule for {kind!r}, met in module '{module_name}'"
            )
            raise self.refusal
        if rule is None and kind in self._always_recorded:
            return GradientTimesInput()
        return rule

    def run(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run a function that has no rule of its own: routing, or one that no traced value goes through."""
        args, kwargs = self.detach_parameters(args), self.detach_parameters(kwargs)
        result = func(*args, **kwargs)
        if self.has_rules and func not in ROUTING and is_traced(result):
            raise self.unsupported(func, args)
        if self.statistics.awake:
            self.statistics.follow(tensors_in((args, kwargs)), tensors_in(result))
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
            if self.below_start.active or self.locator.owner(value) is not None:  # a value's mark, or a parameter
                return value.detach()
            kept = self.locator.keeps(value, self.options.arguments)
            return value.detach() if kept else self.cuts.leaf_of_unknown_origin(value)
        if type(value) in (tuple, list):
            return type(value)([self.detach_parameters(item) for item in value])
        if type(value) is dict:
            return {key: self.detach_parameters(item) for key, item in value.items()}
        return value

    def unsupported(self, func: Callable[..., Any], args: Any, reason: str = "has no relevance rule") -> Exception:
        """The error for an operation that cannot be traced."""
        shapes = ", ".join(str(tuple(x.shape)) for x in tensors_in(args)) or "no tensors"
        name = resolve_name(func) or getattr(func, "__name__", str(func))
        self.refusal = UnsupportedOperationError(
            f"{name} {reason}; it was called with {shapes} in {self.locator.describe()}. "
            "Relevance is never passed on by a rule that nobody chose."
        )
        return self.refusal

    # Attention layers ------------------------------------------------------------------------------------------------

    def attention(self, weights: Tensor, values: Tensor) -> Attention:
        """A new attention layer with these weights over these values."""
        if self.positions is not None and self.positions.active:
            self.positions.arrive(values)
        folding = None if self.positions is None or weights.dim() != 3 else self.positions.folding(len(weights))
        shape = weights.shape if folding is None else folding.unfold(weights.detach()).shape
        layer = Attention(len(self.attentions), self.locator.current(), tuple(shape), folding=folding)
        self._order.add(weights, values)
        if self.options.blocks:
            layer.traced_weights = TensorWeakRef(weights)
        if self.options.keep_weights:
            layer.weights = (self.options.reduce_weights or Tensor.detach)(layer.unfold(weights.detach()))
        self.attentions.append(layer)
        return layer

    def mark_weights(self, output: Tensor, meets_values: bool = False) -> Tensor:
        """Note a softmax output; make it the start of the graph where passes end at the attention maps."""
        if self._attend_from is None and self.options.start == "last attention" and output.dim() >= 3:
            self._attend_from = self.locator.siblings() - 1
        if output.grad_fn is not None:
            self.softmax_nodes.add(output.grad_fn)
        if output.dim() < 3:
            self.probabilities.add(output, "softmax")
            return output
        start_here = self._attend_from is not None and len(self.attentions) >= self._attend_from
        if start_here and (self.options.start == "each attention" or not output.requires_grad):
            output = output.detach().requires_grad_()
            self.leaves.append(output)
            self.below_start.end()
            if not torch.is_grad_enabled():
                self.cuts.note("attention ran under no_grad")
        is_named = self.options.grid and not meets_values  # for an error where it meets none
        self.weights.add(output, len(self.attentions), self.locator.current() if is_named else "")
        return output

    def mark_scores(self, scores: Tensor) -> None:
        """Note that a softmax reads these scores."""
        if self.stream is not None and scores.dim() >= 3:
            self.stream.attention(scores)

    def forward_mark(self, source: Tensor, target: Tensor) -> Tensor:
        """Attention weights that were cast or copied stay attention weights, and probabilities stay probabilities."""
        if target is not source:
            self.weights.carry(source, target)
            self.probabilities.carry(source, target)
        return target

    def mark_sum(self, x: Tensor, parts: tuple[Tensor, Tensor]) -> None:
        """Note a sum of two activations."""
        self.sums.append(TensorWeakRef(x))  # a plain one is of no use where the graph alone holds the tensor
        if self.stream is not None and self.stream.sum(x, parts) and self.tape is not None:
            self.tape.calls.clear()
