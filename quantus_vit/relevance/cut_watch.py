"""Where a model cuts the path of relevance itself: ``detach``, ``no_grad``, numbers and arrays taken from tensors.

What such a value is computed into counts as a constant, so relevance that would have gone down through it is lost. That
is told where the value comes back into traced computation, by sums, concatenation, matrix products and the like; an
elementwise factor takes no relevance and is left alone. Values that never come back (shown, logged, compared) are no
cut.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.weak import TensorWeakRef

from ..errors import RelevanceCutWarning
from .shifts import SUMS, Shifts
from .tensors import TensorMap, tensors_in

__all__ = ["Cut", "CutWatch", "allow_cuts"]

_ALLOWED: ContextVar[tuple[str, ...]] = ContextVar("allowed cuts of relevance", default=())

_FACTORS = frozenset(
    f"{prefix}{name}{suffix}"
    for name in ("mul", "multiply", "div", "divide", "true_divide")
    for prefix, suffix in (("", ""), ("", "_"), ("__", "__"), ("__i", "__"), ("__r", "__"))
) | {"__truediv__", "__itruediv__", "__rtruediv__"}
_FROM_DATA = frozenset({"tensor", "as_tensor", "from_numpy", "asarray", "new_tensor", "full", "full_like", "new_full"})


@contextmanager
def allow_cuts(*patterns: str) -> Iterator[None]:
    """Within the block, what the model detaches on purpose is not told about.

    Parameters
    ----------
    *patterns : str
        Names of the modules whose cuts are wanted, as in ``fnmatch``; none means all.

    Yields
    ------
    None

    Examples
    --------
    >>> with allow_cuts("blocks.0.*"):
    ...     maps = AttnLRP(model).attribute(images)
    """
    token = _ALLOWED.set((*_ALLOWED.get(), *(patterns or ("*",))))
    try:
        yield
    finally:
        _ALLOWED.reset(token)


class Cut(NamedTuple):
    """A place where a model cut the path of relevance."""

    how: str
    module_name: str

    @property
    def wanted(self) -> bool:
        """Whether :func:`allow_cuts` names the module."""
        return any(fnmatchcase(self.module_name, pattern) for pattern in _ALLOWED.get())

    def __str__(self) -> str:
        place = f"module '{self.module_name}'" if self.module_name else "the model's own forward"
        return f"{self.how} in {place}"


class CutWatch:
    """Follows the values of one forward that depend on traced ones, but are not traced any more.

    Attributes
    ----------
    awake : bool
        Whether there is anything to follow.
    """

    def __init__(self, model: nn.Module, current_module: Callable[[], str], starts: Sequence[Tensor]) -> None:
        self.awake = False
        self._starts = starts
        self._detached: list[TensorWeakRef] = []  # traced values of which there are detached names
        self._model = model
        self._current_module = current_module
        self._cuts: TensorMap[Cut] = TensorMap()
        self._first: Cut | None = None
        self._taken: Cut | None = None  # numbers or arrays were taken from such a value
        self._numbers: set[float] = set()
        self._known: TensorMap[bool] = TensorMap()  # since then: the model's own tensors, and what seen calls made
        self._returned: dict[Cut, None] = {}
        self._shifts = Shifts()

    def follows(self, value: Tensor) -> Cut | None:
        """The cut that a model makes, or made, by detaching this value; None where nothing was traced."""
        if value.requires_grad:
            self._detached.append(TensorWeakRef(value))
            return self.note("a value was detached")
        return self._cuts.get(value)

    def mark(self, tensor: Tensor, cut: Cut) -> None:
        """Follow a value that a cut led to."""
        if tensor.is_floating_point():  # masks and indices are no path
            self._cuts[tensor] = cut

    def leaf_of_unknown_origin(self, leaf: Tensor) -> Tensor:
        """A tensor that requires a gradient and is nobody's parameter: made of a traced value, as copies are."""
        if leaf not in self._cuts:
            self.mark(leaf, self.note("a new parameter or a copy was made of a value"))
        return leaf.detach()

    def taken(self, value: Tensor, numbers: Iterable[float]) -> None:
        """Note that a model took Python numbers or an array from ``value``."""
        if value.is_floating_point() and (value.requires_grad or value in self._cuts):
            self._taken = self._cuts.get(value) or self.note("a number or an array was taken from a value")
            self._numbers.update(numbers)
            for tensor in (*self._model.parameters(), *self._model.buffers()):
                self._known[tensor] = True
            if value.requires_grad:
                self._returned[self._taken] = None

    def follow(self, func: Callable[..., Any], args: Any, kwargs: Any, result: Any, has_rule: bool) -> None:
        """Look at one call: a cut value stays cut, and is noted where it comes back into traced computation.

        A call that has a rule hands down what the rule wants, if that is nothing.
        """
        given = list(tensors_in((args, kwargs)))
        cut: Cut | None = next((self._cuts[x] for x in given if _is_constant(x) and x in self._cuts), None)
        name = getattr(func, "__name__", "")
        if self._taken is not None:
            if cut is None and self._holds_taken(name, args, given):
                cut = self._taken
            for tensor in (*given, *tensors_in(result)):
                self._known[tensor] = True
        if cut is None and any(map(self._is_traced, given)):
            if name == "view" and not result.is_floating_point():
                self._cuts[result] = self.note("the bits of a value were read")
                return
            if not torch.is_grad_enabled():
                cut = self.note("a value was used under no_grad")
            elif not has_rule and _leaves_the_graph(name, result):
                cut = self.note(f"{name} made a copy of a value")
        misread = self._shifts.misread(name, args, kwargs, result)
        if misread is not None:
            self._returned[misread] = None
        if cut is None:
            return
        constants = [x for x in given if _is_constant(x) and x in self._cuts]
        made = given[:1] if name == "__setitem__" else list(tensors_in(result))
        for tensor in made:
            if not tensor.requires_grad:
                self.mark(tensor, cut)
            elif name not in _FACTORS and not self._shifts.begin(name, constants, tensor, cut):
                self._returned[cut] = None

    def finish(self, reached: bool) -> None:
        """After the forward: warn of what came back; refuse where nothing else carries relevance.

        Parameters
        ----------
        reached : bool
            Whether the logits depend on the (first) start through traced computation.

        Raises
        ------
        ValueError
            They do not, and the model cut a path.
        """
        if not reached and self._first is not None and not self._first.wanted:
            raise ValueError(
                f"the logits do not depend on the start of the relevance any more: {self._first}, and nothing else "
                "carries relevance past it; let the model compute it with gradients enabled"
            )
        for cut in self._returned:
            if not cut.wanted:
                warnings.warn(
                    f"relevance is lost: {cut}, and what was computed from it counts as a constant. If that is wanted, "
                    f"say so: with quantus_vit.relevance.allow_cuts({cut.module_name or '*'!r})",
                    RelevanceCutWarning,
                    stacklevel=2,
                )

    def note(self, how: str) -> Cut:
        """A cut where the model is now."""
        cut = Cut(how, self._current_module())
        self.awake = True
        self._first = self._first or cut
        return cut

    def is_alias(self, tensor: Any) -> bool:
        """Whether this is a detached name of a traced value that the model still holds."""
        if not isinstance(tensor, Tensor) or tensor.requires_grad:
            return False
        place = tensor.untyped_storage().data_ptr()
        sources = [reference() for reference in self._detached]
        return any(x is not None and x.untyped_storage().data_ptr() == place for x in sources)

    def _is_traced(self, x: Tensor) -> bool:
        return x.requires_grad and (not x.is_leaf or any(x is start for start in self._starts))

    def _holds_taken(self, name: str, args: tuple[Any, ...], given: list[Tensor]) -> bool:
        """Whether a call may take in numbers or arrays that were taken from a value."""
        if name in _FROM_DATA:
            return True
        if name in SUMS and any(type(x) in (float, int) and x in self._numbers for x in args):
            return True
        return any(x.is_floating_point() and not x.requires_grad and x not in self._known for x in given)


def _is_constant(x: Tensor) -> bool:
    return not x.requires_grad or x.is_leaf


def _leaves_the_graph(name: str, result: Any) -> bool:
    """Whether a call on traced values made new values of them that are not traced; ``zeros_like`` reads no values."""
    if not isinstance(result, Tensor) or result.requires_grad or not result.is_floating_point():
        return False
    return not (name.endswith("_like") or name == "__get__" or (name.startswith("new_") and name != "new_tensor"))
