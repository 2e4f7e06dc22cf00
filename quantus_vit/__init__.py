"""Layer-wise relevance propagation for Vision Transformers, for Quantus and Captum.

Importing the package registers its methods with Quantus, see :func:`register`.
"""

from __future__ import annotations

from ._version import __version__
from .errors import UnsupportedOperationError

__all__ = ["UnsupportedOperationError", "__version__"]
