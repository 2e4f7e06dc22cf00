"""Images decoded ahead of their turn, by a thread beside the model's. Knows data sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from ..data import Sample

__all__ = ["ReadAhead"]


class ReadAhead:
    """Reads images in the order in which they will be asked for; a context.

    Parameters
    ----------
    read : callable
        From an index to the image; called in another thread.
    groups : sequence of sequence of int
        Indices of the images that are wanted together, in the order of the groups. While one group is worked on the
        next is read: no more than two are in memory.
    """

    def __init__(self, read: Callable[[int], Sample], groups: Sequence[Sequence[int]]) -> None:
        self._read = read
        self._groups = [list(dict.fromkeys(group)) for group in groups]
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="quantus-vit-read")
        self._reading: dict[int, dict[int, Future[Sample]]] = {}

    def __enter__(self) -> ReadAhead:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def group(self, number: int) -> dict[int, Callable[[], Sample]]:
        """Functions that give the images of a group, or raise what reading raised; the next group is begun.

        Parameters
        ----------
        number : int
            Groups are asked for in order; earlier ones are forgotten.
        """
        for known in [known for known in self._reading if known < number]:
            del self._reading[known]
        for wanted in (number, number + 1):
            if wanted < len(self._groups) and wanted not in self._reading:
                indices = self._groups[wanted]
                self._reading[wanted] = {index: self._pool.submit(self._read, index) for index in indices}
        return {index: future.result for index, future in self._reading[number].items()}
