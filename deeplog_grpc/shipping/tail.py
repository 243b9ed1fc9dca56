"""Follows log files named by globs, through rotation, truncation and restarts.

A file is its device and inode together with its first bytes and those before the place up to which it was read, not its
name: a file that is renamed is read on from there, and one that was written anew is read from its beginning. The
files of a series (``app.log``, ``app.log.1``, ...) are read one after the other, the one that was written to last at
the end, so that entries keep their order over a rotation. A file that is no longer found is read to its end and kept
open for a grace, since its writer may not have noticed.

Copy-truncate loses what the writer wrote between the copy and the truncation: nobody but the copy has it. What was
known to be there and was not read is counted.
"""

import glob
import os
import re
import stat as stats
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatch

from deeplog_grpc.shipping.config import ShipConfig
from deeplog_grpc.shipping.counts import Counts
from deeplog_grpc.shipping.followed import Followed, NewReader, Portion
from deeplog_grpc.shipping.positions import Position, unpack

COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".lz4", ".zip")
"""Ends of names that are passed over: what is in them was read before."""
ROUND_CHUNKS = 8
"""Chunks of a series that are read before the next one has its turn."""
_ROTATED = re.compile(
    r"(?P<base>.+?)(?:\.\d{1,3}|\.\d{10}|[.-]\d{8}(?:[T_-]?\d{2,6})?|[.-]\d{4}-\d\d-\d\d(?:[T_-]\d\d){0,3})+"
)

Identity = tuple[int, int]
"""Device and inode."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A file that a glob names."""

    path: str
    identity: Identity
    size: int
    mtime_ns: int


def series_of(path: str) -> str:
    """The name of a log whose rotated files have numbers or dates behind it.

    Examples
    --------
    >>> series_of("/var/log/app.log.1"), series_of("/var/log/app.log-20240501"), series_of("/var/log/app.log")
    ('/var/log/app.log', '/var/log/app.log', '/var/log/app.log')
    """
    name = os.path.basename(path)
    found = _ROTATED.fullmatch(name)
    return path if found is None else path[: len(path) - len(name)] + found["base"]


def reading_order(path: str, mtime_ns: int) -> tuple[int, int]:
    """The key by which files of a series are sorted: the one written to last comes last, and app.log.2 before .1."""
    number = path[len(series_of(path)) :].strip(".-")
    return mtime_ns, -int(number) if number.isdigit() else 0


def find_files(patterns: Sequence[str], exclude: Sequence[str]) -> list[Seen]:
    """The files that globs name; of several names of a file, the first in order."""
    found: dict[Identity, Seen] = {}
    for pattern in patterns:
        paths = sorted(glob.iglob(pattern, recursive=True)) if glob.has_magic(pattern) else [pattern]
        for path in paths:
            if path.endswith(COMPRESSED) or any(fnmatch(path, excluded) for excluded in exclude):
                continue
            try:
                status = os.stat(path)
            except OSError:
                continue
            if stats.S_ISREG(status.st_mode):
                identity = (status.st_dev, status.st_ino)
                found.setdefault(identity, Seen(path, identity, status.st_size, status.st_mtime_ns))
    return list(found.values())


def find_moved(position: Position) -> str | None:
    """The path of a file that was renamed within its folder, or that of what its link names; None = it is not there."""
    for folder in {os.path.dirname(path) or "." for path in (position.path, os.path.realpath(position.path))}:
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.inode() == position.inode and entry.stat(follow_symlinks=False).st_dev == position.device:
                    return entry.path
    return None


