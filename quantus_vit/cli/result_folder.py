"""What ``--out`` names: a folder for results."""

from __future__ import annotations

import tempfile
from pathlib import Path

__all__ = ["check_writable", "result_folder"]


def result_folder(out: str) -> Path:
    """The folder that ``--out`` names, there or not.

    Raises
    ------
    ValueError
        It is empty, or a file, or below one.
    OSError
        Nothing can be written there: hours of work are not to end so.
    """
    if not out.strip():
        raise ValueError("--out is empty; name a folder for the results")
    folder = Path(out)
    for place in (folder, *folder.parents):
        if place.exists():
            if not place.is_dir():
                raise ValueError(f"--out {out}: {str(place)!r} is a file; name a folder for the results")
            check_writable(out, place)
            break
    return folder


def check_writable(out: str, place: Path) -> None:
    """Try to write into a folder; a file without a name is all that it ever holds of it.

    Parameters
    ----------
    out : str
        As ``--out`` names it.
    place : pathlib.Path
        A folder that is there.

    Raises
    ------
    OSError
        It is read-only, full, or another's.
    """
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"0")
    except OSError as error:
        told = f"--out {out}: nothing can be written into {str(place)!r} ({error.strerror}); name another place"
        raise OSError(error.errno, told) from error
