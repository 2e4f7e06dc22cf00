"""Below the start of the passes, where nothing is recorded: finding attention that ran unseen.

Values there carry no graph, so hidden code (a scripted block, a thread) would leave no trace. Therefore each value that
a seen call makes is marked as a leaf that requires a gradient. Calls that are seen take the mark off while they run; so
a value that arrives with a graph came out of code that was not seen, and the graph shows what ran there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import TensorWeakRef

from .graph_check import check_attention
from .tensors import tensors_in

__all__ = ["BelowStart"]


class BelowStart:
    """The marks of one forward, up to its start.

    Attributes
    ----------
    active : bool
        The start is still to come.
    """

    def __init__(self, active: bool) -> None:
        self.active = active
        self._marked: list[TensorWeakRef] = []  # plain ones lose what only a view holds

    def run(self, function: Callable[..., Any], func: Any, args: Any, kwargs: Any) -> Any:
        """Run one call on its arguments without marks, then mark them again, and what it made.

        Tensors that had no mark (parameters, buffers, the user's constants) get none.

        Parameters
        ----------
        function : callable
            Takes ``func``, ``args`` and ``kwargs``.

        Raises
        ------
        UnsupportedOperationError
            An argument comes out of attention that nobody saw.
        """
        marked: list[Tensor] = []
        others: set[int] = set()
        args = tuple([x if type(x) in _PLAIN else _without_marks(x, marked, others) for x in args])
        if kwargs:
            kwargs = _without_marks(kwargs, marked, others)
        made: Any = None
        try:
            made = function(func, args, kwargs)
        finally:
            if self.active:
                self._mark(made, others)  # first: a view has its base's mark at once, and would not be noted
                for tensor in marked:
                    tensor.requires_grad_()
        return made

    def run_plain(self, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """The same for a call that needs no handler: the marks stay, and it runs without gradients."""
        given: list[Tensor] = []
        for value in (*args, *kwargs.values()) if kwargs else args:
            if isinstance(value, Tensor):
                given.append(value)
                if not value.is_leaf:
                    check_attention(value)
            elif type(value) in _NESTED:
                for tensor in tensors_in(value):
                    given.append(tensor)
                    if not tensor.is_leaf:
                        check_attention(tensor)
        with_gradients = torch.is_grad_enabled()
        torch._C._set_grad_enabled(False)
        try:
            made = func(*args, **kwargs) if kwargs else func(*args)
        finally:
            torch._C._set_grad_enabled(with_gradients)
        if isinstance(made, Tensor):  # nearly always
            if made.requires_grad:
                return made
            for tensor in given:
                if made is tensor:
                    return made
            if made._is_view():  # its mark is to be its own, and not its base's
                made = made.detach()
            if made.is_floating_point() and not made.is_inference():
                made.requires_grad_()
                self._marked.append(TensorWeakRef(made))
            return made
        others = set(map(id, given))
        made = _own_views(made, others)
        self._mark(made, others)
        return made

    def end(self) -> None:
        """The start is met: what is computed from the values below counts as a constant from now on."""
        self.active = False
        for reference in self._marked:
            tensor = reference()
            if tensor is not None and tensor.is_leaf:
                tensor.requires_grad_(False)
        self._marked.clear()

    def _mark(self, value: Any, others: set[int]) -> None:
        tensors = (value,) if isinstance(value, Tensor) else tensors_in(value)
        new = [x for x in tensors if not x.requires_grad and id(x) not in others]
        for x in new:  # views have their base's mark at once, so they were all looked at before
            if x.is_floating_point() and not x.is_inference():
                x.requires_grad_()
                self._marked.append(TensorWeakRef(x))


def _own_views(value: Any, others: set[int]) -> Any:
    """Views in place of views, whose marks are their own and not their base's."""
    if isinstance(value, Tensor):
        return value.detach() if value._is_view() and id(value) not in others else value
    if type(value) in (tuple, list):
        return type(value)([_own_views(item, others) for item in value])
    return value


_PLAIN = frozenset({int, float, bool, str, slice, type(None), torch.dtype, torch.device})
"""Types of most arguments; they hold no tensor."""

_NESTED = frozenset({tuple, list, dict})


def _without_marks(value: Any, marked: list[Tensor], others: set[int]) -> Any:
    if isinstance(value, Tensor):
        if not value.requires_grad or isinstance(value, nn.Parameter):
            others.add(id(value))
            return value
        if value.grad_fn is not None:
            check_attention(value)
            return value.detach()
        for tensor in (value,) if value._base is None else (value._base, value):  # a view has its base's mark, too
            if tensor.requires_grad and tensor.is_leaf:
                marked.append(tensor)
                tensor.requires_grad_(False)
        return value
    if type(value) in (tuple, list):
        return type(value)([_without_marks(item, marked, others) for item in value])
    if type(value) is dict:
        return {key: _without_marks(item, marked, others) for key, item in value.items()}
    return value
