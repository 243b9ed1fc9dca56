"""The parse of a small log, pinned: keys, templates and counts.

The log is written by a seeded generator, so the file needs no data. A change here is a change of every user's keys:
it must be meant. ``DEEPLOG_GOLDEN_PRINT=1`` prints the new table.
"""

import hashlib
import os
import random
from collections.abc import Iterator

from deeplog_grpc.parsing import Parser

GOLDEN = [
    (0, "cache <*> is <*> full", 23),
    (1, "fan speeds <*> rpm", 22),
    (2, "session closed for user <*>", 21),
    (3, "session opened for user <*> by (uid=<*>)", 34),
    (5, "sent <*> to peer, lifetime <*>", 17),
    (6, "loaded the module <*>", 25),
    (7, "request <*> GET <*> done in <*> s", 10),
    (8, "Received block <*> of size <*> from <*>", 22),
    (9, "request <*> PUT <*> done in <*> s", 10),
    (10, "rts panic! - stopping execution", 16),
]
KEYS_SHA256 = "44cdd7027098e21523373e6efcf051cb26d29cd8defc1db29b7f427b92f415b6"


def small_log() -> Iterator[str]:
    rng = random.Random(7)
    users, modules = ("ann", "bob", "eve7", "dan_x"), ("net_core", "disk_sched", "usb_hid", "snd_pcm", "x_tables")
    for _ in range(200):
        number, user = rng.getrandbits(40), rng.choice(users)
        speeds = ", ".join(str(rng.randrange(3000, 4000)) for _ in range(rng.randrange(2, 6)))
        size, lifetime = rng.choice(("12 bytes", "1165 bytes (1.13 KB)")), rng.choice(("00:01", "<1 sec"))
        yield rng.choice(
            (
                f"session opened for user {user} by (uid={number % 3})",
                f"session closed for user {user}",
                f"Received block blk_-{number} of size {number % 7919} from /10.0.0.{number % 9}",
                f"cache store_{rng.choice(('main', 'old', 'b'))} is {number % 100}% full",
                f"request {number:08x} {rng.choice(('GET', 'PUT'))} /a/{number % 9} done in {number % 977 / 1000} s",
                f"sent {size} to peer, lifetime {lifetime}",
                f"fan speeds {speeds} rpm",
                f"loaded the module {rng.choice(modules)}",
                "rts panic! - stopping execution",
            )
        )


def test_the_parse_of_a_small_log() -> None:
    parser = Parser()
    lines = list(small_log())
    keys = [key for start in range(0, len(lines), 32) for key in parser.parse(lines[start : start + 32]).keys.tolist()]
    table = [(template.key, template.text, template.count) for template in parser.templates()]
    digest = hashlib.sha256(repr(keys).encode()).hexdigest()
    if os.environ.get("DEEPLOG_GOLDEN_PRINT"):
        print(*table, digest, sep="\n")
    assert table == GOLDEN
    assert digest == KEYS_SHA256
