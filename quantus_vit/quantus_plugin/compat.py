"""The differences between the versions and installations of Quantus, all in one place.

Quantus is imported inside the functions: an installation that cannot import it (a Captum older than the one that
Quantus asks for, say) must still be able to import this package.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import re
from collections.abc import Callable, MutableSequence
from types import ModuleType
from typing import Any

__all__ = [
    "NEWEST_TESTED",
    "OLDEST_TESTED",
    "explain_function",
    "helpers",
    "import_quantus",
    "installed",
    "installed_version",
    "method_names",
    "name_lists",
    "pytorch_model_class",
    "release",
    "removes_softmax",
    "untested_warning",
]

OLDEST_TESTED = "0.2.2"
NEWEST_TESTED = "0.6.0"


def installed(library: str) -> bool:
    """Whether a library can be found; the test that Quantus itself uses, which does not import it."""
    return importlib.util.find_spec(library) is not None


def installed_version() -> str:
    """Return the version of the installed Quantus, for instance ``"0.6.0"``."""
    return importlib.metadata.version("quantus")


def release(version: str) -> tuple[int, ...]:
    """Return the numbers of a version, ``"0.6.0rc1"`` as ``(0, 6, 0)``."""
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in found.group().split(".")) if found else ()


def untested_warning() -> str | None:
    """Return what to warn of when the installed Quantus lies outside the tested range, else None."""
    version = installed_version()
    if release(OLDEST_TESTED) <= release(version) <= release(NEWEST_TESTED):
        return None
    return (
        f"Quantus {version} has not been tested with this version of quantus-vit (tested: {OLDEST_TESTED} to "
        f"{NEWEST_TESTED}). It is used all the same; if something fails, install quantus=={NEWEST_TESTED}."
    )


def import_quantus() -> ModuleType:
    """Import Quantus.

    Raises
    ------
    ImportError
        It cannot be imported; the message says why and what would help.
    """
    try:
        return importlib.import_module("quantus")
    except Exception as error:
        advice = "install it with 'pip install quantus'"
        if "captum" in str(error):
            advice = "the installed Captum does not fit it: 'pip install --upgrade captum', or uninstall captum"
        elif "zennit" in str(error) or "torchvision" in str(error):
            advice = "zennit needs torchvision: 'pip install torchvision', or uninstall zennit"
        elif installed("quantus"):
            advice = "its installation is broken, see the error"
        raise ImportError(f"Quantus cannot be imported ({type(error).__name__}: {error}); {advice}") from error


def explain_function() -> Callable[..., Any]:
    """Return ``quantus.explain``; 0.2.2 hides it when neither Captum nor tf-explain is installed."""
    quantus = import_quantus()
    explain = getattr(quantus, "explain", None)
    if explain is None:
        explain = importlib.import_module("quantus.helpers.explanation_func").explain
    return explain  # type: ignore[no-any-return]


def pytorch_model_class() -> type:
    """Return Quantus' wrapper of torch models; 0.3.0 moved it."""
    import_quantus()
    for module in ("quantus.helpers.model.pytorch_model", "quantus.helpers.pytorch_model"):
        if importlib.util.find_spec(module.rpartition(".")[0]) and importlib.util.find_spec(module):
            return importlib.import_module(module).PyTorchModel  # type: ignore[no-any-return]
    raise ImportError(
        f"Quantus {installed_version()} has no PyTorchModel where it is looked for; take a release named in the README"
    )


def name_lists() -> list[MutableSequence[str] | set[str]]:
    """Return Quantus' lists of method names for torch: a set in 0.2.2, a list later, renamed in 0.3.5."""
    constants = importlib.import_module("quantus.helpers.constants")
    candidates = (getattr(constants, name, None) for name in ("AVAILABLE_XAI_METHODS_CAPTUM", "AVAILABLE_XAI_METHODS"))
    return [names for names in candidates if isinstance(names, (list, set))]


def method_names() -> frozenset[str]:
    """Return the names in Quantus' lists and their deprecated forms; empty when Quantus cannot be imported."""
    try:
        import_quantus()
    except ImportError:
        return frozenset()
    constants = importlib.import_module("quantus.helpers.constants")
    names = {name for listed in name_lists() for name in listed}
    return frozenset(names | set(getattr(constants, "DEPRECATED_XAI_METHODS_CAPTUM", {})))


def removes_softmax() -> bool:
    """Whether ``explain`` understands ``softmax`` for torch models: from 0.3.2 on, ignored before."""
    return hasattr(pytorch_model_class(), "get_softmax_arg_model")


def helpers() -> ModuleType:
    """Return ``quantus.helpers.utils``, the same in all versions."""
    import_quantus()
    return importlib.import_module("quantus.helpers.utils")
