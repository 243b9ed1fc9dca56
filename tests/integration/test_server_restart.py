"""What a server knows after it was stopped, killed, damaged, or given a new bundle."""

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deeplog_grpc.client import AsyncDeepLogClient
from deeplog_grpc.errors import InputError, StateError
from deeplog_grpc.serving.config import RecoveryConfig
from deeplog_grpc.serving.evidence import lesson_of
from deeplog_grpc.serving.state import ANOMALIES, JOURNAL
from deeplog_grpc.storage import NewRecord, save_bundle
from deeplog_grpc.testing import Fault, simulate_log
from deeplog_grpc.training import Trainer
from deeplog_grpc.v1 import feedback_pb2, model_pb2, verdict_pb2
from tests.integration.served import Served, messages, opened, order_of, port_of, probed, served, started, with_message
from tests.trained import entries_of, small_config

FALSE_POSITIVE = feedback_pb2.FEEDBACK_LABEL_FALSE_POSITIVE
CONFIRMED = feedback_pb2.FEEDBACK_LABEL_CONFIRMED
LEARNED = feedback_pb2.FEEDBACK_OUTCOME_LEARNED
NORMAL = verdict_pb2.KIND_NORMAL
BOUND_S = 60.0
BODIES = list(messages(4))


async def taught(up: Served) -> None:
    """Some feedback of every kind, some of it on log keys that training did not have."""
    for place, (fault, label) in enumerate(
        [(Fault.UNSEEN_KEY, FALSE_POSITIVE), (Fault.SLOW, FALSE_POSITIVE), (Fault.TRUNCATED, CONFIRMED)]
    ):
        (found, *_) = await up.alarm(fault, session=f"job-{place}", flush=True)
        await up.client.feedback(label, verdict_id=found.verdict_id, feedback_id=f"f-{place}")
    for place, body in enumerate(BODIES[:2]):
        verdicts = await up.score(with_message(body, session=f"new-{place}"))
        found = next(one for one in verdicts if one.verdict_id)
        await up.client.feedback(FALSE_POSITIVE, verdict_id=found.verdict_id, feedback_id=f"n-{place}")
    await up.score(with_message(BODIES[2], session="new"), flush=True)  # a log key that nobody spoke of


async def looked_at(up: Served) -> list[bytes]:
    """What is said of the orders of a probe, and of those with new messages."""
    found = await probed(up, "probe")
    for place, body in enumerate(BODIES):
        for verdict in await up.score(with_message(body, session=f"again-{place}"), flush=True):
            verdict.verdict_id = ""
            found.append(verdict.SerializeToString(deterministic=True))
    return found


async def test_a_server_that_is_started_again_goes_on_as_if_it_had_not_stopped(
    small_bundle: Path, tmp_path: Path
) -> None:
    async with served(small_bundle, tmp_path / "one") as up:
        await taught(up)
        through = await looked_at(up)
        (more,) = await up.alarm(Fault.WRONG_ORDER, session="more")
        await up.client.feedback(FALSE_POSITIVE, verdict_id=more.verdict_id, feedback_id="more")
        learned_through = await looked_at(up)
    async with served(small_bundle, tmp_path / "two") as up:
        await taught(up)
        before = await up.client.model_versions()
        stored = await up.stored()
    async with served(small_bundle, tmp_path / "two") as up:
        assert await up.client.model_versions() == before
        assert await up.stored() == stored
        again = await looked_at(up)
        (more,) = await up.alarm(Fault.WRONG_ORDER, session="more")
        await up.client.feedback(FALSE_POSITIVE, verdict_id=more.verdict_id, feedback_id="more")
        learned_again = await looked_at(up)
        repeated = await up.client.feedback(FALSE_POSITIVE, verdict_id=stored[0].verdict.verdict_id, feedback_id="x")
    assert again == through
    assert learned_again == learned_through
    assert repeated.feedback_id == "x"


async def test_a_damaged_snapshot_is_made_again_as_it_was(small_bundle: Path, tmp_path: Path) -> None:
    async with served(small_bundle, tmp_path) as up:
        await taught(up)
        expected = await looked_at(up)
    with sqlite3.connect(tmp_path / JOURNAL) as journal:
        (count,) = journal.execute(
            "SELECT count(*) FROM versions WHERE snapshot IS NOT NULL AND version = (SELECT max(version) FROM versions)"
        ).fetchone()
        journal.execute("UPDATE versions SET snapshot = zeroblob(length(snapshot))")
    async with served(small_bundle, tmp_path) as up:
        (version, *_) = await up.client.model_versions()
        found = await looked_at(up)
    assert (count, version.version) == (1, 7)
    assert found == expected


