"""Layer-wise relevance propagation for Vision Transformers, for Quantus and Captum.

Importing the package registers its methods with Quantus, see :func:`register`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._version import __version__
from .attribution import AttentionRollout, AttnLRP, GenericAttention, TransformerLRP
from .errors import UnsupportedOperationError
from .quantus_plugin import available_methods, register, register_method, unregister, unregister_method
from .quantus_plugin.dispatcher import register_on_import as _register_on_import
from .quantus_plugin.gradients import GradientEnabled, gradients_enabled

if TYPE_CHECKING:
    from . import data
    from .lime import LimeCXR

__all__ = [
    "AttentionRollout",
    "AttnLRP",
    "GenericAttention",
    "GradientEnabled",
    "LimeCXR",
    "TransformerLRP",
    "UnsupportedOperationError",
    "__version__",
    "available_methods",
    "data",
    "gradients_enabled",
    "register",
    "register_method",
    "unregister",
    "unregister_method",
]


def __getattr__(name: str) -> Any:
    """Parts with dependencies of their own are imported when they are first asked for."""
    if name == "LimeCXR":
        from .lime import LimeCXR

        return LimeCXR
    if name == "data":
        import importlib

        return importlib.import_module(".data", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


_register_on_import()
