"""What a comparison ran on: versions, machine and command. Knows the installation only."""

from __future__ import annotations

import platform
from typing import Any

import torch

__all__ = ["describe_environment"]


def describe_environment(device: str, command: str) -> dict[str, Any]:
    """Versions, machine and command, for the config and the report."""
    from importlib.metadata import PackageNotFoundError, version

    def installed(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            return "not installed"

    packages = ("quantus-vit", "quantus", "torch", "timm", "captum", "lime", "numpy", "scipy")
    return {
        "command": command,
        "device": torch.cuda.get_device_name()
        if device.startswith("cuda")
        else f"cpu, {torch.get_num_threads()} threads",
        "python": platform.python_version(),
        **{package: installed(package) for package in packages},
    }