async def test_what_was_accepted_and_not_finished_is_done_at_the_start(small_bundle: Path, tmp_path: Path) -> None:
    async with served(small_bundle, tmp_path) as up:
        (slow,), (unseen,) = await up.alarm(Fault.SLOW), await up.alarm(Fault.UNSEEN_KEY)
        stored = {one.verdict.verdict_id: one for one in await up.stored()}
    state = opened(small_bundle, tmp_path)
    bad: Any = {"numbers": [], "lessons": [{"type": "odd"}]}
    for place, content in enumerate(
        [
            {"label": "false_positive", "numbers": [(1 << 32) + 1], "lessons": [_lesson(slow)]},
            {"label": "false_positive", **bad},
            {"label": "confirmed", "numbers": [(1 << 32) + 2], "lessons": [_lesson(unseen)]},
        ]
    ):
        name = f"f-{place}"
        state.journal.accept(
            NewRecord(application="orders", feedback_id=name, kind="feedback", digest=name, content=content)
        )
    state.close()
    async with served(small_bundle, tmp_path) as up:
        records = up.state.journal.records("orders")
        states = await up.states([slow.verdict_id, unseen.verdict_id])
        versions = [one.version for one in await up.client.model_versions()]
        again = await up.alarm(Fault.SLOW)
    outcomes = [record.outcome["response"] for record in records if record.outcome is not None]
    assert set(stored) == {slow.verdict_id, unseen.verdict_id}
    assert [outcome["outcome"].removeprefix("FEEDBACK_OUTCOME_") for outcome in outcomes] == [
        "LEARNED",
        "REFUSED",  # a record that cannot be done stops neither this start nor the next one
        "RECORDED",
    ]
    assert states == ["FALSE_POSITIVE", "CONFIRMED"]
    assert (versions, again) == ([4, 3], [])


def _lesson(verdict: verdict_pb2.Verdict) -> dict[str, Any]:
    return lesson_of(verdict).to_json()


async def test_without_saved_sessions_a_kill_loses_no_feedback_and_mixes_no_log_keys(
    small_bundle: Path, tmp_path: Path
) -> None:
    process = await started(small_bundle, tmp_path)
    async with asyncio.timeout(BOUND_S):
        port, _ = await port_of(process)
        async with AsyncDeepLogClient(f"127.0.0.1:{port}") as client:
            learned = await client.score(with_message(BODIES[0]))
            found = next(one for one in learned.verdicts if one.verdict_id)
            answer = await client.feedback(FALSE_POSITIVE, verdict_id=found.verdict_id, feedback_id="mine")
            lost = next(one for one in (await client.score(with_message(BODIES[1]))).verdicts if one.verdict_id)
            with pytest.raises(InputError, match="used for another"):
                await client.feedback(CONFIRMED, verdict_id=found.verdict_id, feedback_id="mine")
        process.kill()
        await process.communicate()
    async with served(small_bundle, tmp_path, state={"recovery": RecoveryConfig(enabled=False)}) as up:
        again = await up.client.feedback(FALSE_POSITIVE, verdict_id=found.verdict_id, feedback_id="mine")
        known = await up.score(with_message(BODIES[0]))
        with pytest.raises(InputError, match=f"there is no log key {lost.key}, or no longer"):
            await up.client.feedback(FALSE_POSITIVE, verdict_id=lost.verdict_id)
        # Its number is given away again: what was said of it then is not said of another message now.
        other = next(one for one in await up.score(with_message(BODIES[2])) if one.verdict_id)
        with pytest.raises(InputError, match=f"log key {lost.key} stood for '{BODIES[1]}' then"):
            await up.client.feedback(FALSE_POSITIVE, verdict_id=lost.verdict_id)
    assert (answer.outcome, answer.model_version) == (LEARNED, 4)
    assert (again.is_repeat, again.model_version) == (True, 4)
    assert {(one.kind, one.model_version) for one in known} == {(NORMAL, 4)}
    assert other.key == lost.key
    assert other.kind == verdict_pb2.KIND_UNSEEN_KEY


async def test_after_a_kill_log_keys_and_open_sessions_are_those_of_before(small_bundle: Path, tmp_path: Path) -> None:
    entries = order_of(None, seed=5)
    half = len(entries) // 2
    process = await started(small_bundle, tmp_path)
    async with asyncio.timeout(BOUND_S):
        port, _ = await port_of(process)
        async with AsyncDeepLogClient(f"127.0.0.1:{port}") as client:
            new = next(one for one in (await client.score(with_message(BODIES[1]))).verdicts if one.verdict_id)
            first = await client.score(entries[:half], batch_id="first")
        process.kill()
        await process.communicate()
    async with served(small_bundle, tmp_path) as up:
        learned = await up.client.feedback(FALSE_POSITIVE, verdict_id=new.verdict_id)
        repeated = await up.client.score(entries[:half], batch_id="first")
        rest = await up.score(entries[half:])
    assert learned.outcome == LEARNED
    assert repeated.is_repeat
    repeated.is_repeat = False
    assert repeated == first
    assert [one.verdict_id for one in rest] == [""] * len(rest)


