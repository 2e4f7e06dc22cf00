"""Files that the package ships: a small ViT trained on phantoms, for examples and tests without data or network.

Says where they lie and nothing else; :func:`quantus_vit.models.checkpoint.load_checkpoint` reads them.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["phantom_checkpoint_path"]


def phantom_checkpoint_path() -> Path:
    """Where the shipped ViT lies.

    Returns
    -------
    pathlib.Path
        A ``.safetensors`` file for :func:`quantus_vit.models.checkpoint.load_checkpoint`, trained on
        :class:`quantus_vit.data.Phantom` at 224 pixels.

    Raises
    ------
    FileNotFoundError
        If the installation lost the file.
    """
    path = Path(__file__).with_name("phantom_vit.safetensors")
    if not path.is_file():
        raise FileNotFoundError(f"this installation lacks the shipped model {str(path)!r}; give --checkpoint FILE")
    return path
