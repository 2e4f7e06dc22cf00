"""Everything that touches Quantus: names for ``quantus.explain``, gradients inside metrics, differences of versions.

This package wraps the explainers of :mod:`quantus_vit.attribution` and :mod:`quantus_vit.lime`; only the top
level of :mod:`quantus_vit` and the layers above import it.
"""

from __future__ import annotations

from .dispatcher import is_registered, register, unregister
from .registry import available_methods, register_method, unregister_method

__all__ = ["available_methods", "is_registered", "register", "register_method", "unregister", "unregister_method"]
