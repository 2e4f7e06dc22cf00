"""Layer-wise relevance propagation for Vision Transformers, for Quantus and Captum.

Importing the package registers its methods with Quantus, see :func:`register`.
"""

from __future__ import annotations

from ._version import __version__
from .errors import UnsupportedOperationError
from .quantus_plugin import available_methods, register, register_method, unregister, unregister_method
from .quantus_plugin.methods import register_on_import as _register_on_import

__all__ = [
    "UnsupportedOperationError",
    "__version__",
    "available_methods",
    "register",
    "register_method",
    "unregister",
    "unregister_method",
]

_register_on_import()
