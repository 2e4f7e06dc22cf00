"""A name with options, as a user types methods and metrics: ``LimeCXR[replacement=0.0, num_samples=500]``.

Knows the standard library only.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Call"]

_FORM = re.compile(r"(?P<name>[^\[\]]*[^\[\]\s])\s*(?:\[(?P<options>.*)\])?\s*", re.DOTALL)
# A comma that stands in no bracket or quotation marks parts two options.
_OPTION = re.compile(r"""(?:[^,\[\](){}'"]|\[[^\]]*\]|\([^)]*\)|\{[^}]*\}|'[^']*'|"[^"]*")+""")


@dataclass(frozen=True)
class Call:
    """A method or metric with options of its own.

    Parameters
    ----------
    name : str
        Its name in the table.
    options : mapping of str to object
        Plain values: numbers, strings, booleans, None, tuples and lists of them.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The text form, the same for the same call: it names rows of tables and folders of maps."""
        return self.name + _bracketed([f"{key}={_written(value)}" for key, value in self.options.items()])

    def labelled(self, variant: str = "") -> str:
        """The text form with one more entry in the brackets, such as "mask=lung"."""
        entries = [f"{key}={_written(value)}" for key, value in self.options.items()]
        return self.name + _bracketed([*entries, variant] if variant else entries)

    @classmethod
    def parse(cls, text: str) -> Call:
        """Read the text form.

        Parameters
        ----------
        text : str
            A name, and in brackets ``key=value`` with Python literals as values; what is none is a string.

        Raises
        ------
        ValueError
            The text has another form.
        """
        match = _FORM.fullmatch(text)
        if match is None:
            raise ValueError(f"cannot read {text!r}; a method or metric is NAME or NAME[OPTION=VALUE, ...]")
        options: dict[str, Any] = {}
        inside = match["options"] or ""
        for entry in _OPTION.findall(inside) if inside.strip() else ():
            key, equals, value = (part.strip() for part in entry.partition("="))
            if not equals or not key.isidentifier() or not value or key in options:
                raise ValueError(f"cannot read {entry.strip()!r} in {text!r}; an option is NAME=VALUE, each name once")
            options[key] = _read(value)
        return cls(match["name"].strip(), options)


def _read(value: str) -> Any:
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value


def _written(value: Any) -> str:
    if isinstance(value, str) and _read(value) == value and not re.search(r"[,\[\](){}'\"=\s]", value):
        return value
    return repr(value)


def _bracketed(entries: list[str]) -> str:
    return f"[{','.join(entries)}]" if entries else ""
