"""Options on figures for print, the same for all subcommands that write them. Imports matplotlib only to check them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

__all__ = ["add_figure_options", "check_figures"]


def add_figure_options(group: argparse._ActionsContainer, names: str) -> None:
    """Declare ``--figures`` and ``--figure-methods``; ``names`` tells which figures there are."""
    group.add_argument(
        "--figures", nargs="+", metavar="NAME",
        help=f"figures for print, in PNG and PDF for one and two columns of a journal, in DIR/figures: {names}; or all",
    )  # fmt: skip
    group.add_argument(
        "--figure-methods", nargs="+", metavar="NAME",
        help="methods in the figures for print, as the run names them (default: all that are no controls)",
    )  # fmt: skip


def check_figures(args: argparse.Namespace, methods: Sequence[str] = ()) -> None:
    """Tell before the work what would be refused after it.

    Parameters
    ----------
    args : argparse.Namespace
    methods : sequence of str
        The compared methods, where they are known; none are not checked.

    Raises
    ------
    ValueError
        A figure is unknown, or a method is not compared.
    """
    if not args.figures:
        if args.figure_methods:
            raise ValueError("--figure-methods needs --figures NAME ..., the figures that show them")
        return
    from ..comparison.printing import FIGURES

    for name in args.figures:
        if name != "all":
            FIGURES[name]
    missing = [name for name in args.figure_methods or () if methods and name not in methods]
    if missing:
        raise ValueError(f"--figure-methods: {missing[0]!r} is none of the compared methods, {', '.join(methods)}")
