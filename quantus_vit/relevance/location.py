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
        self._names = {id(module): name for name, module in self._modules}
        self._methods: dict[CodeType, bool] = {}

    @cached_property
    def _owners(self) -> dict[int, str]:
        found: dict[int, str] = {}
        for name, module in self._modules:
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
        modules = [module for _, module in self._modules]
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
        return self._names.values()

    def siblings(self) -> int:
        """How many modules of the model are of the running one's class."""
        running = type(self.model.get_submodule(self.current()))
        return sum(type(module) is running for _, module in self._modules)

    def current(self) -> str:
        """Name of the innermost module of the model whose method is running; "" for the model itself."""
        frame: FrameType | None = sys._getframe(1)
        methods = self._methods
        while frame is not None:
            code = frame.f_code
            is_method = methods.get(code)
            if is_method is None:
                is_method = methods[code] = code.co_varnames[:1] == ("self",) and not _is_ours(code)
            if is_method:  # reading a frame's locals is slow
                name = self._names.get(id(frame.f_locals.get("self")))
                if name is not None:
                    return name
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


def _modules_of(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """What ``model.named_modules()`` gives; that is slow."""
    found: dict[int, tuple[str, nn.Module]] = {}
    waiting = [("", model)]
    while waiting:
        name, module = waiting.pop()
        if id(module) in found:
            continue
        found[id(module)] = name, module
        prefix = name and name + "."
        children = [(prefix + key, child) for key, child in module._modules.items() if child is not None]
        waiting.extend(reversed(children))
    return list(found.values())
