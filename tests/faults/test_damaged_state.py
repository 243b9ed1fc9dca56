"""Each file of a state folder is cut short, has bytes flipped, or a block of zeros: a server says so, or serves what it
served before. What it must not do is to serve something else without a word.

A database is a file of SQLite, whose pages have no checksums: a flipped bit in a stored text is not found. What
verdicts follow from has checksums of our own.
"""

import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from deeplog_grpc.errors import DeepLogError
from deeplog_grpc.testing import Fault
from deeplog_grpc.v1 import feedback_pb2
from tests.faults.extent import SEED, runs
from tests.integration.learns import learning, orders
from tests.integration.served import probed

DAMAGES = runs(3)
"""Of each file."""
BLOCK = 512
LOUD = {"warning", "error"}
Damage = Callable[[bytes, random.Random], bytes]


def flipped(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content))
    return content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :]


def cut(content: bytes, rng: random.Random) -> bytes:
    """Never to nothing: an empty file is what a kill at the very beginning leaves, and begins anew."""
    return content[: rng.randrange(1, len(content))]


def zeroed(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(0, len(content), BLOCK)
    return content[:at] + bytes(len(content[at : at + BLOCK])) + content[at + BLOCK :]


DAMAGE: tuple[Damage, ...] = (flipped, cut, zeroed)


async def said(bundle: Path, state: Path) -> list[bytes]:
    """What a server says that is started on a state."""
    async with learning(state, bundle=bundle) as up:
        return await probed(up, "probe")


async def outcome(bundle: Path, state: Path, expected: list[bytes]) -> str:
    """What becomes of a server that is started on a damaged state."""
    refusal = ""
    with capture_logs() as logs:
        try:
            found = await said(bundle, state)
        except DeepLogError as error:
            refusal = str(error)
    if refusal:
        assert str(state) in refusal or "the journal" in refusal
        assert "\n" not in refusal
        return "refused"
    if found == expected:
        return "served as before"
    assert {one["log_level"] for one in logs} & LOUD, "something else was served without a word"
    return "served, and said what was lost"


@pytest.mark.timeout(60 + 30 * DAMAGES)
async def test_damaged_state_is_never_served_without_a_word(small_bundle: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    async with learning(whole, bundle=small_bundle) as up:
        await up.client.score(orders(30, seed=5, application="orders"))
        await up.client.score(orders(30, seed=6, application="learning"))
        for place, fault in enumerate((Fault.UNSEEN_KEY, Fault.WRONG_ORDER)):
            (found, *_) = await up.alarm(fault, session=f"job-{place}")
            await up.client.feedback(feedback_pb2.FEEDBACK_LABEL_FALSE_POSITIVE, verdict_id=found.verdict_id)
    shutil.copytree(whole, tmp_path / "copy")
    expected = await said(small_bundle, tmp_path / "copy")
    assert expected != await said(small_bundle, tmp_path / "new")  # what was learned shows

    rng = random.Random(SEED)
    outcomes: Counter[str] = Counter()
    files = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file() and path.stat().st_size)
    for file in files:
        for number in range(DAMAGES):
            state = tmp_path / "state"
            shutil.copytree(whole, state)
            (state / file).write_bytes(DAMAGE[number % len(DAMAGE)]((whole / file).read_bytes(), rng))
            outcomes[await outcome(small_bundle, state, expected)] += 1
            shutil.rmtree(state)
    print(f"\n{dict(outcomes)} of {len(files)} files")
    assert {file.name for file in files} >= {"journal.sqlite", "anomalies.sqlite", "application.json"}
    assert outcomes["refused"] >= len(files) // 3
    assert outcomes["served as before"]
