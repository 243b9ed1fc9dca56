"""Applications that come at run time are learned, then judged; over restarts, and behind the gate."""

import asyncio
import errno
import os
import time
from pathlib import Path

import psutil
import pytest

from deeplog_grpc.access.scope import ScopedApplications
from deeplog_grpc.errors import InputError, PreconditionError
from deeplog_grpc.serving.applications import LearningApplications
from deeplog_grpc.serving.trainings import LOOK_S
from deeplog_grpc.storage import SampleLog
from deeplog_grpc.training.process import NICENESS
from deeplog_grpc.v1 import application_pb2 as apps
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from deeplog_grpc.v1 import verdict_pb2
from deeplog_grpc.v1.log_entry_pb2 import LogEntry
from tests.integration.learns import TRAINED_S, learning, orders, standing, streamed, until_state
from tests.integration.server_harness import BOUND_S, until
from tests.trained import LATER_S

LEARNING, TRAINING = apps.APPLICATION_STATE_LEARNING, apps.APPLICATION_STATE_TRAINING
DETECTING, RETRAINING = apps.APPLICATION_STATE_DETECTING, apps.APPLICATION_STATE_RETRAINING
NAME = "shop/orders"


async def test_a_server_without_a_model_learns_and_then_detects(tmp_path: Path) -> None:
    async with learning(tmp_path) as up:
        assert await up.client.applications() == []
        normal = orders(250, seed=1)
        first = await up.client.score(normal[:700], options=pb.ScoreOptions(detail=pb.VERDICT_DETAIL_FULL))
        assert {verdict.kind for verdict in first.verdicts} == {verdict_pb2.KIND_NORMAL}
        assert {(verdict.rank, verdict.model_version, verdict.score) for verdict in first.verdicts} == {(0, 0, 0.0)}
        assert "order received from <*>" in first.verdicts[0].template
        parsed = await up.client.parse(["INFO mail [req-1] confirmation queued, 7 bytes"], application=NAME)
        assert not parsed.bodies[0].is_new
        early = await standing(up)
        assert (early.state, early.entry_count, early.model_version) == (LEARNING, 700, 0)
        assert 0 < early.progress < 1
        assert "700 of 1,000 entries" in early.message
        judged, anomalies = await streamed(up, normal[700:])
        assert (judged, anomalies) == (len(normal) - 700, 0)
        ready = await until_state(up, DETECTING)
        assert (ready.model_version, ready.last_refusal) == (1, "")
        assert ready.entry_count >= 1_000
        assert ready.last_trained_unix_nano
        _, false_alarms = await streamed(up, orders(100, seed=2, start_s=LATER_S + 600))
        _, alarms = await streamed(up, orders(100, seed=3, start_s=LATER_S + 1_200, fault_rate=0.3))
        assert false_alarms <= 5
        assert alarms >= 20
        assert [version.version for version in await up.client.model_versions(application=NAME)] == [1]
        assert [found async for found in up.client.anomalies()]


async def test_a_log_without_sessions_is_learned_as_a_stream(tmp_path: Path) -> None:
    def loop(first: int, turns: int) -> list[LogEntry]:
        bodies = ["job taken", "input read from disk", "result written to disk", "job done"]
        return [
            LogEntry(body=bodies[place % 4], source="host", application="batch", time_unix_nano=(1 + place) * 10**9)
            for place in range(first * 4, (first + turns) * 4)
        ]

    async with learning(tmp_path, min_sessions=12) as up:
        await streamed(up, loop(0, 400))
        assert (await until_state(up, DETECTING, "batch")).session_count >= 12
        odd = LogEntry(body="kernel panic", source="host", application="batch", time_unix_nano=1_700 * 10**9)
        assert (await streamed(up, loop(400, 20)))[1] == 0
        assert (await streamed(up, [odd]))[1] == 1


async def test_what_could_not_be_kept_is_not_learned_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async with learning(tmp_path) as up:
        normal = orders(250, seed=1)
        with monkeypatch.context() as full:
            full.setattr(SampleLog, "append", fail)
            assert await streamed(up, normal) == (len(normal), 0)
        await asyncio.sleep(2 * LOOK_S)
        waiting = await standing(up)
        assert (waiting.state, waiting.last_refusal) == (LEARNING, "")
        assert "0 of 1,000 entries" in waiting.message
        await streamed(up, normal)
        await until_state(up, DETECTING)


