"""Calls a function once a module has been imported, without importing it. Knows the standard library only."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["AfterImport"]


class AfterImport(MetaPathFinder):
    """Waits for the first import of a module.

    A finder at the head of ``sys.meta_path`` that looks for one name only: it lets the other finders find the module
    and has the callback called when its code has run. It leaves ``sys.meta_path`` before the callback runs.

    Parameters
    ----------
    name : str
        Name of a top-level module.
    callback : callable
        Called once, without arguments: now if the module is imported already, else right after its import, or by
        :meth:`fire`, whatever comes first.
    """

    def __init__(self, name: str, callback: Callable[[], None]) -> None:
        self.name = name
        self._callback = callback
        self._waiting = True
        if name in sys.modules:
            self.fire()
        else:
            sys.meta_path.insert(0, self)

    def fire(self) -> None:
        """Call the callback now, unless it has been called."""
        if not self._waiting:
            return
        self._waiting = False
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        self._callback()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find the module by the other finders, and attach the callback to its loader."""
        if fullname != self.name or not self._waiting:
            return None
        for finder in list(sys.meta_path):
            find = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = None if finder is self or find is None else find(fullname, path, target)
            if spec is not None:
                if spec.loader is not None and hasattr(spec.loader, "exec_module"):
                    spec.loader = _Loader(spec.loader, self)
                return spec
        return None


class _Loader(Loader):
    """A loader that fires a hook when its module is there; everything else is the original's."""

    def __init__(self, original: Any, hook: AfterImport) -> None:
        self._original = original
        self._hook = hook

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Create the module as the original does."""
        created: ModuleType | None = self._original.create_module(spec)
        return created

    def exec_module(self, module: ModuleType) -> None:
        """Give the module its own loader back, run its code, then fire."""
        module.__loader__ = self._original
        if module.__spec__ is not None:
            module.__spec__.loader = self._original
        self._original.exec_module(module)
        self._hook.fire()
