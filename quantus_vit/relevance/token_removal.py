"""Removal of patch tokens: a plain forward of the user's own model that never sees some of the patches.

No colour takes their place. Attention hides the removed tokens from every other (their keys are masked before each
softmax), and pooling runs over the tokens that are left, so the logits are those of a forward with the tokens dropped
after the position embedding.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from . import token_functions as token_functions  # fills the table of functions
from .forward import original
from .suspension import SUSPENSION
from .token_tracking import TokenTracking

__all__ = ["TokenRemoval", "tokens_removed"]


class TokenRemoval:
    """Removes patch tokens while the model runs; a context, or called in place of the model.

    Inside the context (or by the call) the model's own code runs on all of its tokens; what it computes from the class
    token, from pooled tokens or through attention pooling is what it would compute without the removed ones. Attention
    over no token at all, and a mean or maximum of none, are 0 (models without class token, all patches removed).

    Grids come from the graph: the one that the model's first attention runs over, whether a convolution, a hybrid's
    stem or a linear map of unfolded pixels made it. Models are refused where attention runs in windows, or where
    convolutions, merging or linear maps mix tokens after the first attention: there a token is not one patch.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode; it is not changed. Two forward hooks are on it while the context is open.
    mask : Tensor or None
        (N, h * w) or (N, h, w) bool, True where a patch is removed, patches row by row; one row per image of the
        forward's batch. None removes nothing (and finds the grid).

    Raises
    ------
    TypeError, ValueError
        The mask is no bool tensor of 2 or 3 dimensions (4 for volumes); during the forward: it does not fit the images
        or the grid, or the model's tokens cannot be removed. The message says where.

    Examples
    --------
    >>> removal = TokenRemoval(model, mask)
    >>> logits = removal(images)
    >>> with removal: logits = model(images)
    >>> rows, columns = removal.grid
    """

    def __init__(self, model: nn.Module, mask: Tensor | None = None) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be a torch.nn.Module, not {type(model).__name__}")
        self.model = model
        self._root = original(model)
        for name, module in self._root.named_modules():
            if isinstance(module, torch.jit.ScriptModule):
                raise ValueError(
                    f"tokens cannot be removed from this model: module '{name}' is a script, inside which tokens "
                    "cannot be told from one another; use the module that it was made from"
                )
        self._tracking = TokenTracking(self._root)
        self._open: ExitStack | None = None
        self._thread = 0
        self._forwards = 0
        self.mask = mask

    @property
    def mask(self) -> Tensor | None:
        """The mask, (N, h * w); may be set anew between two forwards, which costs less than a new object."""
        return self._mask

    @mask.setter
    def mask(self, mask: Tensor | None) -> None:
        if mask is not None:
            if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
                kind = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
                raise TypeError(f"mask must be a bool tensor, True where a patch is removed, not {kind}")
            if mask.dim() not in (2, 3, 4) or not mask.numel():
                raise ValueError(f"mask must be of shape (N, h * w) or (N, h, w), not {tuple(mask.shape)}")
            mask = mask.flatten(1)
        self._mask = mask
        self._tracking.set_mask(mask)

    @property
    def grid(self) -> tuple[int, ...]:
        """Rows and columns of the grid of patch tokens (in volumes depth, rows, columns), known after a forward."""
        if self._tracking.grid is None:
            raise RuntimeError("the grid of patch tokens is known after a forward")
        return self._tracking.grid

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the model gives for these arguments without the removed tokens."""
        with self:
            return self._root(*args, **kwargs)  # a compiled model's code is traced as it was written

    def __enter__(self) -> TokenRemoval:
        if self._open is not None:
            raise RuntimeError("this removal of tokens is open already; make another for a forward inside it")
        self._thread, self._forwards = threading.get_ident(), 0
        with ExitStack() as stack:
            stack.enter_context(SUSPENSION.active())
            stack.callback(self._tracking.stop)
            for hook in (
                self._root.register_forward_pre_hook(self._before, with_kwargs=True),
                self._root.register_forward_hook(self._after),
            ):
                stack.callback(hook.remove)
            stack.enter_context(self._tracking)
            self._open = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        stack, self._open = self._open, None
        if stack is not None:
            stack.close()
        if error is None and not self._forwards:
            raise RuntimeError("the model was not called while its tokens were to be removed")

    def _before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Begin a forward: find the images among the model's arguments."""
        if threading.get_ident() != self._thread:
            return
        images = next((x for x in (*args, *kwargs.values()) if _is_images(x)), None)
        if images is None:
            raise ValueError("the model was called without a tensor of images (N, channels, height, width)")
        if self._mask is not None and len(self._mask) != len(images):
            raise ValueError(f"the mask is for {len(self._mask)} images, but the model was called with {len(images)}")
        self._tracking.start(images)

    def _after(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """End a forward: the tokens must have met attention."""
        if threading.get_ident() != self._thread:
            return
        self._forwards += 1
        attended = self._tracking.attended
        self._tracking.stop()
        if not attended:
            raise ValueError(
                "tokens cannot be removed from this model: no attention over a grid of patch tokens was met in its "
                "forward"
            )


def tokens_removed(model: nn.Module, mask: Tensor | None) -> TokenRemoval:
    """Remove patch tokens from a model's forwards; see :class:`TokenRemoval`.

    Parameters
    ----------
    model : nn.Module
    mask : Tensor or None
        bool, True where a patch is removed; None removes none.

    Returns
    -------
    TokenRemoval
        A context manager, which is callable as well.

    Examples
    --------
    >>> with tokens_removed(model, mask):  # (N, h * w) or (N, h, w) bool, True where a patch is removed
    ...     logits = model(images)
    """
    return TokenRemoval(model, mask)


def _is_images(x: Any) -> bool:
    return isinstance(x, Tensor) and x.dim() >= 4 and x.is_floating_point()
