"""Where in the model an operation runs: the name of its module, found without hooks."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from torch import Tensor, nn

from .tensors import tensors_in

__all__ = ["ModuleLocator"]


class ModuleLocator:
    """Names of modules, by a parameter they own or by the call stack."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._modules = _modules_of(model)
        self._methods: dict[int, tuple[bool, CodeType]] = {}  # by identity: to hash code is slow

    @cached_property
    def _owners(self) -> dict[int, str]:
        found: dict[int, str] = {}
        for name, module in self._modules.values():
            if module._parameters:
                for parameter in module._parameters.values():
                    found[id(parameter)] = name
        return found

    def owner(self, parameter: Tensor | None) -> str | None:
        """Name of the module that owns the parameter."""
        return None if parameter is None else self._owners.get(id(parameter))

    def keeps(self, x: Tensor, arguments: Any = ()) -> bool:
        """Whether the tensor was there before the forward, though it is no parameter of the model's.

        It is an attribute of a module (in a list, tuple or dict, too), of one that runs unregistered, an argument, or a
        name outside the functions that run.
        """
        modules = [module for _, module in self._modules.values()]
        names: list[Any] = []
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            if isinstance(frame.f_locals.get("self"), nn.Module):
                modules.append(frame.f_locals["self"])
            names += [frame.f_locals.get(name) for name in frame.f_code.co_freevars]
            names += frame.f_globals.values()
            frame = frame.f_back
        names += [value for module in modules for value in vars(module).values()]
        found = any(x is value for value in (*names, *_items(names), *tensors_in(arguments)))
        if found:
            self._owners[id(x)] = ""
        return found

    @property
    def names(self) -> Collection[str]:
        """Names of all modules."""
        return [name for name, _ in self._modules.values()]

    def siblings(self) -> int:
        """How many modules of the model are of the running one's class."""
        running = type(self.model.get_submodule(self.current()))
        return sum([type(module) is running for _, module in self._modules.values()])

    def current(self) -> str:
        """Name of the innermost module of the model whose method is running; "" for the model itself."""
        frame: FrameType | None = sys._getframe(1)
        methods = self._methods
        while frame is not None:
            code = frame.f_code
            known = methods.get(id(code))
            if known is None:
                known = methods[id(code)] = code.co_varnames[:1] == ("self",) and not _is_ours(code), code
            if known[0]:  # reading a frame's locals is slow
                found = self._modules.get(id(frame.f_locals.get("self")))
                if found is not None:
                    return found[0]
            frame = frame.f_back
        return ""

    def describe(self) -> str:
        """The running module as a phrase for error messages."""
        name = self.current()
        return f"module '{name}'" if name else "the model's own forward"


def _items(values: Iterable[Any]) -> Iterator[Any]:
    """What lists, tuples and dicts among the values hold; no deeper, for they may hold themselves."""
    for value in values:
        if isinstance(value, dict):
            yield from list(value.values())
        elif isinstance(value, (list, tuple)):
            yield from value


_HERE = str(Path(__file__).parent)


def _is_ours(code: CodeType) -> bool:
    """Whether it is code of the engine, which is no module's."""
    return code.co_filename.startswith(_HERE)


def _modules_of(model: nn.Module) -> dict[int, tuple[str, nn.Module]]:
    """What ``model.named_modules()`` gives, by identity; that is slow."""
    found = {id(model): ("", model)}
    _collect(model, "", found)
    return found


def _collect(module: nn.Module, prefix: str, found: dict[int, tuple[str, nn.Module]]) -> None:
    for key, child in module._modules.items():
        if child is not None and id(child) not in found:
            found[id(child)] = prefix + key, child
            if child._modules:
                _collect(child, f"{prefix}{key}.", found)
