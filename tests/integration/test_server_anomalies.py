"""Stored anomalies, groups, versions and drift of a real server."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from deeplog_grpc.client import AsyncDeepLogClient
from deeplog_grpc.detection import ApplicationModel
from deeplog_grpc.errors import InputError
from deeplog_grpc.feedback import DriftConfig
from deeplog_grpc.storage import load_bundle
from deeplog_grpc.testing import Fault
from deeplog_grpc.v1 import anomaly_pb2, feedback_pb2, model_pb2, verdict_pb2
from tests.integration.served import Served, messages, order_of, probed, served, with_message
from tests.integration.server_harness import BOUND_S, details, status_in, until
from tests.learned_workflows import workflow_of_orders
from tests.trained import LATER_S

FALSE_POSITIVE = feedback_pb2.FEEDBACK_LABEL_FALSE_POSITIVE
CONFIRMED = feedback_pb2.FEEDBACK_LABEL_CONFIRMED
OPEN = anomaly_pb2.ANOMALY_STATE_OPEN
NS = 10**9


def names(anomalies: list[anomaly_pb2.Anomaly]) -> list[str]:
    return [one.verdict.verdict_id for one in anomalies]


async def test_an_anomaly_says_where_its_session_left_the_workflow(
    small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_workflow(directory: Path) -> ApplicationModel:
        model = load_bundle(directory)
        return replace(model, workflow=workflow_of_orders(model))

    monkeypatch.setattr("tests.integration.served.load_bundle", with_workflow)
    async with served(small_bundle, tmp_path) as up:
        (told,) = await up.alarm(Fault.UNSEEN_KEY, session="job-1")
        ends = await up.alarm(Fault.TRUNCATED, session="job-2", flush=True)
        stored = {one.verdict.session: one.verdict for one in await up.stored()}
    assert told.diagnosis.deviation == verdict_pb2.DEVIATION_UNKNOWN
    assert "is in no task of the workflow" in told.diagnosis.text
    assert told.diagnosis.HasField("state")
    assert told.diagnosis.state in told.diagnosis.path
    assert sum(step.probability for step in told.diagnosis.expected) == pytest.approx(1.0)
    assert not told.diagnosis.HasField("first_divergence")
    assert stored["job-1"].diagnosis == told.diagnosis
    assert stored["job-2"].diagnosis.deviation == verdict_pb2.DEVIATION_TRUNCATED
    assert stored["job-2"].diagnosis == ends[-1].diagnosis


def watch(up: Served, **fields: Any) -> Any:
    """A watch without the client's patience."""
    method: Any = up.channel.unary_stream(
        "/deeplog_grpc.v1.DeepLogService/WatchAnomalies",
        request_serializer=anomaly_pb2.WatchAnomaliesRequest.SerializeToString,
        response_deserializer=anomaly_pb2.WatchAnomaliesResponse.FromString,
    )
    return method(anomaly_pb2.WatchAnomaliesRequest(**fields), timeout=BOUND_S)


