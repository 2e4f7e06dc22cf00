"""What ``--out`` names: a folder for results."""

from __future__ import annotations

from pathlib import Path

__all__ = ["result_folder"]


def result_folder(out: str) -> Path:
    """The folder that ``--out`` names, there or not.

    Raises
    ------
    ValueError
        It is empty, or a file, or below one.
    """
    if not out.strip():
        raise ValueError("--out is empty; name a folder for the results")
    folder = Path(out)
    for place in (folder, *folder.parents):
        if place.exists():
            if not place.is_dir():
                raise ValueError(f"--out {out}: {str(place)!r} is a file; name a folder for the results")
            break
    return folder
