"""The conservation report: where relevance stays, and where it is absorbed on its way down."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from os import PathLike

import torch
from torch import Tensor

from .interfaces import RuledOperation
from .numerics import Messages

__all__ = ["ConservationReport", "Entry"]


@dataclass(frozen=True)
class Entry:
    """One operation: relevance that entered it from above and left it downwards, (N,) float64 each."""

    kind: str
    module_name: str
    entering: Tensor
    leaving: Tensor

    @property
    def block(self) -> str:
        """The numbered block the operation belongs to (``"blocks.3"``), else the first part of its module's name."""
        match = re.match(r"(.*?\b\d+)(\.|$)", self.module_name)
        return match.group(1) if match else self.module_name.split(".")[0]


class ConservationReport:
    """Relevance entering and leaving every operation of one relevance pass.

    ``entering - leaving`` is what biases, constants and stabilisers absorbed. Inputs that the traced graph does not
    reach (parameters, and everything below the pass's start) count as absorbing.

    Parameters
    ----------
    size : int
        Number of images.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.entries: list[Entry] = []

    def record(self, operation: RuledOperation, message: Tensor, messages: Messages) -> None:
        """Note one operation's messages (called by the engine during the pass).

        Parameters
        ----------
        operation : RuledOperation
        message : Tensor
            Shape of the operation's output.
        messages : tuple of Tensor or None
            One for each of its inputs, of its shape.
        """
        relevance = operation.carries_relevance
        entering = self._per_sample(message if relevance else message * operation.output)
        leaving = torch.zeros_like(entering)
        if not relevance and not operation.keeps_inputs:
            raise ValueError("a report of multipliers needs TraceOptions(locate=True), which keeps every input")
        for i, part in enumerate(messages):
            if part is not None:
                leaving += self._per_sample(part if relevance else part * operation.inputs[i])
        self.entries.append(Entry(operation.kind, operation.module_name, entering, leaving))

    def _per_sample(self, relevance: Tensor) -> Tensor:
        if relevance.shape[0] % self.size:
            return relevance.double().sum().expand(self.size) / self.size
        return relevance.detach().double().reshape(self.size, -1).sum(1).cpu()

    def by_kind(self) -> dict[str, tuple[float, float]]:
        """Kind of operation -> (entering, leaving), each the mean over samples of the sum over its operations.

        Returns
        -------
        dict of str to (float, float)
        """
        return self._grouped(entry.kind for entry in self.entries)

    def by_block(self) -> dict[str, tuple[float, float]]:
        """Block of the model -> (entering, leaving), in the order in which relevance met them.

        Returns
        -------
        dict of str to (float, float)
        """
        return self._grouped(entry.block for entry in self.entries)

    def _grouped(self, keys: Iterable[str]) -> dict[str, tuple[float, float]]:
        groups: dict[str, tuple[float, float]] = {}
        for key, entry in zip(keys, self.entries, strict=True):
            entering, leaving = groups.get(key, (0.0, 0.0))
            groups[key] = (entering + float(entry.entering.mean()), leaving + float(entry.leaving.mean()))
        return groups

    def absorbed(self) -> dict[str, float]:
        """Kind of operation -> mean relevance that entered and did not leave.

        Returns
        -------
        dict of str to float
        """
        return {kind: entering - leaving for kind, (entering, leaving) in self.by_kind().items()}

    def plot(self, file: str | PathLike[str]) -> None:
        """Draw relevance entering and leaving, by block from the logits down and by kind, into an image file.

        Parameters
        ----------
        file : path
            Name of the picture, such as ``conservation.png``. Needs matplotlib.

        Raises
        ------
        ValueError
            The report is empty: no relevance pass was given it.
        """
        if not self.entries:
            raise ValueError("the report is empty; give it to Trace.relevance(seed, report=report) first")
        from matplotlib.figure import Figure

        figure = Figure(figsize=(11, 0.28 * len(self.by_block()) + 2.6), layout="constrained")
        figure.suptitle("Relevance entering and leaving (mean over images, summed over operations)")
        for axes, (title, groups) in zip(
            figure.subplots(1, 2),
            (("by block, logits at the top", self.by_block()), ("by kind", self.by_kind())),
            strict=True,
        ):
            places = range(len(groups))
            entering, leaving = ([pair[i] for pair in groups.values()] for i in (0, 1))
            axes.barh([place - 0.2 for place in places], entering, 0.38, label="entering", color="#0072b2")
            axes.barh([place + 0.2 for place in places], leaving, 0.38, label="leaving", color="#e69f00")
            axes.set_yticks(list(places), [name or "(model)" for name in groups])
            axes.invert_yaxis()
            axes.axvline(0, color="0.4", linewidth=0.8)
            axes.set_title(title)
            axes.set_xlabel("relevance")
        figure.axes[1].legend()
        figure.savefig(file, dpi=130)
