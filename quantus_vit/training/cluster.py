"""What a training asks of Lightning where torchrun or SLURM has started its processes: signals and deaths in words.

Knows Lightning and torch's words for a lost connection; neither data sets nor the command line.
"""

from __future__ import annotations

import signal
import threading
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.environments import SLURMEnvironment, TorchElasticEnvironment

__all__ = ["SigtermAsInterrupt", "cluster_plugins", "is_loss_of_a_process"]


def cluster_plugins() -> list[Any]:
    """Under SLURM its environment without Lightning's own requeueing; elsewhere nothing.

    Lightning would answer SIGUSR1 by a checkpoint in the middle of an epoch and put the job back into the queue. A
    training goes on after complete epochs only, and a job is put back by SLURM.

    Raises
    ------
    RuntimeError
        SLURM's settings are of a kind that Lightning does not serve.
    """
    if TorchElasticEnvironment.detect() or not SLURMEnvironment.detect():
        return []
    return [SLURMEnvironment(auto_requeue=False)]


class SigtermAsInterrupt(Callback):  # type: ignore[misc]
    """Let SIGTERM end a training as Ctrl-C does.

    Lightning's own handler sends word to the other processes in the middle of whatever they are exchanging, and waits
    for the end of the step. Lightning gives the handler of before back when the training is over.

    Attributes
    ----------
    received
        Whether it came. The processes that load images may have been ended by it as well, and their end be told first.
    """

    def __init__(self) -> None:
        self.received = False

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Replace Lightning's handler, which is in place by now."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._interrupt)

    def _interrupt(self, *_: Any) -> None:
        self.received = True
        raise KeyboardInterrupt


def is_loss_of_a_process(error: RuntimeError) -> bool:
    """Whether an error is torch's way to say that another process has gone."""
    words = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer")
    return any(word in str(error) for word in words)
