"""Which name means which explainer.

Knows nothing of Quantus but the names that it keeps for itself; :mod:`.dispatcher` puts the names into Quantus. An
entry is either an explainer or an entry point that is imported when its name is first used, so that listing the names
imports no explainer.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from . import compat

ENTRY_POINT_GROUP = "quantus_vit.methods"

Explainer = Callable[..., Any]

_BUILT_IN = {
    name: EntryPoint(name, f"{module}:{name}", ENTRY_POINT_GROUP)
    for module, names in {
        "quantus_vit.attribution": ("TransformerLRP", "AttnLRP", "AttentionRollout", "GenericAttention"),
        "quantus_vit.lime": ("LimeCXR",),
    }.items()
    for name in names
}


class MethodRegistry:
    """Names and their explainers, in the order in which they came.

    Attributes
    ----------
    added_to_quantus
        The names that stand in Quantus' own lists because they are here; the other names there are Quantus' own.
    """

    def __init__(self, entries: dict[str, EntryPoint]) -> None:
        self.added_to_quantus: set[str] = set()
        self._entries: dict[str, Explainer | EntryPoint] = dict(entries)
        self._lock = threading.RLock()
        self._watchers: list[Callable[[], None]] = []

    def names(self) -> list[str]:
        """Return the names, the built-in ones first."""
        with self._lock:
            return list(self._entries)

    def add(self, name: str, explainer: Explainer | EntryPoint, overwrite: bool, reserved: Iterable[str]) -> None:
        """Enter a name; see :func:`register_method`."""
        if not isinstance(name, str) or not name:
            raise TypeError(f"A method's name must be a non-empty string, got {name!r}.")
        if not isinstance(explainer, EntryPoint) and not callable(explainer):
            raise TypeError(
                f"The explainer of {name!r} must be a class with an 'attribute' method, a factory or a function, "
                f"got {type(explainer).__name__}."
            )
        if isinstance(explainer, type) and not callable(getattr(explainer, "attribute", None)):
            raise TypeError(f"The class {explainer.__name__} for {name!r} has no method 'attribute(inputs, target)'.")
        with self._lock:
            if not overwrite:
                owner = "already registered" if name in self._entries else "a method of Quantus itself"
                if name in self._entries or name in set(reserved):
                    raise ValueError(
                        f"The method name {name!r} is {owner}; choose another name or pass overwrite=True."
                    )
            self._entries[name] = explainer
        self._notify()

    def remove(self, name: str) -> None:
        """Take a name out; see :func:`unregister_method`."""
        with self._lock:
            if name not in self._entries:
                raise ValueError(f"No method {name!r} is registered; there are: {', '.join(self._entries)}.")
            del self._entries[name]
        self._notify()

    def resolve(self, name: str) -> Explainer:
        """Return the explainer, imported now if it was not before.

        Raises
        ------
        ImportError
            What the method needs is not installed.
        """
        with self._lock:
            entry = self._entries[name]
        if not isinstance(entry, EntryPoint):
            return entry
        try:
            loaded: Explainer = entry.load()
        except ImportError as error:
            raise ImportError(
                f"The method {name!r} needs {entry.value!r}, which cannot be imported: {error}"
            ) from error
        return loaded

    def load_entry_points(self, found: Iterable[EntryPoint], reserved: Iterable[str]) -> None:
        """Enter the methods of other packages; one that clashes is left out with a warning."""
        for entry in found:
            with self._lock:
                present = self._entries.get(entry.name)
            if isinstance(present, EntryPoint) and present.value == entry.value:
                continue
            try:
                self.add(entry.name, entry, overwrite=False, reserved=reserved)
            except (ValueError, TypeError) as error:
                warnings.warn(f"The entry point {entry.value!r} is left out. {error}", stacklevel=2)

    def watch(self, watcher: Callable[[], None]) -> None:
        """Have ``watcher`` called after every change."""
        self._watchers.append(watcher)

    def _notify(self) -> None:
        for watcher in self._watchers:
            watcher()


REGISTRY = MethodRegistry(_BUILT_IN)


def register_method(name: str, explainer: Explainer, overwrite: bool = False) -> None:
    """Make ``quantus.explain(..., method=name)`` run an explainer.

    Parameters
    ----------
    name
        The name to pass as ``method``.
    explainer
        One of

        - a class in the style of Captum: ``explainer(model, **xai_lib_kwargs).attribute(inputs, target)``;
        - a factory: ``explainer(model, **xai_lib_kwargs)`` returns an object with such an ``attribute``;
        - a function in the style of Quantus: ``explainer(model, inputs, targets, **kwargs)``, recognised by a parameter
          called ``inputs`` or by three parameters without a default.

        The result is a tensor or an array of shape (N, C, H, W) or (N, 1, H, W).
    overwrite
        Replace a method of that name, be it of this package, of another one or of Quantus.

    Raises
    ------
    ValueError
        The name is taken.
    TypeError
        ``explainer`` is none of the three.
    """
    REGISTRY.add(name, explainer, overwrite, compat.method_names() - REGISTRY.added_to_quantus)


def unregister_method(name: str) -> None:
    """Take a method out again; a method of Quantus that it replaced comes back.

    Raises
    ------
    ValueError
        There is no method of that name.
    """
    REGISTRY.remove(name)


def available_methods() -> list[str]:
    """Return the names that this package adds to ``quantus.explain``, those of other packages' entry points too."""
    return REGISTRY.names()


def discover() -> None:
    """Enter the methods that installed packages offer through the entry point group ``quantus_vit.methods``."""
    REGISTRY.load_entry_points(entry_points(group=ENTRY_POINT_GROUP), compat.method_names() - REGISTRY.added_to_quantus)
