"""Writes a journal in children that are killed with SIGKILL, and says after each what it claimed and what is there.

A process of its own, because it forks. Arguments: the folder, the number of kills, a seed. Every second child kills
itself after so many instructions of SQLite's machine, wherever in an operation that is; the others are killed by the
clock, which mostly meets them while they wait for the disk. Prints a list with an object for each kill.
"""

import hashlib
import json
import os
import random
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deeplog_grpc.storage import Journal, NewRecord, NewVersion

APPLICATION = "shop"
KEEP = 3
SNAPSHOT_BYTES = 100_000
MAX_INSTRUCTIONS = 6000
"""Opening takes some 170 of them (500 where the file has to be made), a record and its version some 400 more."""
MAX_CLAIMS = 8
MAX_WAIT_S = 0.02


def snapshot(version: int) -> bytes:
    """The models of a version: bytes that only it has."""
    return random.Random(version).randbytes(SNAPSHOT_BYTES)


def kill_after(instructions: int) -> None:
    """Let the process die at that instruction of SQLite's machine, on whichever connection; 0 = never."""
    connect: Callable[..., sqlite3.Connection] = sqlite3.connect
    left = instructions

    def count() -> int:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return 0

    def watched(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **options)
        connection.set_progress_handler(count, 1)
        return connection

    if instructions:
        sqlite3.connect = watched  # type: ignore[assignment]


def write(path: Path, claims: int) -> None:
    """Accept and finish records without end, and claim each call that has returned."""
    journal = Journal(path, keep_versions=KEEP)
    while True:
        for record in journal.pending(APPLICATION):
            finish(journal, record.sequence, claims)
        name = f"fb-{len(journal.records(APPLICATION)) + 1}"
        new = NewRecord(application=APPLICATION, feedback_id=name, kind="feedback", digest=name, content={"name": name})
        accepted = journal.accept(new)
        claim(claims, "accepted", accepted.record.sequence)


def finish(journal: Journal, sequence: int, claims: int) -> None:
    """Finish a record; every third makes no version."""
    current = journal.current(APPLICATION)
    last = 0 if current is None else current.version
    version = None
    if sequence % 3:
        version = NewVersion(
            application=APPLICATION,
            version=last + 1,
            parent=last,
            cause="feedback",
            base="b",
            details={"sequence": sequence},
            snapshot=snapshot(last + 1),
        )
    journal.finish(sequence, {"sequence": sequence}, version)
    claim(claims, "finished", sequence)


def claim(claims: int, what: str, sequence: int) -> None:
    os.write(claims, f"{what} {sequence}\n".encode())


def kill_one(write: Callable[[Path, int], None], path: Path, generator: random.Random, by_clock: bool) -> list[str]:
    """Let a child write until it is dead; what it claimed."""
    instructions = 0 if by_clock else int(MAX_INSTRUCTIONS ** generator.random())
    read, written = os.pipe()
    child = os.fork()
    if not child:
        try:
            kill_after(instructions)
            write(path, written)
        finally:
            os._exit(1)
    os.close(written)
    with os.fdopen(read) as pipe:
        claimed: list[str] = []
        if by_clock:
            claimed += [pipe.readline() for _ in range(generator.randint(0, MAX_CLAIMS))]
            time.sleep(generator.uniform(0, MAX_WAIT_S))
            os.kill(child, signal.SIGKILL)
        claimed += pipe.readlines()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    return [line.strip() for line in claimed]


def found(path: Path) -> dict[str, Any]:
    """What a journal holds that is opened after a kill."""
    journal = Journal(path, keep_versions=KEEP)
    state = {
        "records": [[one.sequence, one.outcome, one.version] for one in journal.records(APPLICATION)],
        "versions": [[one.version, one.parent, one.sequence, one.is_kept] for one in journal.versions(APPLICATION)],
        "snapshots": {
            one.version: hashlib.sha256(journal.snapshot(APPLICATION, one.version)).hexdigest()
            for one in journal.versions(APPLICATION)
            if one.is_kept
        },
        "sound": journal._database._writer.execute("PRAGMA integrity_check").fetchone()[0],
    }
    journal.close()
    return state


if __name__ == "__main__":
    place = Path(sys.argv[1]) / "journal.db"
    chance = random.Random(int(sys.argv[3]))
    kills = []
    for number in range(int(sys.argv[2])):
        claimed = kill_one(write, place, chance, by_clock=number % 2 == 1)
        kills.append({"claimed": claimed, "found": found(place)})
    print(json.dumps(kills))
