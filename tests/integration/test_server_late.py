"""Sessions that hang while no entries come: their ends reach a client when their time-out passes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
from structlog.testing import capture_logs

from deeplog_grpc.client import AsyncDeepLogClient, StreamItem
from deeplog_grpc.detection import Detector
from deeplog_grpc.ingest import IngestConfig
from deeplog_grpc.serving import Server, ServerConfig
from deeplog_grpc.testing import Fault
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from deeplog_grpc.v1 import verdict_pb2
from deeplog_grpc.v1.log_entry_pb2 import LogEntry
from tests.integration.server_harness import BOUND_S, Running, entries, running, until
from tests.trained import LATER_S, order

TIMEOUT_NS = 200_000_000
IN_2008_NS = 1_200_000_000 * 10**9
FAST: dict[str, Any] = {"timeout_ns": TIMEOUT_NS, "tick_s": 0.02}
TIMEOUT = verdict_pb2.SESSION_END_REASON_TIMEOUT
CONFIG = pb.StreamScoreRequest(config=pb.StreamConfig())


def old(session: str, count: int = 1, **fields: Any) -> list[LogEntry]:
    """Entries of an old log; three of a session are a normal one."""
    return entries(["open"] * count, session=session, time_unix_nano=IN_2008_NS, **fields)


async def opened(up: Running, *batches: list[LogEntry], config: pb.StreamScoreRequest = CONFIG) -> Any:
    """A stream that had its answers to some batches."""
    call = up.stream()
    await call.write(config)
    await call.read()
    for sequence, batch in enumerate(batches):
        await call.write(pb.StreamScoreRequest(batch=pb.EntryBatch(sequence=sequence, entries=batch)))
        assert (await call.read()).result.sequence == sequence
    return call


async def test_an_open_stream_is_told_at_once_and_its_pairing_goes_on() -> None:
    async with running(**FAST) as up:
        call = await opened(up, [*old("hangs"), *old("done", 3)])
        late = (await call.read()).late
        assert (late.entry_count, late.session_end_count, late.late_end_count) == (0, 2, 2)
        assert {end.session: end.kind for end in late.session_ends} == {
            "hangs": verdict_pb2.KIND_INCOMPLETE_SESSION,
            "done": verdict_pb2.KIND_NORMAL,
        }
        for end in late.session_ends:
            assert (end.session_end, end.index, end.entry_id, end.application) == (TIMEOUT, 0, "", "app")
            assert end.time_unix_nano == IN_2008_NS + TIMEOUT_NS
        await call.write(pb.StreamScoreRequest(batch=pb.EntryBatch(sequence=7, entries=old("next", 3))))
        result = (await call.read()).result
        assert (result.sequence, list(result.response.session_ends)) == (7, [])
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        assert up.detectors["app"].threads == {"scoring_0"}
    assert not len(up.server.late)


async def test_the_options_of_the_stream_apply() -> None:
    options = pb.ScoreOptions(selection=pb.VERDICT_SELECTION_ANOMALIES)
    config = pb.StreamScoreRequest(config=pb.StreamConfig(options=options))
    async with running(**FAST) as up:
        call = await opened(up, [*old("hangs"), *old("done", 3)], config=config)
        late = (await call.read()).late
        call.cancel()
    assert [end.session for end in late.session_ends] == ["hangs"]
    assert (late.session_end_count, late.late_end_count) == (2, 1)


async def test_of_several_streams_the_last_one_that_sent_entries_of_the_application_is_told() -> None:
    async with running("one", "two", **FAST) as up:
        first = await opened(up, old("a", application="one"))
        second = await opened(up, old("b", application="one"))
        third = await opened(up, old("c", application="two"))
        assert {end.session for end in (await second.read()).late.session_ends} == {"a", "b"}
        assert [end.session for end in (await third.read()).late.session_ends] == ["c"]
        for call in (first, second, third):
            await call.done_writing()
            assert await call.read() is grpc.aio.EOF


async def test_without_a_stream_they_come_once_with_the_next_answer() -> None:
    async with running(**FAST) as up:
        gone = await opened(up, old("streamed"))
        await gone.done_writing()
        assert await gone.read() is grpc.aio.EOF
        await up.client.score(old("unary"))
        await until(lambda: len(up.server.late) == 2)
        response = await up.client.score(entries(["end"], session="x", time_unix_nano=IN_2008_NS))
        again = await up.client.score(old("y"))
    assert [end.session for end in response.session_ends[: response.late_end_count]] == ["streamed", "unary"]
    assert [end.session for end in response.session_ends[response.late_end_count :]] == ["x"]
    assert response.session_end_count == 3
    assert (again.late_end_count, list(again.session_ends)) == (0, [])


async def test_a_new_stream_gets_them_with_its_first_good_result() -> None:
    async with running(**FAST) as up:
        await up.client.score(old("unary"))
        await until(lambda: len(up.server.late) == 1)
        call = up.stream()
        await call.write(CONFIG)
        await call.read()
        for batch in ([], old("x", 3)):
            await call.write(pb.StreamScoreRequest(batch=pb.EntryBatch(entries=batch)))
        bad, good = (await call.read()).result, (await call.read()).result
        call.cancel()
    assert bad.status.code
    assert not bad.response.session_ends
    assert [end.session for end in good.response.session_ends] == ["unary"]


async def test_the_client_gives_them_at_once_or_with_the_next_result() -> None:
    def batches(seen: Callable[[], bool]) -> AsyncIterator[StreamItem]:
        async def items() -> AsyncIterator[StreamItem]:
            yield old("hangs")
            await until(seen)
            yield []
            yield old("next", 3)

        return items()

    async with running(**FAST) as up:
        got: list[str | None] = []
        async for message in up.client.responses(batches(lambda: "late" in got)):
            got.append(message.WhichOneof("message"))  # noqa: PERF401 - the batches look at it
        assert got == ["result", "late", "result", "result"]

    async with running(**FAST) as up:
        ticked = up.detectors["app"].calls
        results = [result async for result in up.client.stream(batches(lambda: "advance" in ticked))]
    assert [result.sequence for result in results] == [0, 1, 2]
    assert [len(result.response.session_ends) for result in results] == [0, 0, 1]
    assert (results[2].response.late_end_count, results[2].response.session_end_count) == (1, 1)


async def test_null_turns_it_off_and_a_session_without_end_costs_no_tick() -> None:
    async with running(timeout_ns=1, tick_s=None) as off, running(timeout_ns=60 * 10**9, tick_s=0.01) as idle:
        for up in (off, idle):
            await up.client.score(old("hangs"))
        await asyncio.sleep(0.2)
        assert off.detectors["app"].calls == idle.detectors["app"].calls == ["score"]


async def test_a_tick_that_fails_is_logged_without_text_and_tried_again() -> None:
    with capture_logs() as logs:
        async with running(**FAST) as up:
            up.detectors["app"].broken = True
            await up.client.score(old("hangs"))
            await until(lambda: up.detectors["app"].calls.count("advance") >= 2)
            up.detectors["app"].broken = False
            await until(lambda: len(up.server.late) == 1)
    assert {entry["error_type"] for entry in logs if entry["log_level"] == "error"} == {"RuntimeError"}
    assert "secret" not in str(logs)


async def test_a_stop_during_a_tick_still_tells_the_stream_and_what_nobody_took_is_logged() -> None:
    with capture_logs() as logs:
        async with running("one", "two", stop=False, **FAST) as up:
            call = await opened(up, old("a", application="one"))
            await up.client.score(old("b", application="two"))
            with up.server.queue.hold():
                await asyncio.sleep(2 * TIMEOUT_NS / 1e9)  # a tick is due, and waits
                stopping = asyncio.create_task(up.server.stop())
                await asyncio.sleep(0.02)
            assert [end.session for end in (await call.read()).late.session_ends] == ["a"]
            async with asyncio.timeout(BOUND_S):
                await stopping
    lost = [entry["count"] for entry in logs if entry["event"] == "ends of sessions that no client was told of"]
    assert lost == [1]


async def test_a_hanging_order_is_reported_by_the_trained_model(new_detector: Callable[..., Detector]) -> None:
    detector = new_detector(timeout_s=1.0)
    server = Server({"orders": detector}, ServerConfig(listen="127.0.0.1:0", tick_s=0.1), IngestConfig())
    address = f"127.0.0.1:{await server.start()}"
    truncated = order(fault=Fault.TRUNCATED)
    found = asyncio.Event()

    async def items() -> AsyncIterator[StreamItem]:
        for body in truncated.bodies:
            yield [LogEntry(body=body, time_unix_nano=int(LATER_S * 1e9))]
        await found.wait()

    async with AsyncDeepLogClient(address) as client, asyncio.timeout(BOUND_S):
        ends: list[verdict_pb2.Verdict] = []
        async for message in client.responses(items()):
            if message.WhichOneof("message") == "late":
                ends += message.late.session_ends
                found.set()
    await server.stop()
    assert [(end.kind, end.session_end) for end in ends] == [(verdict_pb2.KIND_INCOMPLETE_SESSION, TIMEOUT)]
    assert ends[0].time_unix_nano == int((LATER_S + 1.0) * 1e9)
    assert "expected" in ends[0].reason
