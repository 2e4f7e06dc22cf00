"""The methods of a comparison as it sees them: a table of specs, one module a family.

A method that ``quantus.explain`` knows by name needs nothing here, or a spec where it has options or a text. A control
is a module here with ``SPECS = (MethodSpec(..., role="control", make=function),)``, or ``METHODS.add`` of such a
spec.
"""

from __future__ import annotations

from ..collecting import collect_specs
from .base import METHODS, ControlInputs, MethodSpec, method_spec, options_of

__all__ = ["METHODS", "ControlInputs", "MethodSpec", "method_spec", "options_of"]

for _spec in collect_specs(__name__, __path__):
    METHODS.add(_spec)
