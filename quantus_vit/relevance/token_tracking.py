"""The mode under which a plain forward runs without some of its patch tokens: it tracks them and hides the removed.

Every tensor that comes from the images has a :class:`~.token_positions.Record` of the places it holds. Sums over tokens
(softmax of attention, products with values, pooling) leave the removed places out; all else runs as it is. A function
that would mix tokens in another way is refused. What each function does is in ``token_functions``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name

from .location import ModuleLocator
from .routing import METADATA
from .tensors import TensorMap
from .token_positions import NOWHERE, MixedPlacesError, Positions, PositionTable, Record
from .training_mode import DROPOUTS, OF_TRAINING, refuse_training

__all__ = ["TokenTracking", "handles"]

_QUESTIONS = METADATA | {
    getattr(Tensor, name).__get__
    for name in ("is_nested", "is_sparse", "is_quantized", "is_meta", "is_mps", "is_leaf", "layout", "grad_fn")
}
Handler = Callable[["TokenTracking", Any, "tuple[Any, ...]", "dict[str, Any]"], Any]
_HANDLERS: dict[Callable[..., Any], Handler] = {}


def handles(*owners_and_names: tuple[Any, str]) -> Callable[[Handler], Handler]:
    """Enter a handler for functions given as (owner, names); names that a release of torch lacks are left out."""

    def register(handler: Handler) -> Handler:
        for owner, names in owners_and_names:
            for name in names.split():
                if hasattr(owner, name):
                    _HANDLERS[getattr(owner, name)] = handler
        return handler

    return register


class TokenTracking(TorchFunctionMode):
    """Active while the model runs; knows the mask, and the record of every tensor that is still alive.

    Attributes
    ----------
    mask : Tensor or None
        (N, places) bool on the CPU, True where a patch is removed; None removes nothing.
    grid : tuple of int or None
        The grid of patch tokens of the last forward whose attention has met it.
    used : bool
        Whether attention (or another sum over tokens) has met the grid in this forward.
    attended : bool
        Whether attention has.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.mask: Tensor | None = None
        self.grid: tuple[int, ...] | None = None
        self.used = self.attended = False
        self.table = PositionTable()
        self._locator = ModuleLocator(model)
        self._own = {id(x) for x in (*model.parameters(), *model.buffers())}
        self._records: TensorMap[Record | None] = TensorMap()  # of a forward
        self._removed: dict[Positions, Tensor] = {}
        self._emptied: dict[tuple[Positions, int], Tensor | None] = {}
        self._lengths: set[int] = set()
        self._size = 0

    def start(self, images: Tensor) -> None:
        """Take ``images`` (N, channels, ...) as what a forward begins with."""
        self.stop()
        self._size = len(images)
        self.note(images, self.table.fresh(images.shape))

    def stop(self) -> None:
        """Forget the tensors of a forward."""
        self._records.clear()
        self.used = self.attended = False

    def set_mask(self, mask: Tensor | None) -> None:
        """Remove other places from now on."""
        self.mask = None if mask is None or not bool(mask.any()) else mask.cpu()
        self._removed.clear()
        self._emptied.clear()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = dict(kwargs or {})
        if not self._records or func in _QUESTIONS:
            return func(*args, **options)
        if func in OF_TRAINING:
            refuse_training(self._locator.model, func, args, options, self._locator.describe)
            if func in DROPOUTS:  # in evaluation they give back what they get
                return args[0] if args else options["input"]
        found = [self.record_of(x) for x in _tensors_of(args, options)]
        if not any(record is not None and record.sets for record in found):
            self._check_seen(func, args, options)
            return self.note(func(*args, **options), None if all(r is None for r in found) else NOWHERE)
        handler = _HANDLERS.get(func)
        if handler is None:
            raise self.refusal(func, "is no function whose tokens are known after it")
        if options.get("out") is not None:
            raise self.refusal(func, "writes into a tensor given as out=")
        try:
            return handler(self, func, args, options)
        except MixedPlacesError as error:
            raise self.refusal(func, str(error)) from None

    # For the handlers ------------------------------------------------------------------------------------------------

    def record_of(self, x: Tensor) -> Record | None:
        """What is known of a tensor; None where it does not come from the images."""
        return self._records.get(x)

    def sets_of(self, x: Tensor) -> tuple[Positions, ...]:
        """Its sets of positions; none where it does not come from the images, or holds no place."""
        record = self.record_of(x)
        return () if record is None else record.sets

    def note(self, result: Any, record: Any) -> Any:
        """Note the record of a result; for several tensors one record for all, or a list of one each."""
        if isinstance(result, Tensor):
            self._records[result] = record
        elif isinstance(result, (tuple, list)):
            records = record if isinstance(record, list) else [record] * len(result)
            for part, its in zip(result, records, strict=True):
                self.note(part, its)
        return result

    def removed(self, one: Positions, device: torch.device) -> Tensor | None:
        """Where the removed places are, bool, broadcastable to the tensor; None where nothing is removed."""
        if not self.used:
            self._meet(one)
        elif self.grid is not None and one.grid != self.grid:
            raise MixedPlacesError(f"sums over {_by(one.grid)} tokens after attention over {_by(self.grid)}")
        if self.mask is None:
            return None
        found = self._removed.get(one)
        if found is None:
            found = torch.cat([self.mask.new_zeros(1), self.mask.flatten()])[one.values.long()].to(device)
            self._removed[one] = found
        return found

    def emptied(self, one: Positions, dim: int, device: torch.device) -> Tensor | None:
        """Where all along ``dim`` is removed, of size 1 there; None where there is no such image."""
        removed = self.removed(one, device)
        if removed is None:
            return None
        if (one, dim) not in self._emptied:
            found = removed.all(dim, keepdim=True)
            self._emptied[one, dim] = found if bool(found.any()) else None
        return self._emptied[one, dim]

    def _meet(self, one: Positions) -> None:
        if self.mask is not None and self.mask.shape[1] != one.places:
            raise ValueError(
                f"the mask has {self.mask.shape[1]} places an image, but the model's attention runs over a grid of "
                f"{_by(one.grid)} = {one.places} patch tokens"
            )
        self.grid, self.used = one.grid, True
        self._lengths = set(one.values.shape[1:]) - {1}

    def dropped(self, one: Positions, x: Tensor, value: float = 0.0) -> Tensor:
        """The tensor with ``value`` in place of what was removed."""
        removed = self.removed(one, x.device)
        return x if removed is None else x.masked_fill(removed, value)

    def refusal(self, func: Callable[..., Any], reason: str) -> ValueError:
        """The error for a function after which tokens could not be told from one another."""
        name = resolve_name(func) or getattr(func, "__name__", str(func))
        return ValueError(
            f"tokens cannot be removed from this model: {name} in {self._locator.describe()} {reason}. Removal needs "
            "one global grid of patch tokens that only attention and pooling mix, which windows, pyramids and "
            "convolutions between attention layers do not leave"
        )

    def _check_seen(self, func: Callable[..., Any], args: Any, options: Any) -> None:
        """Refuse a tensor of tokens that no torch function seen here has made."""
        if self._size < 2:  # constants may have a first dimension of 1, too
            return
        for x in _tensors_of(args, options):
            of_tokens = x.dim() > 2 and x.shape[0] == self._size and bool(self._lengths.intersection(x.shape[1:]))
            if of_tokens and id(x) not in self._own and x not in self._records:
                raise self.refusal(
                    func,
                    "reads a tensor that no torch function seen here made (but a script or an extension)",
                )


def _by(grid: tuple[int, ...]) -> str:
    return " x ".join(map(str, grid))


def _tensors_of(args: tuple[Any, ...], options: dict[str, Any]) -> list[Tensor]:
    """The tensors among a call's arguments, those in lists included."""
    found: list[Tensor] = []
    for value in (*args, *options.values()):
        if isinstance(value, Tensor):
            found.append(value)
        elif type(value) in (tuple, list):
            found += [x for x in value if isinstance(x, Tensor)]
    return found
