"""``--devices``, ``--num-nodes`` and ``--strategy``, the same for all subcommands that may run in several processes.

Knows the standard library only, and the variables by which torchrun and SLURM tell a process of the others.
"""

from __future__ import annotations

import argparse
import os

__all__ = ["add_process_options", "check_launcher"]


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


def check_launcher(devices: int, num_nodes: int) -> None:
    """Refuse numbers of processes that are not those of torchrun or srun: one would wait for others for ever.

    Several tasks of srun that ask for one process each are runs of their own, as a sweep starts them.

    Raises
    ------
    ValueError
        A number is below 1, the numbers differ, or a batch job of SLURM wants several processes without srun.
    """
    for option, number in (("--devices", devices), ("--num-nodes", num_nodes)):
        if number < 1:
            raise ValueError(f"{option} must be at least 1, got {number}")
    count, variables = devices * num_nodes, os.environ
    wanted = f"but --devices and --num-nodes ask for {devices} x {num_nodes}"
    if "TORCHELASTIC_RUN_ID" in variables:
        started = int(variables.get("WORLD_SIZE", "1"))
        if started != count:
            raise ValueError(f"torchrun has started {started} processes, {wanted}")
        return
    interactive = variables.get("SLURM_JOB_NAME") in ("bash", "interactive")  # there Lightning starts the processes
    if count == 1 or interactive or "SLURM_NTASKS" not in variables:
        return
    if "SLURM_STEP_ID" not in variables:
        raise ValueError(f"in a batch job of SLURM {count} processes are started by srun; put it before the command")
    started = int(variables["SLURM_NTASKS"])
    if started != count:
        raise ValueError(f"srun has started {started} processes, {wanted}")
