"""What each torch function does to the places of its tensors, and where removed ones are left out.

Functions of the table get the mode, the function that the model called, and the call. Before attention has met the grid
convolutions and pooling make a new one (the stem of a hybrid); afterwards they are refused. The modules here fill the
table when they are imported.
"""

from __future__ import annotations

from . import attention, elementwise, maps, pooling, products

__all__ = ["attention", "elementwise", "maps", "pooling", "products"]
