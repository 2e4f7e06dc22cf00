"""Which failures are the machine's and which an image's, a method's or a metric's. Knows exceptions only."""

from __future__ import annotations

import errno

from ..batch_size import is_out_of_memory

__all__ = ["is_of_the_machine", "stops_the_run"]

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def is_of_the_machine(error: BaseException) -> bool:
    """Whether it may work another time: memory, disk, network, a file that is not there now.

    A file that is there and cannot be decoded is the image's own failure: Pillow's ``OSError`` has no number then.
    """
    if is_out_of_memory(error) or isinstance(error, FileNotFoundError):
        return True
    if isinstance(error, OSError):
        return error.errno is not None
    return isinstance(error, RuntimeError) and "CUDA error" in str(error)


def stops_the_run(error: BaseException) -> bool:
    """Whether nothing can go on: no room on the disk, or what is missing belongs to the installation or the model."""
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return True
    return isinstance(error, (ImportError, TypeError))
