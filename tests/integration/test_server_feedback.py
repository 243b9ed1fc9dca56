"""Feedback to a real server: what is learned, answered, refused, and done once."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest

from deeplog_grpc.client import AsyncDeepLogClient, StreamItem
from deeplog_grpc.errors import InputError
from deeplog_grpc.testing import Fault
from deeplog_grpc.v1 import feedback_pb2 as pb
from deeplog_grpc.v1 import model_pb2, verdict_pb2
from tests.integration.served import Served, messages, order_of, served, with_message
from tests.integration.server_harness import BOUND_S, details, status_in, until

FALSE_POSITIVE = pb.FEEDBACK_LABEL_FALSE_POSITIVE
CONFIRMED = pb.FEEDBACK_LABEL_CONFIRMED
NORMAL = verdict_pb2.KIND_NORMAL
CLIENTS = 20


def named(target: str, verdict: verdict_pb2.Verdict, group_id: str) -> Any:
    """An anomaly in the words of a target."""
    numbers = [verdict_pb2.ValueNumber(slot=one.slot, number=one.number) for one in verdict.vector.numbers]
    return {
        "verdict_id": verdict.verdict_id,
        "session": verdict.session,
        "group_id": group_id,
        "step": pb.LabelledStep(window=verdict.window, key=verdict.key),
        "vector": verdict_pb2.ValueVector(key=verdict.key, numbers=numbers, previous=verdict.vector.previous),
    }[target]


@pytest.mark.parametrize("label", [FALSE_POSITIVE, CONFIRMED], ids=["false positive", "confirmed"])
@pytest.mark.parametrize(
    ("target", "fault"),
    [
        ("verdict_id", Fault.UNSEEN_KEY),
        ("verdict_id", Fault.TRUNCATED),
        ("session", Fault.UNSEEN_KEY),
        ("group_id", Fault.UNSEEN_KEY),
        ("step", Fault.WRONG_ORDER),
        ("vector", Fault.SLOW),
    ],
)
async def test_what_is_named_is_learned_or_noted(
    small_bundle: Path, tmp_path: Path, target: str, fault: Fault, label: pb.FeedbackLabel
) -> None:
    async with served(small_bundle, tmp_path) as up:
        (verdict,) = await up.alarm(fault, flush=True)
        (stored,) = await up.stored()
        fields: Any = {target: named(target, verdict, stored.group_id)}
        answer = await up.client.feedback(label, **fields, feedback_id="f-1", actor="ann", note="release")
        states = await up.states([verdict.verdict_id])
        again = await up.alarm(fault, flush=True)
        versions = await up.client.model_versions()

    (case,) = answer.cases
    assert (answer.feedback_id, answer.case_count, answer.is_repeat) == ("f-1", 1, False)
    place = (0, 1) if target == "vector" else (verdict.rank, verdict.probability)  # numbers have no place
    assert (case.key, case.rank_before) == (verdict.key, place[0])
    assert case.probability_before == pytest.approx(place[1])
    assert answer.update_s > 0
    kinds = [one.kind for one in again if one.kind == verdict.kind]
    if label == CONFIRMED:
        assert (answer.outcome, answer.model_version) == (pb.FEEDBACK_OUTCOME_RECORDED, 3)
        assert not answer.HasField("check")
        assert (case.is_normal, case.rank_after) == (False, case.rank_before)
        assert "held out" in answer.message
        assert kinds == [verdict.kind]
        assert [one.version for one in versions] == [3]
    else:
        assert (answer.outcome, answer.model_version) == (pb.FEEDBACK_OUTCOME_LEARNED, 4)
        assert answer.check.sessions > 0
        assert answer.check.flagged_after - answer.check.flagged_before <= answer.check.margin
        assert (case.is_normal, case.probability_after >= case.probability_before) == (True, True)
        assert answer.message.startswith("learned in version 4")
        assert kinds == []
        assert [(one.version, one.parent, one.is_current) for one in versions] == [(4, 3, True), (3, 0, False)]
        assert (versions[0].feedback_id, versions[0].actor, versions[0].note) == ("f-1", "ann", "release")
    if target in ("verdict_id", "session", "group_id"):
        assert states == ["CONFIRMED" if label == CONFIRMED else "FALSE_POSITIVE"]


async def test_verdicts_tell_the_version_and_other_alarms_are_explained(small_bundle: Path, tmp_path: Path) -> None:
    async with served(small_bundle, tmp_path) as up:
        alarms = [(await up.alarm(Fault.UNSEEN_KEY))[0] for _ in range(3)]
        (other,) = await up.alarm(Fault.SLOW)
        answer = await up.client.feedback(FALSE_POSITIVE, verdict_id=alarms[1].verdict_id)
        seen = await up.score(order_of(Fault.UNSEEN_KEY))
        states = await up.states([one.verdict_id for one in (*alarms, other)])
        (explained, *_) = await up.stored(verdict_ids=[alarms[0].verdict_id])
    assert {(one.kind, one.model_version) for one in seen} == {(NORMAL, 4)}
    assert answer.explained == 2
    assert set(answer.explained_verdict_ids) == {alarms[0].verdict_id, alarms[2].verdict_id}
    assert states == ["EXPLAINED", "FALSE_POSITIVE", "EXPLAINED", "OPEN"]
    assert explained.feedback_id == answer.feedback_id


async def test_what_is_confirmed_is_never_learned(small_bundle: Path, tmp_path: Path) -> None:
    async with served(small_bundle, tmp_path) as up:
        (first,), (second,) = [await up.alarm(Fault.UNSEEN_KEY) for _ in range(2)]
        await up.client.feedback(CONFIRMED, verdict_id=first.verdict_id)
        answer = await up.client.feedback(FALSE_POSITIVE, verdict_id=second.verdict_id)
        (again,) = await up.alarm(Fault.UNSEEN_KEY)
        states = await up.states([first.verdict_id, second.verdict_id])
        # Another one of its group is no confirmed case: it is learned, and what is like the confirmed one stays open.
        (elsewhere,) = await up.alarm(Fault.UNSEEN_KEY, seed=5)
        await up.client.feedback(FALSE_POSITIVE, verdict_id=elsewhere.verdict_id)
        later = await up.states([first.verdict_id, second.verdict_id])
    assert (answer.outcome, answer.model_version) == (pb.FEEDBACK_OUTCOME_REFUSED, 3)
    assert answer.message == (
        "not learned, version 3 stays: it was confirmed as an anomaly: what is confirmed is never learned as normal"
    )
    assert not answer.cases[0].is_normal
    assert again.kind == first.kind
    assert states == later == ["CONFIRMED", "OPEN"]


async def test_what_earlier_feedback_explained_is_nothing_to_learn(small_bundle: Path, tmp_path: Path) -> None:
    async with served(small_bundle, tmp_path) as up:
        (first,), (second,) = [await up.alarm(Fault.SLOW) for _ in range(2)]
        await up.client.feedback(FALSE_POSITIVE, verdict_id=first.verdict_id)
        answer = await up.client.feedback(FALSE_POSITIVE, verdict_id=second.verdict_id)
        confirmed = await up.client.feedback(CONFIRMED, verdict_id=second.verdict_id)
    assert (answer.outcome, answer.model_version) == (pb.FEEDBACK_OUTCOME_NOTHING_TO_LEARN, 4)
    assert answer.cases[0].is_normal
    assert "holds 1 of 1 cases normal all the same" in confirmed.message


async def test_the_same_name_is_learned_once_and_answered_as_before(small_bundle: Path, tmp_path: Path) -> None:
    async with served(small_bundle, tmp_path) as up:
        (first,) = await up.alarm(Fault.UNSEEN_KEY)
        ask: Any = {"verdict_id": first.verdict_id, "feedback_id": "mine", "note": "why"}
        answer = await up.client.feedback(FALSE_POSITIVE, **ask)
        again = await up.client.feedback(FALSE_POSITIVE, **ask)
        with up.state.anomalies._database.writing() as connection:  # as retention does
            connection.execute("DELETE FROM anomalies")
        when_gone = await up.client.feedback(FALSE_POSITIVE, **ask)
        others: list[tuple[pb.FeedbackLabel, Any]] = [
            (CONFIRMED, ask),
            (FALSE_POSITIVE, {**ask, "note": "because"}),
            (FALSE_POSITIVE, {"session": first.session, "feedback_id": "mine", "note": "why"}),
        ]
        for label, fields in others:
            with pytest.raises(InputError, match="'mine' was used for another request") as caught:
                await up.client.feedback(label, **fields)
            assert caught.value.field == "feedback_id"
        versions = await up.client.model_versions()
    assert not answer.is_repeat
    answer.is_repeat = True
    assert again == when_gone == answer
    assert [one.version for one in versions] == [4, 3]


async def test_twenty_clients_are_served_one_after_the_other(small_bundle: Path, tmp_path: Path) -> None:
    async with served(small_bundle, tmp_path) as up:
        alarms = [await up.score(with_message(body)) for body in messages(CLIENTS)]
        names = [next(one.verdict_id for one in found if one.verdict_id) for found in alarms]
        answers = await asyncio.gather(*(_by_a_client(up, verdict_id=name) for name in names))
        versions = await up.client.model_versions()
        states = await up.states(names)
    assert {answer.outcome for answer in answers} == {pb.FEEDBACK_OUTCOME_LEARNED}
    assert sorted(answer.model_version for answer in answers) == list(range(4, 4 + CLIENTS))
    assert [one.version for one in versions] == list(range(3 + CLIENTS, 2, -1))
    assert len({answer.feedback_id for answer in answers}) == CLIENTS
    assert states == ["FALSE_POSITIVE"] * CLIENTS


async def test_twenty_clients_with_one_name_are_one(small_bundle: Path, tmp_path: Path) -> None:
    async with served(small_bundle, tmp_path) as up:
        (verdict,) = await up.alarm(Fault.UNSEEN_KEY)
        ask: Any = {"verdict_id": verdict.verdict_id, "feedback_id": "all of us"}
        answers = await asyncio.gather(*(_by_a_client(up, **ask) for _ in range(CLIENTS)))
        versions = await up.client.model_versions()
    assert sorted(answer.is_repeat for answer in answers) == [False] + [True] * (CLIENTS - 1)
    assert {(answer.outcome, answer.model_version) for answer in answers} == {(pb.FEEDBACK_OUTCOME_LEARNED, 4)}
    assert [one.version for one in versions] == [4, 3]


async def _by_a_client(up: Served, **fields: Any) -> pb.FeedbackResponse:
    async with AsyncDeepLogClient(up.address) as client:
        return await client.feedback(FALSE_POSITIVE, **fields)


@pytest.mark.parametrize("is_accepted", [False, True], ids=["before it is in the journal", "after"])
async def test_a_client_that_goes_away_does_not_stop_its_update(
    small_bundle: Path, tmp_path: Path, is_accepted: bool
) -> None:
    async with served(small_bundle, tmp_path) as up:
        (verdict,) = await up.alarm(Fault.UNSEEN_KEY)
        journal, queue = up.state.journal, up.server.queue
        request = pb.FeedbackRequest(label=FALSE_POSITIVE, verdict_id=verdict.verdict_id)
        with queue.hold():
            call = asyncio.create_task(up.ask("Feedback", request))
            await until(lambda: len(queue._accepted) == 1)
            if is_accepted:
                queue._holds -= 1
                queue._wake.set()
                await until(lambda: bool(journal.pending("orders")))
                queue._holds += 1
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        await until(lambda: journal.versions("orders")[0].version == 4)
        answer = await up.client.feedback(FALSE_POSITIVE, verdict_id=verdict.verdict_id)
        records = journal.records("orders")
    assert answer.outcome == pb.FEEDBACK_OUTCOME_NOTHING_TO_LEARN
    assert all(record.outcome for record in records)


async def test_a_server_that_stops_finishes_what_it_accepted_and_refuses_the_rest(
    small_bundle: Path, tmp_path: Path
) -> None:
    async with served(small_bundle, tmp_path, stop=False) as up:
        (first,), (second,) = await up.alarm(Fault.UNSEEN_KEY), await up.alarm(Fault.SLOW)
        with up.server.queue.hold():
            waiting = asyncio.create_task(up.client.feedback(FALSE_POSITIVE, verdict_id=first.verdict_id))
            await until(lambda: len(up.server.queue._accepted) == 1)
            stopping = asyncio.create_task(up.server.stop())
            learning: Any = up.server.learning
            await until(lambda: learning._is_closing)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await up.ask("Feedback", pb.FeedbackRequest(label=FALSE_POSITIVE, verdict_id=second.verdict_id))
        answer = await waiting
        await stopping
    found = details(status_in(caught.value))
    assert (caught.value.code(), found["ErrorInfo"].reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
    assert (answer.outcome, answer.model_version) == (pb.FEEDBACK_OUTCOME_LEARNED, 4)


NUMBERS = [verdict_pb2.ValueNumber(slot=1, number=1)]
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no label": ({"verdict_id": "1-1", "label": 0}, "label"),
    "a label of the future": ({"verdict_id": "1-1", "label": 9}, "label"),
    "no target": ({}, "target"),
    "no verdict": ({"verdict_id": "odd"}, "verdict_id"),
    "an empty verdict": ({"verdict_id": ""}, "verdict_id"),
    "an unknown verdict": ({"verdict_id": "7-9"}, "verdict_id"),
    "an unknown session": ({"session": "nobody"}, "session"),
    "an unknown group": ({"group_id": "g-0"}, "group_id"),
    "an unknown application": ({"verdict_id": "1-1", "application": "shop"}, "application"),
    "a long name": ({"verdict_id": "1-1", "feedback_id": "x" * 257}, "feedback_id"),
    "a long actor": ({"verdict_id": "1-1", "actor": "ä" * 129}, "actor"),
    "a long note": ({"verdict_id": "1-1", "note": "x" * 4_097}, "note"),
    "a step without a log key": ({"step": pb.LabelledStep(key=-2)}, "step"),
    "a window of no log keys": ({"step": pb.LabelledStep(window=[-3], key=1)}, "step"),
    "a long window": ({"step": pb.LabelledStep(window=[1] * 99, key=1)}, "step.window"),
    "a step to a log key that is not there": ({"step": pb.LabelledStep(window=[1], key=4_711)}, "target"),
    "a step after a log key that is not there": ({"step": pb.LabelledStep(window=[4_711], key=1)}, "target"),
    "a vector of nothing": ({"vector": verdict_pb2.ValueVector(key=2)}, "vector.numbers"),
    "a vector without a log key": ({"vector": verdict_pb2.ValueVector(key=-1, numbers=NUMBERS)}, "vector.key"),
    "a vector of a log key that is not there": (
        {"vector": verdict_pb2.ValueVector(key=4_711, numbers=NUMBERS)},
        "target",
    ),
    "a vector after no log key": (
        {"vector": verdict_pb2.ValueVector(key=2, numbers=NUMBERS, previous=[-7])},
        "vector.previous",
    ),
    "a vector that is not finite": (
        {"vector": verdict_pb2.ValueVector(key=2, numbers=[verdict_pb2.ValueNumber(slot=1, number=float("nan"))])},
        "vector.numbers[0].number",
    ),
}


async def test_every_bad_request_names_its_field(small_bundle: Path, tmp_path: Path) -> None:
    async with served(small_bundle, tmp_path) as up:
        await up.alarm(Fault.UNSEEN_KEY)
        for name, (fields, field) in BAD.items():
            request = pb.FeedbackRequest(**{"label": FALSE_POSITIVE, **fields})
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await up.ask("Feedback", request)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT, name
            violations = details(status_in(caught.value))["BadRequest"].field_violations
            assert [violation.field for violation in violations] == [field], name
        assert up.state.journal.records("orders") == []


async def test_a_stream_goes_on_in_order_while_versions_change(small_bundle: Path, tmp_path: Path) -> None:
    async with served(small_bundle, tmp_path) as up:
        bodies = list(messages(8))
        names = [
            next(one.verdict_id for one in await up.score(with_message(body)) if one.verdict_id) for body in bodies
        ]
        is_learned = asyncio.Event()

        async def batches() -> AsyncIterator[StreamItem]:
            number = 0
            while not is_learned.is_set() or number < 20:
                yield order_of(None, session=f"normal-{number}")
                number += 1
            yield order_of(None, session="last")

        async def consume() -> list[Sequence[verdict_pb2.Verdict]]:
            found: list[Sequence[verdict_pb2.Verdict]] = []
            async for result in up.client.stream(batches(), window=2):
                assert (result.status.code, result.sequence) == (0, len(found))
                found.append(result.response.verdicts)
            return found

        consuming = asyncio.create_task(consume())
        for name in names:
            await up.client.feedback(FALSE_POSITIVE, verdict_id=name)
        is_learned.set()
        async with asyncio.timeout(BOUND_S):
            found = await consuming
    verdicts = [verdict for batch in found for verdict in batch]
    versions = [verdict.model_version for verdict in verdicts]
    assert versions == sorted(versions)
    assert (versions[-1], len(set(versions)) > 3) == (11, True)
    assert {verdict.kind for verdict in verdicts} == {NORMAL}


async def test_a_session_speaks_for_all_its_anomalies(small_bundle: Path, tmp_path: Path) -> None:
    async with served(small_bundle, tmp_path) as up:
        both = [*order_of(Fault.SLOW, session="job"), *order_of(Fault.UNSEEN_KEY, session="job")]
        found = [one for one in await up.score(both) if one.verdict_id]
        answer = await up.client.feedback(FALSE_POSITIVE, session="job")
        states = await up.states([one.verdict_id for one in found])
    assert len({one.kind for one in found}) > 1
    assert answer.case_count == len({(one.kind, tuple(one.window), one.key) for one in found})
    assert states == ["FALSE_POSITIVE"] * len(found)


async def test_a_version_is_what_its_feedback_made(small_bundle: Path, tmp_path: Path) -> None:
    async with served(small_bundle, tmp_path) as up:
        (verdict,) = await up.alarm(Fault.UNSEEN_KEY)
        answer = await up.client.feedback(FALSE_POSITIVE, verdict_id=verdict.verdict_id)
        (version, _) = await up.client.model_versions()
    assert version.cause == model_pb2.VERSION_CAUSE_FEEDBACK
    assert (version.steps, version.case_count) == (answer.steps, answer.case_count)
    assert version.check == answer.check
    assert version.is_kept
