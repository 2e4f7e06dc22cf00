"""Files that the package ships: a small ViT trained on phantoms, and what phantoms say of the metrics.

Neither needs data or a network. Says where they lie and nothing else;
:func:`quantus_vit.models.checkpoint.load_checkpoint` reads the model.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["phantom_checkpoint_path", "shipped_verdict_path"]


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


def shipped_verdict_path() -> Path:
    """Where the counts of the meta-evaluation lie, see :mod:`quantus_vit.comparison.meta_shipped`.

    Raises
    ------
    FileNotFoundError
        If the installation lost the file.
    """
    path = Path(__file__).with_name("meta_evaluation.json")
    if not path.is_file():
        raise FileNotFoundError(f"this installation lacks {str(path)!r}; install quantus-vit again")
    return path