async def test_anomalies_are_listed_by_every_filter_and_in_pages(small_bundle: Path, tmp_path: Path) -> None:
    async with served(small_bundle, tmp_path) as up:
        first = (await up.alarm(Fault.UNSEEN_KEY, session="job-1"))[0].verdict_id
        second = (await up.alarm(Fault.SLOW, session="job-2"))[0].verdict_id
        third = (await up.alarm(Fault.WRONG_ORDER, session="job-1"))[0].verdict_id
        fourth = (await up.alarm(Fault.UNSEEN_KEY, session="job-3"))[0].verdict_id
        await up.client.feedback(CONFIRMED, verdict_id=second)
        every = await up.stored()
        assert names(every) == [fourth, third, second, first]
        group = every[0].group_id
        await up.client.mute_group(group, muted_until_unix_nano=time.time_ns() + 3_600 * NS)
        times = {one.verdict.verdict_id: one.verdict.time_unix_nano for one in every}
        later = max(times.values())
        cases: list[tuple[dict[str, Any], list[str]]] = [
            ({"application": "orders"}, [fourth, third, second, first]),
            ({"application": "shop"}, []),
            ({"kinds": [verdict_pb2.KIND_UNSEEN_KEY]}, [fourth, first]),
            ({"states": [anomaly_pb2.ANOMALY_STATE_CONFIRMED]}, [second]),
            ({"states": [OPEN]}, [fourth, third, first]),
            ({"session": "job-1"}, [third, first]),
            ({"session": "job-1", "kinds": [verdict_pb2.KIND_UNSEEN_KEY]}, [first]),
            ({"group_id": group}, [fourth, first]),
            ({"from_unix_nano": later}, [name for name in (fourth, third, second, first) if times[name] >= later]),
            ({"to_unix_nano": later}, [name for name in (fourth, third, second, first) if times[name] < later]),
            ({"min_score": 0.999}, [one.verdict.verdict_id for one in every if one.verdict.score >= 0.999]),
            ({"exclude_muted": True}, [third, second]),
            ({"verdict_ids": [first, third, "9-9"]}, [third, first]),
            ({"verdict_ids": [first, third], "session": "job-3"}, []),
            ({"verdict_ids": [first, third], "group_id": group}, [first]),
            ({"verdict_ids": [first, second], "application": "orders", "states": [OPEN]}, [first]),
            ({"verdict_ids": [first, second], "from_unix_nano": 1, "to_unix_nano": 2}, []),
        ]
        for wanted, expected in cases:
            assert names(await up.stored(**wanted)) == expected, wanted
        pages = [one async for one in up.client.anomalies(page_size=3)]
        # What is stored between two pages is on none of those to come.
        page = await up.ask("ListAnomalies", anomaly_pb2.ListAnomaliesRequest(page_size=2))
        token = anomaly_pb2.ListAnomaliesResponse.FromString(page).next_page_token
        await up.alarm(Fault.SLOW)
        rest = await up.ask("ListAnomalies", anomaly_pb2.ListAnomaliesRequest(page_size=2, page_token=token))
    for one in every:
        one.is_muted = one.group_id == group
    assert pages == every
    found = anomaly_pb2.ListAnomaliesResponse.FromString(rest)
    assert (names(list(found.anomalies)), found.next_page_token) == ([second, first], "")
    assert every[0].body.endswith("ms")
    assert len(every[0].context) == 5


def with_filter(**wanted: Any) -> anomaly_pb2.ListAnomaliesRequest:
    return anomaly_pb2.ListAnomaliesRequest(filter=anomaly_pb2.AnomalyFilter(**wanted))


NO_STATE: Any = [9]
BAD: list[tuple[str, Any, str]] = [
    ("ListAnomalies", anomaly_pb2.ListAnomaliesRequest(page_size=1_001), "page_size"),
    ("ListAnomalies", anomaly_pb2.ListAnomaliesRequest(page_token="odd"), "page_token"),
    ("ListAnomalies", anomaly_pb2.ListAnomaliesRequest(filter={"states": [9]}), "filter.states"),
    (
        "ListAnomalies",
        anomaly_pb2.ListAnomaliesRequest(filter={"verdict_ids": ["1-1", "odd"]}),
        "filter.verdict_ids[1]",
    ),
    ("ListAnomalies", anomaly_pb2.ListAnomaliesRequest(filter={"verdict_ids": ["1-1"] * 1_001}), "filter.verdict_ids"),
    ("ListAnomalyGroups", anomaly_pb2.ListAnomalyGroupsRequest(page_size=1_001), "page_size"),
    ("ListAnomalyGroups", anomaly_pb2.ListAnomalyGroupsRequest(page_token="odd"), "page_token"),
    ("ListAnomalyGroups", anomaly_pb2.ListAnomalyGroupsRequest(states=NO_STATE), "states"),
    ("MuteAnomalyGroup", anomaly_pb2.MuteAnomalyGroupRequest(group_id="g-0"), "group_id"),
    ("Adapt", feedback_pb2.AdaptRequest(from_unix_nano=9, to_unix_nano=9), "to_unix_nano"),
    ("Adapt", feedback_pb2.AdaptRequest(), "from_unix_nano"),
    ("Adapt", feedback_pb2.AdaptRequest(application="shop"), "application"),
    ("RollbackModel", model_pb2.RollbackModelRequest(version=9), "version"),
    ("RollbackModel", model_pb2.RollbackModelRequest(), "version"),
    ("ListModelVersions", model_pb2.ListModelVersionsRequest(application="shop"), "application"),
    ("GetDrift", model_pb2.GetDriftRequest(application="shop"), "application"),
]


BAD_WATCHES: list[tuple[dict[str, Any], str]] = [
    ({"after_verdict_id": "odd"}, "after_verdict_id"),
    ({"filter": {"states": [9]}}, "filter.states"),
]


