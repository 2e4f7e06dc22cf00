"""What the interception does with each torch function that has a rule, one file a family of functions."""

from __future__ import annotations

from . import activation, affine, arithmetic, attention, normalisation, products, side_effects  # each fills the table
from .table import HANDLERS

__all__ = ["HANDLERS", "activation", "affine", "arithmetic", "attention", "normalisation", "products", "side_effects"]
