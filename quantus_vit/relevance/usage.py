"""Which of a composite's rules the traced model had use for; what did nothing is told after the forward."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from typing import Any

from .composites import Composite
from .rules import Rule

__all__ = ["check_usage"]


def check_usage(composite: Composite, met: Collection[tuple[str, str]], modules: Collection[str]) -> None:
    """Tell of exceptions and chosen rules that no operation of the traced model followed.

    Parameters
    ----------
    composite : Composite
    met : collection of (kind, module name)
        The operations that asked for a rule; module names are right where the composite has exceptions.
    modules : collection of str
        Names of all modules of the model.

    Raises
    ------
    ValueError
        A pattern matches modules whose operations are all of other kinds than it gives rules for.

    Warns
    -----
    UserWarning
        A pattern matches no module, or none that was traced; or a kind met no operation.
    """
    kinds = {kind for kind, _ in met}
    for kind in sorted(composite.chosen - kinds):
        _warn(f"the composite's rule for {kind!r} did nothing: the traced part of the model has no such operation")
    for pattern, rules in composite.exceptions:
        _check_exception(pattern, rules, [pair for pair in met if fnmatchcase(pair[1], pattern)], modules)


def _check_exception(
    pattern: str, rules: Mapping[str, Rule[Any]], met: list[tuple[str, str]], modules: Collection[str]
) -> None:
    there = dict(sorted(met, reverse=True))
    unused = sorted(rules.keys() - there.keys())
    if not unused:
        return
    if not there:
        matching = next((name for name in modules if fnmatchcase(name, pattern)), None)
        reason = (
            "no module of the model has such a name"
            if matching is None
            else f"nothing was traced in '{matching}' or other modules of such names"
        )
        _warn(f"the composite's exception for {pattern!r} did nothing: {reason}")
        return
    wanted = ", ".join(map(repr, unused))
    found = ", ".join(f"{kind!r} in '{name}'" for kind, name in sorted(there.items()))
    message = f"the composite's exception for {pattern!r} has a rule for {wanted}, but the modules of such names ran"
    if len(unused) == len(rules):
        raise ValueError(f"{message} only {found}; give the rule for one of these kinds")
    _warn(f"{message} only {found}: that rule did nothing")


def _warn(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=2)
