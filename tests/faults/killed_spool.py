"""Fills and empties a spool in children that are killed with SIGKILL; see :mod:`tests.faults.killed_journal`.

Arguments: the folder, the number of kills, a seed. Prints a list with an object for each kill.
"""

import json
import random
import sys
from pathlib import Path
from typing import Any

from deeplog_grpc.storage import Spool
from tests.faults.killed_journal import claim, kill_one

PAYLOAD_BYTES = 9_000


def payload(number: int) -> bytes:
    """The payload of a number: it begins with it."""
    return b"%d " % number + random.Random(number).randbytes(PAYLOAD_BYTES)


def opened(path: Path) -> Spool:
    return Spool(path, max_bytes=10 * PAYLOAD_BYTES, sync="normal")


def write(path: Path, claims: int) -> None:
    """Append twos and threes from the position on, acknowledge what is before, and claim what has returned."""
    spool = opened(path)
    while True:
        while spool.backlog_count > 5:  # first: kills in a row may each have left some more
            spool.acknowledge(first := spool.last_sequence - 2, {"acknowledged": b"%d" % first})
        number = int(spool.positions().get("number", b"0"))
        count = 2 + number % 2
        spool.append([payload(number + place) for place in range(count)], {"number": b"%d" % (number + count)})
        claim(claims, "appended", number + count)
        first = spool.read(0, max_count=2, max_bytes=10**6)[-1][0]
        spool.acknowledge(first, {"acknowledged": b"%d" % first})
        claim(claims, "acknowledged", first)


def found(path: Path) -> dict[str, Any]:
    """What a spool holds that is opened after a kill."""
    spool = opened(path)
    rows = spool.read(0, max_count=1000, max_bytes=10**9)
    state = {
        "rows": [(sequence, int(content.split(b" ", 1)[0])) for sequence, content in rows],
        "whole": all(content == payload(int(content.split(b" ", 1)[0])) for _, content in rows),
        "positions": {name: int(position) for name, position in spool.positions().items()},
        "totals": [spool.backlog_count, spool.backlog_bytes == sum(len(content) for _, content in rows)],
        "last": spool.last_sequence,
        "name": spool.name,
        "sound": spool._database._writer.execute("PRAGMA integrity_check").fetchone()[0],
    }
    spool.close()
    return state


if __name__ == "__main__":
    place = Path(sys.argv[1]) / "s.spool"
    chance = random.Random(int(sys.argv[3]))
    kills = []
    for number in range(int(sys.argv[2])):
        claimed = kill_one(write, place, chance, by_clock=number % 2 == 1)
        kills.append({"claimed": claimed, "found": found(place)})
    print(json.dumps(kills))
