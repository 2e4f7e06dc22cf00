"""Gathers the specs of a folder of modules, so that a new entry of a table is one new file. Knows the standard library.

A module of the folder that defines ``SPECS`` takes part; its name says nothing.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

__all__ = ["collect_specs"]


def collect_specs(package: str, path: list[str]) -> Iterator[Any]:
    """Yield the specs of a package's modules.

    Parameters
    ----------
    package : str
        Its name; ``__name__`` inside it.
    path : list of str
        Its ``__path__``.

    Yields
    ------
    object
        What the modules have in ``SPECS``, modules by name.
    """
    for module in sorted(info.name for info in pkgutil.iter_modules(path)):
        yield from getattr(importlib.import_module(f"{package}.{module}"), "SPECS", ())
