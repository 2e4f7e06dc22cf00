"""The protocols of a comparison: one readable file each.

To add one: a module here with ``SPECS = (ProtocolSpec(...),)``, or in another package an entry point of the group
``quantus_vit.protocols``.
"""

from __future__ import annotations

from ..collecting import collect_specs
from .base import PROTOCOLS, ProtocolSpec

__all__ = ["PROTOCOLS", "ProtocolSpec"]

for _spec in collect_specs(__name__, __path__):
    PROTOCOLS.add(_spec)
