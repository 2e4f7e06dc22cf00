"""The names of the registry inside Quantus.

In every version, ``quantus.explain`` looks ``get_explanation`` up in its own globals at call time, so that one name is
patched and nothing else: an earlier ``from quantus import explain`` sees it, metrics and ``quantus.evaluate`` see it,
and so do installations with Captum, with zennit, or with neither.
"""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Callable
from typing import Any

from torch import nn

from . import adapter, compat
from .registry import METHODS

__all__ = ["Dispatcher", "is_registered", "register", "register_on_import", "unregister"]

_PATCHED = "get_explanation"


class Dispatcher:
    """Stands in for Quantus' ``get_explanation``: our names here, all others there.

    Attributes
    ----------
    explain
        ``quantus.explain``.
    original
        What it called before.
    """

    def __init__(self, explain: Callable[..., Any], original: Callable[..., Any]) -> None:
        functools.update_wrapper(self, original)
        self.explain = explain
        self.original = original
        self._active = False
        self._undo: list[Callable[[], None]] = []

    def __call__(self, model: Any, inputs: Any, targets: Any, **kwargs: Any) -> Any:
        """Explain, with the arguments of ``quantus.explain``."""
        method = kwargs.get("method")
        on_zennit_route = compat.installed("zennit") and (
            not compat.installed("captum") or kwargs.get("xai_lib") == "zennit"
        )
        # With an attributor, that is the method; evaluate() adds 'method' with whatever key the user chose.
        attributor_decides = on_zennit_route and "attributor" in kwargs
        if not self._active or attributor_decides:
            return self.original(model, inputs, targets, **kwargs)
        if isinstance(method, str) and method in METHODS:
            return adapter.explain(METHODS[method], model, inputs, targets, kwargs)
        if isinstance(model, nn.Module):
            _refuse_what_quantus_would_ignore(method, on_zennit_route)
        return self.original(model, inputs, targets, **kwargs)

    def install(self) -> None:
        """Put ourselves into the globals of ``explain`` and the names into Quantus' lists."""
        explain = self.explain
        namespace = explain.__globals__
        namespace[_PATCHED] = self
        self._undo.append(functools.partial(self._give_back, namespace))
        if not namespace.get("__EXTRAS__", True):
            # With neither library 'explain' gives up before it dispatches; we say the same for Quantus' own methods.
            self._undo.append(functools.partial(namespace.__setitem__, "__EXTRAS__", namespace["__EXTRAS__"]))
            namespace["__EXTRAS__"] = True
        quantus: Any = compat.import_quantus()
        if not hasattr(quantus, "explain"):
            quantus.explain = explain
            self._undo.append(functools.partial(delattr, quantus, "explain"))
        # Pickle stores a function as its module and name. Quantus' own module would give a spawned process a Quantus
        # without us; see __getattr__ below.
        self._undo.append(functools.partial(setattr, explain, "__module__", explain.__module__))
        explain.__module__ = __name__
        self._active = True
        self.update_lists()

    def remove(self) -> None:
        """Leave Quantus as it was."""
        self._active = False
        self._drop(METHODS.added_to_quantus)
        while self._undo:
            self._undo.pop()()

    def update_lists(self) -> None:
        """Bring Quantus' lists of methods up to date with the registry."""
        if not self._active:
            return
        wanted = METHODS.names()
        self._drop(METHODS.added_to_quantus - set(wanted))
        for names in compat.name_lists():
            for name in wanted:
                if name not in names:
                    METHODS.added_to_quantus.add(name)
                    if isinstance(names, set):
                        names.add(name)
                    else:
                        names.append(name)

    def _drop(self, unwanted: set[str]) -> None:
        for names in compat.name_lists():
            for name in unwanted & set(names):
                names.remove(name)
        METHODS.added_to_quantus = METHODS.added_to_quantus - unwanted

    def _give_back(self, namespace: dict[str, Any]) -> None:
        # Where somebody has patched over us meanwhile, theirs stays, and we hand everything on.
        if namespace.get(_PATCHED) is self:
            namespace[_PATCHED] = self.original


def _refuse_what_quantus_would_ignore(method: Any, on_zennit_route: bool) -> None:
    ours = ", ".join(METHODS.names())
    if not compat.installed("captum") and not compat.installed("zennit"):
        raise ImportError(
            f"without Captum or zennit only quantus-vit's own methods can be used ({ours}), not {method!r}; "
            "install one of them: 'pip install captum'"
        )
    if not on_zennit_route or method in (None, "Gradient"):
        return
    message = (
        f"Quantus ignores method={method!r} on the zennit route and returns the plain gradient; pass an 'attributor', "
        f"or one of quantus-vit's methods ({ours}), or use Captum for the methods of Quantus"
    )
    if not compat.installed("captum"):
        raise ValueError(message)
    warnings.warn(message, stacklevel=4)


class _Plugin:
    """The one dispatcher that is in Quantus, if any."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.dispatcher: Dispatcher | None = None

    def update_lists(self) -> None:
        with self.lock:
            if self.dispatcher is not None:
                self.dispatcher.update_lists()


_plugin = _Plugin()
METHODS.watch(_plugin.update_lists)


def register() -> None:
    """Put the methods into Quantus, so that ``quantus.explain(..., method="TransformerLRP")`` works.

    ``import quantus_vit`` does this; calling it again changes nothing, and one :func:`unregister` undoes any number of
    calls.

    Raises
    ------
    ImportError
        Quantus cannot be imported, or has no place for methods any more; the message says what would help.
    """
    with _plugin.lock:
        explain = compat.explain_function()
        if _plugin.dispatcher is not None:
            if _plugin.dispatcher.explain is explain:
                return
            unregister()  # Quantus was reloaded.
        original = explain.__globals__.get(_PATCHED)
        if original is None:
            raise ImportError(
                f"Quantus {compat.installed_version()} explains in a way that quantus-vit does not know; "
                f"install quantus=={compat.NEWEST_TESTED}, or use the classes of quantus_vit directly"
            )
        _plugin.dispatcher = Dispatcher(explain, original)
        _plugin.dispatcher.install()


def unregister() -> None:
    """Take the methods out of Quantus and leave it exactly as it was; calling it again changes nothing."""
    with _plugin.lock:
        if _plugin.dispatcher is not None:
            _plugin.dispatcher.remove()
            _plugin.dispatcher = None


def is_registered() -> bool:
    """Whether ``quantus.explain`` knows the methods now.

    Returns
    -------
    bool
    """
    return _plugin.dispatcher is not None


def register_on_import() -> None:
    """Register, but warn instead of failing: the explainers are usable without Quantus."""
    try:
        register()
        warning = compat.untested_warning()
    except ImportError as error:
        warning = f"The methods of quantus-vit are not registered with Quantus: {error}"
    if warning is not None:
        warnings.warn(warning, stacklevel=3)


def __getattr__(name: str) -> Any:
    # Where pickle finds 'quantus.explain' again: importing this module has registered the methods.
    if name == "explain":
        return compat.explain_function()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