async def test_every_bad_request_names_its_field(small_bundle: Path, tmp_path: Path) -> None:
    async with served(small_bundle, tmp_path) as up:
        for method, request, field in BAD:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await up.ask(method, request)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT, (method, field)
            violations = details(status_in(caught.value))["BadRequest"].field_violations
            assert [violation.field for violation in violations] == [field]
        for fields, field in (
            ({"after_verdict_id": "odd"}, "after_verdict_id"),
            ({"filter": {"states": [9]}}, "filter.states"),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await watch(up, **fields).read()
            violations = details(status_in(caught.value))["BadRequest"].field_violations
            assert [violation.field for violation in violations] == [field]


async def test_a_watch_begins_with_its_position_and_loses_nothing(small_bundle: Path, tmp_path: Path) -> None:
    async with served(small_bundle, tmp_path, stop=False) as up:
        empty = (await watch(up).read()).position
        call = watch(up, filter={"kinds": [verdict_pb2.KIND_UNSEEN_KEY]})
        assert not (await call.read()).HasField("anomaly")
        first = (await up.alarm(Fault.UNSEEN_KEY))[0].verdict_id
        await up.alarm(Fault.SLOW)
        second = (await up.alarm(Fault.UNSEEN_KEY))[0].verdict_id
        live = [await call.read() for _ in range(2)]
        assert names([one.anomaly for one in live]) == [one.position for one in live] == [first, second]

        # It broke before its first anomaly; and the one that it goes on from is no longer stored.
        resumed = watch(up, after_verdict_id=empty)
        assert (await resumed.read()).position == empty
        every = names([(await resumed.read()).anomaly for _ in range(3)])
        assert every == names(await up.stored())[::-1]
        with up.state.anomalies._database.writing() as connection:
            connection.execute("DELETE FROM anomalies WHERE number = (SELECT min(number) FROM anomalies)")
        later = watch(up, after_verdict_id=first)
        await later.read()
        assert names([(await later.read()).anomaly for _ in range(2)]) == every[1:]

        await up.server.stop()
        for ended in (call, resumed, later):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await ended.read()
            found = details(status_in(caught.value))
            assert (caught.value.code(), found["ErrorInfo"].reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")


async def test_a_watch_that_looks_while_anomalies_are_stored_sends_each_once(
    small_bundle: Path, tmp_path: Path
) -> None:
    async with served(small_bundle, tmp_path) as up:
        call = watch(up)
        await call.read()
        store, since = up.state.anomalies, up.state.anomalies.since
        loop, waiting = asyncio.get_running_loop(), [True] * 3

        def slow(*arguments: Any, **options: Any) -> Any:
            """Another one is stored between the look at the last number and the look into the store."""
            if waiting:
                waiting.pop()
                asyncio.run_coroutine_threadsafe(up.alarm(Fault.SLOW), loop).result(BOUND_S)
            return since(*arguments, **options)

        store.since = slow  # type: ignore[method-assign]
        found = []
        for _ in range(3):
            await up.alarm(Fault.SLOW)
            found += names([(await call.read()).anomaly for _ in range(2)])
        await up.alarm(Fault.UNSEEN_KEY)
        last = (await call.read()).anomaly
    assert found == [f"1-{number}" for number in range(1, 7)]
    assert last.verdict.verdict_id == "1-7"


async def test_a_client_watches_on_over_a_restart(small_bundle: Path, tmp_path: Path) -> None:
    found: list[str] = []
    breaks: list[Exception] = []

    async def collect(anomalies: AsyncIterator[anomaly_pb2.Anomaly]) -> None:
        async for one in anomalies:
            found.append(one.verdict.verdict_id)  # noqa: PERF401 - looked at while it grows

    async with served(small_bundle, tmp_path) as up:
        address = up.address
        client = AsyncDeepLogClient(address)
        watching = asyncio.create_task(collect(client.watch_anomalies(on_break=breaks.append)))
        while not found:  # nothing tells when a watch has begun
            await up.alarm(Fault.SLOW)
            await asyncio.sleep(0.02)
        stored = len(await up.stored())
    async with served(small_bundle, tmp_path, listen=address) as up:
        (new,) = await up.alarm(Fault.UNSEEN_KEY)
        await until(lambda: new.verdict_id in found)
        everything = names(await up.stored())[::-1]
    await client.close()
    async with asyncio.timeout(BOUND_S):
        await watching
    assert breaks
    assert len(everything) == stored + 1
    assert found == everything[everything.index(found[0]) :]


async def test_groups_are_counted_and_muted_for_a_while(small_bundle: Path, tmp_path: Path) -> None:
    async with served(small_bundle, tmp_path) as up:
        alarms = [(await up.alarm(Fault.UNSEEN_KEY, seed=seed))[0] for seed in (0, 0, 0)]
        await up.alarm(Fault.SLOW)
        slow, unseen = [one async for one in up.client.anomaly_groups(page_size=1)]
        assert (slow.kind, unseen.kind) == (verdict_pb2.KIND_PARAMETER_VALUE, verdict_pb2.KIND_UNSEEN_KEY)
        assert (unseen.count, unseen.open_count, unseen.state) == (3, 3, OPEN)
        assert unseen.last_verdict_id == alarms[-1].verdict_id
        assert "database connection lost" in unseen.template

        until_ns = time.time_ns() + int(0.3 * NS)
        muted = await up.client.mute_group(unseen.group_id, muted_until_unix_nano=until_ns)
        assert muted.muted_until_unix_nano == until_ns
        (while_muted,) = await up.alarm(Fault.UNSEEN_KEY)
        shown = [one.group_id async for one in up.client.anomaly_groups(exclude_muted=True)]
        assert shown == [slow.group_id]
        (found,) = await up.stored(verdict_ids=[while_muted.verdict_id])
        assert found.is_muted
        await asyncio.sleep(max(0.0, (until_ns - time.time_ns()) / NS))
        (found,) = await up.stored(verdict_ids=[while_muted.verdict_id])
        assert not found.is_muted
        assert len([one async for one in up.client.anomaly_groups(exclude_muted=True)]) == 2
        await up.client.mute_group(slow.group_id, muted_until_unix_nano=2**64 - 1)
        ended = await up.client.mute_group(slow.group_id, muted_until_unix_nano=0)
        assert ended.muted_until_unix_nano == 0

        answer = await up.client.feedback(FALSE_POSITIVE, group_id=unseen.group_id)
        still_open = [one.group_id async for one in up.client.anomaly_groups(states=[OPEN])]
        (told,) = [one async for one in up.client.anomaly_groups(states=[anomaly_pb2.ANOMALY_STATE_FALSE_POSITIVE])]
        assert answer.outcome == feedback_pb2.FEEDBACK_OUTCOME_LEARNED
        assert still_open == [slow.group_id]
        assert (told.group_id, told.count, told.open_count) == (unseen.group_id, 4, 0)


async def test_a_range_of_time_is_learned_without_what_was_confirmed(small_bundle: Path, tmp_path: Path) -> None:
    async with served(small_bundle, tmp_path) as up:

        async def alarm(body: str, session: str, at_s: float) -> str:
            entries = with_message(body, session=session)
            for place, one in enumerate(entries):
                one.time_unix_nano = int((at_s + place) * NS)
            return next(one.verdict_id for one in await up.score(entries) if one.verdict_id)

        bodies = list(messages(6))
        before = await alarm(bodies[0], "before", LATER_S)
        bad = await alarm(bodies[1], "bad", LATER_S + 100)
        inside = await alarm(bodies[2], "inside", LATER_S + 1_000)
        beside = await alarm(bodies[3], "bad", LATER_S + 1_100)  # of a session that was confirmed outside the range
        like_bad = await alarm(bodies[1], "like bad", LATER_S + 1_200)
        after = await alarm(bodies[4], "after", LATER_S + 2_000)
        await up.client.feedback(CONFIRMED, verdict_id=bad)
        order: Any = {
            "from_unix_nano": int((LATER_S + 1_000) * NS),
            "to_unix_nano": int((LATER_S + 2_000) * NS),
            "feedback_id": "adapt",
        }
        answer = await up.client.adapt(**order)
        again = await up.client.adapt(**order)
        with pytest.raises(InputError, match="no open anomaly"):
            await up.client.adapt(from_unix_nano=int((LATER_S + 5_000) * NS))
        states = await up.states([before, bad, inside, beside, like_bad, after])
        (version, *_) = await up.client.model_versions()
        is_known = [one.kind for one in await up.score(with_message(bodies[2]))]
    assert (answer.outcome, answer.case_count) == (feedback_pb2.FEEDBACK_OUTCOME_LEARNED, 1)
    assert (again.is_repeat, again.model_version) == (True, 4)
    assert states == ["OPEN", "CONFIRMED", "FALSE_POSITIVE", "OPEN", "OPEN", "OPEN"]
    assert (version.version, version.cause) == (4, model_pb2.VERSION_CAUSE_ADAPT)
    assert set(is_known) == {verdict_pb2.KIND_NORMAL}


async def test_a_rise_that_lasts_is_drift_until_it_is_learned(small_bundle: Path, tmp_path: Path) -> None:
    drift = DriftConfig(window_s=60, windows=2, min_entries=20)
    async with served(small_bundle, tmp_path, state={"drift": drift}) as up:
        for minute in range(30):
            fault = Fault.UNSEEN_KEY if minute >= 10 else None
            for place in range(3):
                await up.score(order_of(fault, seed=place, at_s=LATER_S + 60 * minute + place))
            if minute == 8:
                quiet = await up.client.drift()
        report = await up.client.drift()
        await up.client.adapt()
        learned = await up.client.drift()
    assert (quiet.is_drifting, quiet.alarm_share, quiet.since_unix_nano) == (False, 0, 0)
    assert report.is_drifting
    assert LATER_S + 500 < report.since_unix_nano / NS < LATER_S + 800
    assert report.alarm_share > 0.05 > report.usual_alarm_share
    assert "database connection lost" in report.parts[0].template
    assert (report.application, report.window_s) == ("orders", 60)
    assert not learned.is_drifting


async def test_a_rollback_judges_as_the_old_version_did(small_bundle: Path, tmp_path: Path) -> None:
    async def run(up: Served, *, is_changed: bool) -> list[bytes]:
        (unseen,), (slow,) = await up.alarm(Fault.UNSEEN_KEY, session="a"), await up.alarm(Fault.SLOW, session="b")
        if is_changed:
            for number, name in enumerate((unseen.verdict_id, slow.verdict_id)):
                await up.client.feedback(FALSE_POSITIVE, verdict_id=name, feedback_id=f"f-{number}")
            assert await probed(up, "changed") != await probed(up, "plain")
            made = await up.client.rollback_model(3, feedback_id="back", actor="ann", note="too much")
            again = await up.client.rollback_model(3, feedback_id="back", actor="ann", note="too much")
            assert (made.version, made.parent, made.cause) == (6, 3, model_pb2.VERSION_CAUSE_ROLLBACK)
            assert (made.actor, made.note, made.is_current, again) == ("ann", "too much", True, made)
        else:
            await probed(up, "changed")
            await probed(up, "plain")
        return await probed(up, "probe")

    async with served(small_bundle, tmp_path / "changed") as up:
        rolled_back = await run(up, is_changed=True)
        (again,) = await up.alarm(Fault.SLOW)
        answer = await up.client.feedback(FALSE_POSITIVE, verdict_id=again.verdict_id)
        kept = [(one.version, one.parent) for one in await up.client.model_versions()]
    async with served(small_bundle, tmp_path / "plain") as up:
        plain = await run(up, is_changed=False)
    assert rolled_back == plain
    assert (answer.outcome, answer.model_version) == (feedback_pb2.FEEDBACK_OUTCOME_LEARNED, 7)
    assert answer.check.lessons == 0
    assert kept == [(7, 6), (6, 3), (5, 4), (4, 3), (3, 0)]


async def test_a_version_that_is_no_longer_kept_is_not_gone_back_to(small_bundle: Path, tmp_path: Path) -> None:
    async with served(small_bundle, tmp_path, state={"keep_versions": 2}) as up:
        for number, body in enumerate(messages(4)):
            found = await up.score(with_message(body))
            name = next(one.verdict_id for one in found if one.verdict_id)
            await up.client.feedback(FALSE_POSITIVE, verdict_id=name)
            if number == 1:
                early = await up.client.rollback_model(4, feedback_id="early")
        kept = {one.version: one.is_kept for one in await up.client.model_versions()}
        with pytest.raises(InputError, match=r"version 4 is no longer kept \(state.keep_versions\)"):
            await up.client.rollback_model(4)
        again = await up.client.rollback_model(4, feedback_id="early")  # the same order, answered as before
        base = await up.client.rollback_model(3)
    assert kept == {8: True, 7: True, 6: False, 5: False, 4: False, 3: True}
    assert (early.version, again.version, base.version) == (6, 6, 9)
