"""What a protocol is: a name, a version and the settings that it fixes, in one table. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ...tables import Table
from ..protocol import Protocol

__all__ = ["PROTOCOLS", "ProtocolSpec"]

# What a protocol cannot fix, since it comes from the model, the data and the installation.
_GIVEN = frozenset({"data", "data_digest", "model", "model_digest", "image_size", "quantus", "protocol",
                    "protocol_version", "overrides", "classes", "chosen"})  # fmt: skip


@dataclass(frozen=True)
class ProtocolSpec:
    """Settings under a name.

    Parameters
    ----------
    name : str
        What ``--protocol`` takes.
    summary : str
        One line for help and report.
    version : int
        Counts up with every change of the settings, so that scores of two versions are told apart.
    settings : mapping
        Field of :class:`~quantus_vit.comparison.protocol.Protocol` -> value. Fields that are not there have their
        defaults.
    required : tuple of str
        Settings that the caller has to give.

    Raises
    ------
    ValueError
        A setting is none, or one that a protocol cannot fix.
    """

    name: str
    summary: str
    version: int
    settings: Mapping[str, Any]
    required: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        known = {field.name for field in fields(Protocol)} - _GIVEN
        unknown = sorted({*self.settings, *self.required} - known)
        if unknown:
            raise ValueError(f"the protocol {self.name!r} sets {unknown[0]!r}; it can set {', '.join(sorted(known))}")

    def with_overrides(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Keywords of ``Protocol``: the settings, those that were given in their place, and which these are.

        Parameters
        ----------
        given : mapping
            Field -> value; None where nothing was given.

        Returns
        -------
        dict of str to Any

        Raises
        ------
        ValueError
            A required setting is not given.
        """
        chosen = {name: value for name, value in given.items() if value is not None}
        missing = [name for name in self.required if name not in chosen]
        if missing:
            options = " and ".join("--" + name.replace("_", "-") for name in missing)
            raise ValueError(f"the protocol {self.name!r} fixes nothing by itself; give {options}")
        defaults = {field.name: field.default for field in fields(Protocol)}
        changed = [
            name
            for name, value in chosen.items()
            if name not in self.required and value != self.settings.get(name, defaults.get(name))
        ]
        for name, among in (("primary", "metrics"), ("truth", "methods")):
            # What was declared for other metrics or methods says nothing of these.
            if among in chosen and name not in chosen and self.settings.get(name) not in chosen[among]:
                chosen[name] = ""
        named = {"protocol": self.name, "protocol_version": self.version, "overrides": tuple(changed)}
        return {**self.settings, **chosen, **named}


PROTOCOLS: Table[ProtocolSpec] = Table("protocol", ProtocolSpec, "quantus_vit.protocols")
"""Every protocol, other packages' too; filled by the modules of this folder."""
