"""``--device`` and ``--threads``, the same for all subcommands."""

from __future__ import annotations

__all__ = ["choose_device", "set_threads"]


def choose_device(name: str) -> str:
    """Resolve "auto" to a GPU where there is one, and check that another device is there.

    Raises
    ------
    ValueError
        The device is unknown or absent.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda"):
            raise RuntimeError("only cpu and cuda are supported")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"no device {name!r} here ({reason}); use auto, cpu, or cuda") from error
    return name


def set_threads(count: int | None) -> None:
    """Set torch's CPU threads.

    Raises
    ------
    ValueError
        ``count`` is below 1.
    """
    if count is None:
        return
    if count < 1:
        raise ValueError(f"--threads must be at least 1, got {count}")
    import torch

    torch.set_num_threads(count)
