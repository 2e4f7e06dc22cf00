"""Files that are whole or not there, and folders that one process has to itself. Knows the standard library only."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

__all__ = ["locked", "write_whole"]


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file under another name first, each process under its own; a crash leaves the file of before.

    Parameters
    ----------
    path : pathlib.Path
    write : callable
        Writes into a binary file.

    Raises
    ------
    OSError
        It cannot be written; the error names ``path``.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with open(partial, "wb") as file:
            write(file)
        partial.replace(path)
    except OSError as error:
        if error.filename == str(partial):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        partial.unlink(missing_ok=True)


_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What file systems of clusters answer where locks are switched off, such as Lustre without its option ``flock``."""

if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[str]) -> None:
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(file: IO[str]) -> None:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder where it is missing, and keep other runs out of it.

    The operating system holds the lock and gives it back when the process ends, however that comes about.

    Raises
    ------
    ValueError
        Another run is in the folder, or it is a file.
    OSError
        It cannot be made or written into, or lies on a file system without locks.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"the result folder {str(folder)!r} is a file; name a folder")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ".lock"
    with path.open("a+", encoding="ascii") as file:
        try:
            _lock(file)
        except OSError as error:
            if error.errno in _WITHOUT_LOCKS:
                reason = f"the file system gives no locks ({error.strerror}); take a folder on another"
                raise OSError(error.errno, reason, str(folder)) from error
            file.seek(0)
            raise ValueError(
                f"another run (process {file.read().strip() or 'unknown'}) is writing into {str(folder)!r}; wait for "
                "it, or take another folder"
            ) from error
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield
