"""Where a training runs: how many processes, on how many nodes, and how they work together.

Plain values: knows neither torch nor Lightning.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Placement"]

_STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_true")


@dataclass(frozen=True)
class Placement:
    """Processes of a training.

    Parameters
    ----------
    devices : int
        Processes a node, each with a device of its own.
    num_nodes : int
        Nodes, as torchrun or SLURM have started them.
    strategy : str
        Lightning's name: "ddp", which "auto" means for several processes too, or "ddp_find_unused_parameters_true" for
        models with weights that no output depends on. Strategies that cut the model into pieces are not served: a ViT
        fits one device, and its checkpoints would be in pieces as well.
    """

    devices: int = 1
    num_nodes: int = 1
    strategy: str = "auto"

    def __post_init__(self) -> None:
        """Refuse values that make no sense, naming them."""
        for name in ("devices", "num_nodes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)!r}")
        if self.strategy not in _STRATEGIES:
            raise ValueError(f"strategy must be one of {', '.join(_STRATEGIES)}, got {self.strategy!r}")

    @property
    def count(self) -> int:
        """All processes together."""
        return self.devices * self.num_nodes

    def batch_of_each(self, batch_size: int) -> int:
        """Images of a step that each process takes.

        Raises
        ------
        ValueError
            They cannot be dealt out evenly.
        """
        if batch_size % self.count:
            raise ValueError(f"a batch of {batch_size} images cannot be dealt out evenly to {self.count} processes")
        return batch_size // self.count