class Tail:
    """Follows files.

    Parameters
    ----------
    config : ShipConfig
    new_reader : callable
        Makes the reader of a file's lines.
    positions : mapping of str to bytes
        What was kept of an earlier run: the last position of each portion, by its name.
    counts : Counts
    is_once : bool
        Whether it ends at the end of all files.
    clock : callable
        Monotonic seconds.

    Examples
    --------
    >>> tail = Tail(ShipConfig(files=("*.log",)), new_reader, {}, Counts())  # doctest: +SKIP
    >>> for portion in tail.portions():  # doctest: +SKIP
    ...     spool.append([b"".join(portion.entries)], {portion.name: portion.position})
    """

    def __init__(
        self,
        config: ShipConfig,
        new_reader: NewReader,
        positions: Mapping[str, bytes],
        counts: Counts,
        *,
        is_once: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._patterns = [pattern for pattern in config.files if pattern != "-"]
        self._new_reader = new_reader
        self._counts = counts
        self._is_once = is_once
        self._clock = clock
        self._files: dict[Identity, Followed] = {}
        self._earlier = {(p.device, p.inode): p for p in map(unpack, positions.values())}
        self._known_series = {series_of(position.path) for position in self._earlier.values()}
        self._gone: list[str] = []
        self._is_first = True
        self.is_finished = False
        """Whether nothing more will come."""

    def portions(self) -> Iterator[Portion]:
        """One look at all files: what is new, a bounded number of portions of each series."""
        now = self._clock()
        yield from self._follow(now)
        is_behind = False
        for series in self._series():
            left = ROUND_CHUNKS
            for file in series:
                while left and (portion := self._read(file, now)) is not None:
                    left -= 1
                    yield portion
                if not left:
                    is_behind = True
                    break
        self._let_go(now)
        self._counts.files = len(self._files)
        self.is_finished = self._is_once and not is_behind and not any(file.has_rest for file in self._files.values())

    def take_gone(self) -> list[str]:
        """Names of positions that are no longer needed once all portions given so far are kept."""
        gone, self._gone = self._gone, []
        return gone

    def close(self) -> None:
        """Hold no file any longer."""
        for file in self._files.values():
            file.close()

    def _follow(self, now: float) -> Iterator[Portion]:
        """Compare what is followed with what there is."""
        seen = find_files(self._patterns, self._config.exclude)
        for one in seen:
            file = self._files.get(one.identity)
            if file is None or file.is_over:
                if file is not None:
                    file.close()
                yield from self._begin(one)
                continue
            file.rotated_at = None
            file.seen(one.path, one.size, one.mtime_ns)
        if self._is_first:
            self._find_moved()
        self._is_first = False
        found = {one.identity for one in seen}
        for identity, file in self._files.items():
            if identity not in found and file.rotated_at is None:
                file.rotated_at = now
                if not file.is_open and (path := find_moved(file.position)) is not None:
                    file.seen(path)

    def _begin(self, seen: Seen) -> Iterator[Portion]:
        earlier = self._earlier.pop(seen.identity, None)
        device, inode = seen.identity
        file = self._followed(earlier or Position(path=seen.path, device=device, inode=inode))
        file.seen(seen.path, seen.size, seen.mtime_ns)
        self._files[seen.identity] = file
        is_new = earlier is None and self._is_first and series_of(seen.path) not in self._known_series
        if is_new and self._config.start == "end" and file.open():
            file.skip_to_end()
        if earlier is None:  # it is known from now on, even if it is rotated before anything of it is read
            yield Portion(entries=[], name=file.position.name, position=file.position.pack())

    def _find_moved(self) -> None:
        """Files that were rotated while nobody looked are in their folder under another name."""
        for identity, position in self._earlier.items():
            path = find_moved(position)
            if path is None:
                self._gone.append(position.name)
                continue
            file = self._followed(position)
            file.seen(path)
            file.rotated_at = self._clock()
            self._files[identity] = file
        self._earlier.clear()

    def _followed(self, position: Position) -> Followed:
        config = self._config
        return Followed(
            position,
            self._new_reader,
            max_line_bytes=config.max_line_bytes,
            partial_line_s=config.partial_line_s,
            counts=self._counts,
        )

    def _series(self) -> Iterable[list[Followed]]:
        series: dict[str, list[Followed]] = {}
        for file in self._files.values():
            series.setdefault(series_of(file.position.path), []).append(file)
        for files in series.values():
            files.sort(key=lambda file: reading_order(file.position.path, file.mtime_ns))
        return series.values()

    def _read(self, file: Followed, now: float) -> Portion | None:
        if file.is_over or file.is_unchanged or not self._hold(file):
            return None
        return file.read(now, is_final=self._is_once)

    def _hold(self, file: Followed) -> bool:
        """Open a file; if too many are, the one that has been quiet for longest is closed."""
        if file.is_open:
            return True
        is_open = [other for other in self._files.values() if other.is_open]
        if len(is_open) >= self._config.max_open_files:
            min(is_open, key=lambda other: other.grew_at).close()
        return file.open()

    def _let_go(self, now: float) -> None:
        """Follow those no longer that were rotated and have been quiet since."""
        for identity, file in list(self._files.items()):
            if file.rotated_at is None:
                continue
            quiet_s = now - max(file.rotated_at, file.grew_at)
            if file.is_over or not file.is_open or (quiet_s >= self._config.rotated_grace_s and not file.has_rest):
                file.close()
                del self._files[identity]
                self._gone.append(file.position.name)