async def test_what_needs_a_model_says_how_far_learning_is(tmp_path: Path) -> None:
    async with learning(tmp_path) as up:
        await up.client.score(orders(3, seed=1))
        for call in (up.client.drift, up.client.model_versions, up.client.get_workflow):
            with pytest.raises(PreconditionError, match=r"'shop/orders' is still learning .* of 1,000 entries"):
                await call(application=NAME)
        with pytest.raises(InputError, match="too little of 'shop/orders'"):
            await up.client.train_application(NAME)
        with pytest.raises(InputError, match="'nobody' is not served"):
            await up.client.train_application("nobody")


async def test_learning_goes_on_after_a_kill(tmp_path: Path) -> None:
    entries = orders(60, seed=1)
    async with learning(tmp_path, stop=False) as up:
        await streamed(up, entries)
        before = await standing(up)
        await up.server.queue.close()
    folder = next((tmp_path / "applications").iterdir())
    (segment,) = (folder / "sample").glob("*.jsonl")
    segment.write_bytes(segment.read_bytes()[:-10])  # a kill in the middle of a write
    async with learning(tmp_path) as up:
        after = await standing(up)
        assert (after.state, after.entry_count) == (LEARNING, before.entry_count - 1)
        assert (after.session_count, after.log_key_count) == (before.session_count, before.log_key_count)
        await streamed(up, orders(60, seed=2, start_s=LATER_S + 100))
        assert (await until_state(up, DETECTING)).model_version == 1


async def test_a_training_that_is_killed_with_the_server_is_done_after_the_next_start(tmp_path: Path) -> None:
    async with learning(tmp_path) as up:
        await streamed(up, orders(150, seed=1))
        await until_state(up, TRAINING)
        await until(lambda: bool(_trainings_under_way()))
        await until(lambda: all(process.nice() == NICENESS for process in _trainings_under_way()))
    await until(lambda: not _trainings_under_way())
    async with learning(tmp_path) as up:
        assert (await until_state(up, DETECTING)).model_version == 1
    async with learning(tmp_path) as up:  # which begins with what was learned
        found = await standing(up)
        assert (found.state, found.model_version) == (DETECTING, 1)
        _, alarms = await streamed(up, orders(60, seed=3, start_s=LATER_S + 1_200, fault_rate=0.5))
        assert alarms >= 10


async def test_a_training_that_crashes_leaves_the_application_learning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deeplog_grpc.serving.training_process._MODULE", "deeplog_grpc.training.no_such_module")
    async with learning(tmp_path) as up:
        await streamed(up, orders(120, seed=1))
        async with asyncio.timeout(BOUND_S):
            while not (found := await standing(up)).last_refusal:  # noqa: ASYNC110 - the server is asked, as people do
                await asyncio.sleep(0.05)
        assert found.state == LEARNING
        assert "the training ended with code 1" in found.message
        assert (await streamed(up, orders(2, seed=5)))[1] == 0


async def test_an_application_is_trained_anew_on_request(small_bundle: Path, tmp_path: Path) -> None:
    async with learning(tmp_path, bundle=small_bundle) as up:
        assert (await standing(up, "orders")).state == DETECTING
        await streamed(up, orders(150, seed=7, application="orders"))
        before = (await standing(up, "orders")).model_version
        first = await up.client.train_application("orders")
        again = await up.client.train_application("orders")
        assert {first.is_waiting or first.state == RETRAINING, again.is_waiting or again.state == RETRAINING} == {True}
        found = await until_state(up, DETECTING, "orders", version=before + 1)
        assert (found.model_version, found.last_refusal) == (before + 1, "")
        _, alarms = await streamed(up, orders(60, seed=3, application="orders", start_s=LATER_S + 900, fault_rate=0.5))
        assert alarms >= 10
        await until(lambda: len(list((tmp_path / "applications" / "orders").glob("*model-*"))) == 1)
    async with learning(tmp_path, bundle=small_bundle) as up:
        assert (await standing(up, "orders")).model_version == before + 1


async def test_a_model_that_alarms_more_than_the_one_in_force_is_refused(small_bundle: Path, tmp_path: Path) -> None:
    """The older entries lack a message that the newest have: who learns from the older ones would flag all of these."""
    async with learning(tmp_path, bundle=small_bundle) as up:
        poorer = [entry for entry in orders(200, seed=7, application="orders") if "confirmation" not in entry.body]
        await streamed(up, poorer)
        await streamed(up, orders(30, seed=8, application="orders", start_s=LATER_S + 100))
        await up.client.train_application("orders")
        async with asyncio.timeout(TRAINED_S):
            while not (found := await standing(up, "orders")).last_refusal:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.05)
        assert "held out of its training, it flags" in found.last_refusal
        assert (found.state, found.model_version) == (DETECTING, 3)
        assert "came to nothing" in found.message
        await up.client.train_application("orders")  # it may be asked for again