@pytest.fixture(scope="module")
def new_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained anew on a log that begins with other messages, so that log keys have other numbers; it knows the first
    new message."""
    directory = tmp_path_factory.mktemp("anew") / "model"
    trainer = Trainer()
    first = [f"2023-11-14 22:13:{second:02d}.000 {body}" for second in range(30) for body in (BODIES[0], BODIES[3])]
    trainer.add(entries_of([*first, *simulate_log(150, seed=2).lines]))
    model, _ = trainer.fit(application="orders", version=1, seed=2, config=small_config())
    save_bundle(model, directory, report={"entries": 1})
    return directory


async def test_a_new_bundle_takes_the_lessons_over(small_bundle: Path, new_bundle: Path, tmp_path: Path) -> None:
    async with served(small_bundle, tmp_path) as up:
        learned = [(await up.alarm(fault))[0] for fault in (Fault.SLOW, Fault.WRONG_ORDER)]
        (ended,) = await up.alarm(Fault.TRUNCATED, flush=True)
        (open_one,) = [one for one in await up.alarm(Fault.SLOW, seed=7) if one.verdict_id]
        (unknown,) = await up.alarm(Fault.UNSEEN_KEY)
        for one in learned:
            await up.client.feedback(FALSE_POSITIVE, verdict_id=one.verdict_id)
        await up.client.feedback(CONFIRMED, verdict_id=ended.verdict_id)
        confirmed_twice = learned[1].verdict_id
    async with served(new_bundle, tmp_path) as up:
        versions = [(one.version, one.cause, one.parent) for one in await up.client.model_versions()]
        carried = up.state.journal.records("orders")[-1]
        again = [one for fault in (Fault.SLOW, Fault.WRONG_ORDER) for one in await up.alarm(fault)]
        barred = [one for one in await up.alarm(Fault.TRUNCATED, flush=True) if one.key == -1]
        answers = [await up.client.feedback(FALSE_POSITIVE, verdict_id=one.verdict_id) for one in barred[-1:]]
        # What an earlier bundle found is read in the log keys of this one, or not at all.
        old = await up.client.feedback(FALSE_POSITIVE, verdict_id=open_one.verdict_id)
        with pytest.raises(InputError, match="was found with an earlier bundle"):
            await up.client.feedback(FALSE_POSITIVE, verdict_id=unknown.verdict_id)
        await up.client.feedback(CONFIRMED, verdict_id=confirmed_twice)
    assert versions == [
        (7, model_pb2.VERSION_CAUSE_FEEDBACK, 6),
        (6, model_pb2.VERSION_CAUSE_TRAINING, 0),
        (5, model_pb2.VERSION_CAUSE_FEEDBACK, 4),
        (4, model_pb2.VERSION_CAUSE_FEEDBACK, 3),
        (3, model_pb2.VERSION_CAUSE_TRAINING, 0),
    ]
    assert (carried.feedback_id, len(carried.content["lessons"])) == ("carried over to version 6", 2)
    assert again == []
    assert [answer.outcome for answer in answers] == [feedback_pb2.FEEDBACK_OUTCOME_REFUSED]
    assert old.outcome in (LEARNED, feedback_pb2.FEEDBACK_OUTCOME_NOTHING_TO_LEARN)
    # The first bundle again: versions grow, it learns what was learned on either, and not what was confirmed since.
    async with served(small_bundle, tmp_path) as up:
        grown = [one.version for one in await up.client.model_versions()]
        carried = up.state.journal.records("orders")[-1]
        slow, wrong = await up.alarm(Fault.SLOW), await up.alarm(Fault.WRONG_ORDER)
    assert grown == list(range(grown[0], 2, -1))
    assert carried.feedback_id == f"carried over to version {grown[1]}"
    assert slow == []
    assert [one.kind for one in wrong] == [learned[1].kind]


def test_a_state_folder_is_of_one_server(small_bundle: Path, tmp_path: Path) -> None:
    state = opened(small_bundle, tmp_path)
    try:
        with pytest.raises(StateError, match="another server keeps its state here"):
            opened(small_bundle, tmp_path)
        program = "from deeplog_grpc.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", program, "serve", "--model", small_bundle, "--state", tmp_path],
            capture_output=True,
            text=True,
            timeout=BOUND_S,
            check=False,
        )
    finally:
        state.close()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"deeplog-grpc: {tmp_path}: another server keeps its state here: stop it, or give another folder (--state)\n"
    )
    opened(small_bundle, tmp_path).close()


def test_a_state_that_cannot_be_opened_lets_go_of_its_folder(small_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / ANOMALIES).write_text("not a database, and longer than the head of one " * 4)
    for _ in range(2):
        with pytest.raises(StateError, match="store of anomalies"):
            opened(small_bundle, tmp_path)
    (tmp_path / ANOMALIES).unlink()
    opened(small_bundle, tmp_path).close()


async def test_an_order_of_the_last_second_is_answered_by_the_next_server(small_bundle: Path, tmp_path: Path) -> None:
    async with served(small_bundle, tmp_path) as up:
        (verdict,) = await up.alarm(Fault.UNSEEN_KEY)
        await up.score(order_of(None))
        answer = await up.client.feedback(FALSE_POSITIVE, verdict_id=verdict.verdict_id, feedback_id="mine")
    async with served(small_bundle, tmp_path) as up:
        again = await up.client.feedback(FALSE_POSITIVE, verdict_id=verdict.verdict_id, feedback_id="mine")
    answer.is_repeat = True
    assert again == answer
