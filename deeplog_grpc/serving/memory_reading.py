"""What the server holds of memory, and how much it may: that of its control group, or of its own process.

A container's limit is that of its control group. What counts against it is all that its processes hold and the page
cache; of that the part that can be dropped at once is taken off, as Kubernetes does.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

_NO_LIMIT = 1 << 60
"""Version 1 has no word for "none": it gives a number near 2^63."""
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Memory(Protocol):
    """A limit, and what is held of it."""

    @property
    def limit_bytes(self) -> int:
        """What may be held."""
        ...

    def held_bytes(self) -> int:
        """What is held now."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlGroup:
    """A control group with a limit."""

    limit_bytes: int
    usage: Path
    """File with the bytes in use."""
    statistics: Path
    inactive: str
    """Name in ``statistics`` of the bytes of page cache that can be dropped at once."""

    def held_bytes(self) -> int:
        """What is held now, but for what can be dropped at once."""
        for line in self.statistics.read_text().splitlines():
            name, _, number = line.partition(" ")
            if name == self.inactive:
                return max(0, int(self.usage.read_text()) - int(number))
        return int(self.usage.read_text())


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnProcess:
    """The running process alone."""

    limit_bytes: int
    statistics: Path = Path("/proc/self/statm")

    def held_bytes(self) -> int:
        """Resident memory."""
        return int(self.statistics.read_text().split()[1]) * _PAGE


def control_group(*, proc: Path = Path("/proc"), root: Path = Path("/sys/fs/cgroup")) -> ControlGroup | None:
    """The control group above this process whose limit is the lowest; None if there is no limit, or no such system.

    Parameters
    ----------
    proc, root : Path
        Where the system shows processes and control groups.
    """
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return None
    found: list[ControlGroup] = []
    for _, controllers, path in (line.split(":", 2) for line in lines):
        if controllers == "":
            names, top = ("memory.max", "memory.current", "inactive_file"), root
        elif "memory" in controllers.split(","):
            names, top = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"), root / "memory"
        else:
            continue
        # In a container, the path may be that of the machine outside; what is visible then is the top.
        for folder in {top, *(top.joinpath(*Path(path).parts[1:end]) for end in range(2, len(Path(path).parts) + 1))}:
            found += _limited(folder, *names)
    return min(found, key=lambda group: group.limit_bytes, default=None)


def _limited(folder: Path, limit: str, usage: str, inactive: str) -> list[ControlGroup]:
    try:
        text = (folder / limit).read_text().strip()
    except OSError:
        return []
    if text == "max" or int(text) >= _NO_LIMIT:
        return []
    return [
        ControlGroup(limit_bytes=int(text), usage=folder / usage, statistics=folder / "memory.stat", inactive=inactive)
    ]


def memory_of(limit_mb: int | None) -> Memory | None:
    """What to watch: this limit if it is given, else the control group's; None = there is none."""
    return control_group() if limit_mb is None else OwnProcess(limit_bytes=limit_mb << 20)
