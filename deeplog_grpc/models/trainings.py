"""Trainings of models that need nothing of each other, side by side in threads.

Torch lets go of the interpreter while it computes, so two trainings keep two cores busy. Threads inside of one product
of such small matrices do not: they spin more than they compute.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

import torch

Result = TypeVar("Result")


class Trainings:
    """Runs trainings, so many at once.

    Each computes in one thread, so what it comes to does not depend on how many there are. With one thread nothing runs
    but what is waited for, in the thread that waits.

    Parameters
    ----------
    threads : int
        >= 1.

    Examples
    --------
    >>> with Trainings(2) as trainings:
    ...     results = [trainings.begin(lambda n=n: n * n) for n in range(3)]
    ...     [result() for result in results]
    [0, 1, 4]
    """

    def __init__(self, threads: int) -> None:
        self._before = torch.get_num_threads()
        self._pool = (
            ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) if threads > 1 else None
        )

    def begin(self, training: Callable[[], Result]) -> Callable[[], Result]:
        """Begin a training when a thread is free for it; what is given back waits for the result."""
        return training if self._pool is None else self._pool.submit(training).result

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            torch.set_num_threads(self._before)
