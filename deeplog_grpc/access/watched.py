"""Files that are replaced under a running server, as Kubernetes and certificate managers do."""

import os
from collections.abc import Sequence
from pathlib import Path

Signature = tuple[tuple[int, int, int, int] | None, ...]


def signature(paths: Sequence[Path]) -> Signature:
    """What changes when one of the files does, or what a link leads to; a few microseconds."""
    return tuple(map(_of_file, paths))


def _of_file(path: Path) -> tuple[int, int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
