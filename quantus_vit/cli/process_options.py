"""``--devices``, ``--num-nodes`` and ``--strategy``, the same for all subcommands that may run in several processes.

Knows the standard library only.
"""

from __future__ import annotations

import argparse

__all__ = ["add_process_options"]


def add_process_options(group: argparse._ArgumentGroup, strategies: str) -> None:
    """Declare the options.

    Parameters
    ----------
    group : argparse group
    strategies : str
        Which strategies there are, for the help.
    """
    group.add_argument(
        "--devices", type=int, default=1, metavar="N", help="processes a node, each on a device of its own; more than "
        "one need Lightning (the extra 'train'). On CPUs give --threads, too",
    )  # fmt: skip
    group.add_argument(
        "--num-nodes", type=int, default=1, metavar="M", help="nodes, as torchrun or SLURM have started them"
    )
    group.add_argument("--strategy", default="auto", metavar="NAME", help=f"how processes work together: {strategies}")