async def test_an_application_is_trained_anew_by_schedule(small_bundle: Path, tmp_path: Path) -> None:
    async with learning(tmp_path, bundle=small_bundle, retrain_every_s=3_600.0) as up:
        await streamed(up, orders(150, seed=7, application="orders"))
        due_ns = (await standing(up, "orders")).next_training_unix_nano
        assert 3_000 * 10**9 < due_ns - time.time_ns() <= 3_600 * 10**9
    async with learning(tmp_path, bundle=small_bundle, retrain_every_s=1.0) as up:
        assert (await until_state(up, DETECTING, "orders", version=4)).next_training_unix_nano


async def test_a_flood_of_names_is_bounded_and_leaves_a_place_for_the_default(tmp_path: Path) -> None:
    async with learning(tmp_path, max_applications=20) as up:
        entries = [LogEntry(body="x", application=f"app-{number}") for number in range(10_000)]
        response = await up.client.score(entries)
        assert response.entry_count == 19
        assert len(response.errors) == 9_981
        assert {fault.reason for fault in response.errors} == {"UNKNOWN_APPLICATION"}
        assert (await up.client.score([LogEntry(body="x")])).entry_count == 1
        assert len(await up.client.applications()) == 20
        assert isinstance(up.server.applications, ScopedApplications)
        assert isinstance(up.server.applications.all, LearningApplications)
        assert up.server.applications.all.refused == 9_981
        assert len(list((tmp_path / "applications").iterdir())) == 20


@pytest.mark.parametrize("name", ["../../etc", "a\nb", " a", "x" * 129, "/"])
async def test_no_name_leaves_the_folder(tmp_path: Path, name: str) -> None:
    async with learning(tmp_path / "state") as up:
        await up.client.score([LogEntry(body="x", application="good"), LogEntry(body="x", application=name)])
    made = {place.removeprefix(str(tmp_path)) for place, _, _ in os.walk(tmp_path)}
    assert all(place.startswith("/state") for place in made if place)
    assert 1 <= sum(place.count("/") == 3 and place.startswith("/state/applications/") for place in made) <= 2


async def test_entries_that_name_nothing_are_those_of_the_default(tmp_path: Path) -> None:
    async with learning(tmp_path) as up:
        assert (await up.client.score([LogEntry(body="x")])).entry_count == 1
        assert (await up.client.score([LogEntry(body="x", application="other")])).entry_count == 1
        assert (await up.client.score([LogEntry(body="x")])).entry_count == 1
        assert [found.application for found in await up.client.applications()] == ["default", "other"]


async def test_a_server_that_does_not_learn_says_so(small_bundle: Path, tmp_path: Path) -> None:
    async with learning(tmp_path, bundle=small_bundle, enabled=False) as up:
        assert (await up.client.applications())[0].message == "detecting by version 3"
        with pytest.raises(PreconditionError, match="does not learn"):
            await up.client.train_application()
        with pytest.raises(InputError):
            await up.client.score([LogEntry(body="x", application="new")])
    assert not (tmp_path / "applications").exists()


async def test_sessions_that_are_open_at_the_change_are_judged_as_wholes(tmp_path: Path) -> None:
    """Entries go on while the model is trained and put into force: no order seems to begin in its middle."""
    log = orders(8_000, seed=1)
    async with learning(tmp_path) as up:
        assert (await streamed(up, log[:2_500]))[1] == 0
        place, after = 2_500, 0
        async with asyncio.timeout(TRAINED_S):
            while NAME not in up.state.updaters:
                anomalies = (await streamed(up, log[place : place + 37]))[1]
                place += 37
                await asyncio.sleep(0.02)
        for _ in range(40):
            after += len(log[place : place + 37])
            anomalies += (await streamed(up, log[place : place + 37]))[1]
            place += 37
        assert after == 40 * 37
        assert anomalies <= 3


def _trainings_under_way() -> list[psutil.Process]:
    """Processes that train, of this one."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if "deeplog_grpc.training.process" in process.cmdline():
                found.append(process)
        except psutil.Error:
            continue
    return found
