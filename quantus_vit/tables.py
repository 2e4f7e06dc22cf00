"""Open tables: a kind of thing (metric, data set, model, protocol), its named specs, and those of other packages.

Every kind has one :class:`Table` of small specs. The package fills it, other packages add to it by an entry point, a
user by :meth:`Table.add`. Help texts, validation and reports read the same table. Knows the standard library only.
"""

from __future__ import annotations

import difflib
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, Protocol, TypeVar

__all__ = ["Named", "Table", "unknown_name"]


class Named(Protocol):
    """What a table asks of a spec."""

    @property
    def name(self) -> str:
        """The name that a user types."""

    @property
    def summary(self) -> str:
        """One line for help and report."""


Spec = TypeVar("Spec", bound=Named)


class Table(Generic[Spec]):
    """Specs of one kind by name, in the order in which they came.

    Parameters
    ----------
    kind : str
        What a spec is, in the singular, as messages name it: "metric".
    spec_type : type
        Class of the specs.
    group : str, optional
        Entry-point group through which other packages add specs, such as ``quantus_vit.metrics``; an entry point loads
        a spec. It is imported when its name is first used, so that a broken package breaks nothing but its own name.
    specs : iterable of specs
        Those of this package.
    """

    def __init__(self, kind: str, spec_type: type[Spec], group: str | None = None, specs: Iterable[Spec] = ()) -> None:
        self.kind = kind
        self.group = group
        self._spec_type = spec_type
        self._entries: dict[str, Spec | EntryPoint] = {}
        self._lock = threading.RLock()
        self._discovered = False
        for spec in specs:
            self.add(spec)

    def add(self, spec: Spec, overwrite: bool = False) -> None:
        """Enter a spec under its name.

        Parameters
        ----------
        spec : Spec
        overwrite : bool
            Replace a spec of that name.

        Raises
        ------
        TypeError
            ``spec`` is of another class, or its name is no non-empty string.
        ValueError
            The name is taken.
        """
        if not isinstance(spec, self._spec_type):
            raise TypeError(f"a {self.kind} must be a {self._spec_type.__name__}, not {type(spec).__name__}")
        self._enter(spec.name, spec, overwrite)

    def _enter(self, name: object, entry: Spec | EntryPoint, overwrite: bool) -> None:
        if not isinstance(name, str) or not name:
            raise TypeError(f"the name of a {self.kind} must be a non-empty string, not {name!r}")
        with self._lock:
            if name in self._entries and not overwrite:
                raise ValueError(f"there is a {self.kind} {name!r} already; choose another name or pass overwrite=True")
            self._entries[name] = entry

    def remove(self, name: str) -> None:
        """Take a spec out.

        Raises
        ------
        ValueError
            There is none of that name.
        """
        self._discover()
        with self._lock:
            if name not in self._entries:
                raise self._unknown(name)
            del self._entries[name]

    def names(self) -> list[str]:
        """All names, those of this package first."""
        self._discover()
        with self._lock:
            return list(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    def __len__(self) -> int:
        return len(self.names())

    def __iter__(self) -> Iterator[Spec]:
        """Every spec that can be loaded; one that cannot is left out with a warning."""
        for name in self.names():
            try:
                yield self[name]
            except (ImportError, TypeError) as error:
                warnings.warn(str(error), stacklevel=2)

    def __getitem__(self, name: str) -> Spec:
        """The spec of that name, imported now if it is another package's.

        Raises
        ------
        ValueError
            There is none of that name; the message lists those that there are.
        ImportError, TypeError
            The other package's entry point cannot be imported, or is no such spec.
        """
        self._discover()
        with self._lock:
            entry = self._entries.get(name)
        if entry is None:
            raise self._unknown(name)
        if not isinstance(entry, EntryPoint):
            return entry
        return self._load(entry)

    def _load(self, entry: EntryPoint) -> Spec:
        try:
            spec = entry.load()
        except Exception as error:  # whatever another package's import raises
            raise ImportError(
                f"the {self.kind} {entry.name!r} comes from {entry.value!r}, which cannot be imported "
                f"({type(error).__name__}: {error})"
            ) from error
        if not isinstance(spec, self._spec_type):
            raise TypeError(
                f"the entry point {entry.name!r} of the group {self.group!r} must be a {self._spec_type.__name__}; "
                f"{entry.value!r} is of the class {type(spec).__name__}"
            )
        with self._lock:
            self._entries[entry.name] = spec
        return spec

    def _unknown(self, name: object) -> ValueError:
        return unknown_name(self.kind, name, self.names())

    def _discover(self) -> None:
        """Enter other packages' specs, once; one whose name is taken is left out with a warning."""
        with self._lock:
            if self._discovered or self.group is None:
                return
            self._discovered = True
            for entry in entry_points(group=self.group):
                try:
                    self._enter(entry.name, entry, overwrite=False)
                except (ValueError, TypeError) as error:
                    warnings.warn(f"the entry point {entry.value!r} is left out: {error}", stacklevel=3)


def unknown_name(kind: str, name: object, known: Sequence[str]) -> ValueError:
    """The error for a name that no spec has.

    Parameters
    ----------
    kind : str
        What the name should be of, such as "metric".
    name : object
        What was typed.
    known : sequence of str
        All that there are; the message lists them, and the one that is most like ``name`` first.

    Returns
    -------
    ValueError
    """
    similar = difflib.get_close_matches(str(name), known, n=1, cutoff=0.6)
    hint = f"; did you mean {similar[0]!r}?" if similar else ";"
    return ValueError(f"unknown {kind} {name!r}{hint} there are: {', '.join(known)}")
