"""Where in the model an operation runs: the name of its module, found without hooks."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Collection
from types import FrameType

from torch import Tensor, nn


class ModuleLocator:
    """Names of modules, by a parameter they own or by the call stack."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._modules: dict[int, str] = {}
        self._types: Counter[type[nn.Module]] = Counter()
        self._owners: dict[int, str] = {}
        for name, module in model.named_modules():  # one walk: it is slow
            self._modules[id(module)] = name
            self._types[type(module)] += 1
            self._owners.update((id(parameter), name) for parameter in module._parameters.values())

    def owner(self, parameter: Tensor | None) -> str | None:
        """Name of the module that owns the parameter."""
        return None if parameter is None else self._owners.get(id(parameter))

    @property
    def names(self) -> Collection[str]:
        """Names of all modules."""
        return self._modules.values()

    def siblings(self) -> int:
        """How many modules of the model are of the running one's class."""
        name = self.current()
        return self._types[type(self._model.get_submodule(name))]

    def current(self) -> str:
        """Name of the innermost module of the model whose method is running; "" for the model itself."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            if frame.f_code.co_varnames[:1] == ("self",):  # reading a frame's locals is slow
                name = self._modules.get(id(frame.f_locals.get("self")))
                if name is not None:
                    return name
            frame = frame.f_back
        return ""

    def describe(self) -> str:
        """The running module as a phrase for error messages."""
        name = self.current()
        return f"module '{name}'" if name else "the model's own forward"
