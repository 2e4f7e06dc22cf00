"""What the interception does with each torch function that has a rule, one file a family of functions."""

from . import activation, affine, arithmetic, attention, in_place, normalisation, products  # each fills the table
from .table import HANDLERS

__all__ = ["HANDLERS", "activation", "affine", "arithmetic", "attention", "in_place", "normalisation", "products"]
