"""The server benchmarks: what they send, when, and how figures are made of what they find."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

echo: Any = pytest.importorskip("benchmarks.echo")
load: Any = pytest.importorskip("benchmarks.load")
hdfs: Any = pytest.importorskip("benchmarks.hdfs")
clients: Any = pytest.importorskip("benchmarks.latency_clients")
latency: Any = pytest.importorskip("benchmarks.speed_latency")
memory: Any = pytest.importorskip("benchmarks.speed_memory")
workers: Any = pytest.importorskip("benchmarks.speed_workers")

LINES = [
    f"081109 20361{second} 143 INFO dfs.Node: step {second} of blk_{block}" for second in range(3) for block in (7, 8)
]


@pytest.mark.parametrize(("share", "expected_ms"), [(0.5, 50.0), (0.99, 99.0), (0.999, 100.0), (1.0, 100.0)])
def test_a_percentile_is_a_latency_that_was_seen(share: float, expected_ms: float) -> None:
    assert load.percentile_ms([ms / 1e3 for ms in range(100, 0, -1)], share) == pytest.approx(expected_ms)


def test_what_was_due_before_the_client_had_settled_is_left_out() -> None:
    settled = [(latency.SETTLE_S + n, 0.002, 0.0) for n in range(10)]
    found = latency.percentiles([(0.0, 5.0, 5.0), *settled])
    assert found == pytest.approx(
        {"p50_ms": 2.0, "p99_ms": 2.0, "p999_ms": 2.0, "max_ms": 2.0, "client_late_p99_ms": 0.0}
    )


async def test_a_pace_does_not_slow_down_behind_a_sender_that_was_held_up() -> None:
    pace = clients.Pace(start_s=time.monotonic() - 1.0, per_s=100)
    async with asyncio.timeout(30):
        due = [await pace.wait(number) for number in range(110)]
    assert time.monotonic() >= due[-1] == pytest.approx(pace.start_s + 1.09)
    assert due[1] - due[0] == pytest.approx(0.01)


def test_repetitions_are_later_and_have_sessions_of_their_own() -> None:
    first, second = hdfs.repeated(LINES, 2)[:6], hdfs.repeated(LINES, 1, first=2)
    assert hdfs.repeated(LINES, 2) == first + second
    assert {hdfs.block_of(line) for line in first + second} == {"blk_71", "blk_81", "blk_72", "blk_82"}
    ends = [max(line[:13] for line in lines) for lines in (LINES, first)]
    assert ends[0] < min(line[:13] for line in first)
    assert ends[1] < min(line[:13] for line in second)
    assert [line[13:].replace("blk_72", "blk_7").replace("blk_82", "blk_8") for line in second] == [
        line[13:] for line in LINES
    ]


def test_requests_hold_every_entry_once_and_in_order() -> None:
    entries = load.entries_of(LINES)
    scored = [load.pb.ScoreRequest.FromString(raw).entries for raw in load.score_requests(entries, 4)]
    streamed = [load.pb.StreamScoreRequest.FromString(raw).batch.entries for raw in load.stream_requests(entries, 4)]
    for messages in (scored, streamed):
        assert [entry.body for message in messages for entry in message] == [entry.body for entry in entries]
        assert [len(message) for message in messages] == [4, 2]
    exported = [load.otlp.ExportLogsServiceRequest.FromString(raw) for raw in load.export_requests(entries, 4)]
    records = [record for request in exported for record in request.resource_logs[0].scope_logs[0].log_records]
    assert [(record.body.string_value, record.time_unix_nano) for record in records] == [
        (entry.body, entry.time_unix_nano) for entry in entries
    ]


def test_entries_that_no_answer_speaks_of_are_refused() -> None:
    pb = load.pb
    answers = [pb.ScoreResponse(entry_count=3).SerializeToString(), pb.ScoreResponse().SerializeToString()]
    assert load.refused_count("unary", answers, 5) == 2
    result = pb.StreamScoreResponse(result=pb.BatchResult(response=pb.ScoreResponse(entry_count=5)))
    assert load.refused_count("stream", [result.SerializeToString()], 5) == 0
    rejected = load.otlp.ExportLogsServiceResponse()
    rejected.partial_success.rejected_log_records = 4
    assert load.refused_count("otlp", [rejected.SerializeToString()], 5) == 4


@asynccontextmanager
async def echoing(mode: str) -> AsyncIterator[str]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(echo.handlers(mode))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


async def test_a_bare_echo_sends_back_what_came() -> None:
    entries, options = load.entries_of(LINES), load.pb.ScoreOptions()
    scored, streamed = load.score_requests(entries, 4, options), load.stream_requests(entries, 4)
    async with asyncio.timeout(60), echoing("bare") as address:
        assert (await load.unary(address, load.SCORE, scored)).answers == scored
        assert (await load.stream(address, streamed, options)).answers == streamed


async def test_a_reading_echo_counts_the_entries() -> None:
    entries, options = load.entries_of(LINES), load.pb.ScoreOptions()
    async with asyncio.timeout(60), echoing("read") as address:
        found = await load.unary(address, load.SCORE, load.score_requests(entries, 4, options), under_way=2)
        assert load.refused_count("unary", found.answers, len(entries)) == 0
        found = await load.stream(address, load.stream_requests(entries, 4), options)
        assert load.refused_count("stream", found.answers, len(entries)) == 0
        assert len(found.latencies_s) == 2
        exported = await load.unary(address, load.EXPORT, load.export_requests(entries, 4))
        assert exported.answers == [b"", b""]


def test_late_ends_are_told_from_results_without_decoding() -> None:
    pb = load.pb
    assert load.is_late(pb.StreamScoreResponse(late=pb.ScoreResponse(late_end_count=1)).SerializeToString())
    assert not load.is_late(pb.StreamScoreResponse(result=pb.BatchResult(sequence=1)).SerializeToString())
    assert not load.is_late(pb.StreamScoreResponse(ready=pb.StreamReady()).SerializeToString())


def test_begun_sessions_are_all_open_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "SESSION_ENTRIES", 2)
    found = memory.begun_sessions(LINES, 5, number=1)
    sessions = [hdfs.block_of(entry.body) for entry in found]
    assert len(found) == 10
    assert {sessions.count(session) for session in sessions} == {2}
    times = [entry.time_unix_nano for entry in found]
    assert times == sorted(set(times))
    other = memory.begun_sessions(LINES, 5, number=2)
    assert not set(sessions) & {hdfs.block_of(entry.body) for entry in other}
    assert other[0].time_unix_nano > times[-1]


def test_the_busiest_process_limits_what_a_server_can_take() -> None:
    def run(rate: float, front_s: float, *worker_s: float) -> Any:
        return workers.Run(entries_per_s=rate, front_s=front_s, worker_s=worker_s, worker_mb=(100.0,) * len(worker_s))

    alone, shared = run(80_000, 10.0), run(90_000, 2.0, 5.0, 4.0)
    assert alone.capacity == pytest.approx(100_000)
    assert shared.capacity == pytest.approx(200_000)
    figures = workers.figures_of({1: [alone, alone], 2: [shared, shared]})
    assert figures["workers2_ratio"] == pytest.approx(2.0)
    assert figures["workers2_wall_ratio"] == pytest.approx(9 / 8)
    assert figures["workers2_front_share"] == pytest.approx(2 / 11)
    assert figures["worker_mb"] == 100.0
    with_busy_front = run(90_000, 10.0, 5.0, 4.0)
    assert with_busy_front.capacity == alone.capacity
