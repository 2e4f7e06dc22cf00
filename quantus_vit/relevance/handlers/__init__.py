"""What the interception does with each torch function that has a rule, one file a family of functions."""

from __future__ import annotations

from . import (  # each fills the table
    activation,
    affine,
    arithmetic,
    attention,
    composed,
    normalisation,
    powers,
    products,
    side_effects,
)
from .table import ALWAYS, HANDLERS

__all__ = [
    "ALWAYS",
    "HANDLERS",
    "activation",
    "affine",
    "arithmetic",
    "attention",
    "composed",
    "normalisation",
    "powers",
    "products",
    "side_effects",
]
