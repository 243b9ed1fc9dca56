"""A lock that one process has on its files."""

import fcntl
import os
from pathlib import Path

from deeplog_grpc.errors import StateError


def hold(lock: Path, *, field: Path, unopened: str, in_use: str) -> int:
    """Take a lock for this process alone; given back when the descriptor is closed, by a kill too.

    Parameters
    ----------
    lock : Path
        A file of its own: to open and close a database beside SQLite would take its locks away. Made if it is not
        there, with its folder.
    field : Path
        What is locked, for messages.
    unopened, in_use : str
        What is said if the file cannot be opened, before the reason, and if another process has the lock.

    Returns
    -------
    int
        The descriptor that holds it.

    Raises
    ------
    StateError
        If another process has it, or it cannot be made.
    """
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateError(f"{unopened}: {error.strerror}", field=str(field)) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise StateError(in_use, field=str(field)) from error
    return descriptor
