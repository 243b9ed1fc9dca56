"""Score and Parse over a real socket."""

import asyncio
from typing import Any

import grpc
import numpy as np
import pytest
from structlog.testing import capture_logs

from deeplog_grpc.detection.entries import EntryBatch
from deeplog_grpc.errors import InputError, RefusedError
from deeplog_grpc.ingest import IngestConfig
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from deeplog_grpc.v1 import parameter_pb2
from deeplog_grpc.v1.log_entry_pb2 import LogEntry
from deeplog_grpc.v1.verdict_pb2 import Verdict
from tests.integration.server_harness import BOUND_S, Running, details, entries, request, running, status_in, until
from tests.unit.serving.fake_detector import FakeDetector

BODIES = ["open a", "write b", "odd c", "end d", "new e", "end f"]


def _as_dict(message: Verdict) -> dict[str, object]:
    return {
        "index": message.index,
        "kind": message.kind,
        "key": message.key,
        "template": message.template,
        "parameters": tuple(message.parameters),
        "score": message.score,
        "rank": message.rank,
        "probability": message.probability,
        "candidates": tuple((c.key, c.template, c.probability) for c in message.candidates),
        "window": tuple(message.window),
        "session": message.session,
        "reason": message.reason,
        "model_version": message.model_version,
    }


async def test_full_verdicts_are_those_of_the_detector_in_process() -> None:
    scored = FakeDetector().score(EntryBatch.of(BODIES, sessions=["s"] * len(BODIES)))
    async with running() as up:
        options = pb.ScoreOptions(detail=pb.VERDICT_DETAIL_FULL)
        response = await up.client.score(entries(BODIES), options=options)
    for messages, verdicts in ((response.verdicts, scored.rows), (response.session_ends, scored.session_ends)):
        expected = [
            {name: getattr(verdict, name) for name in _as_dict(Verdict()) if name != "candidates"}
            | {"candidates": tuple((c.key, c.template, c.probability) for c in verdict.candidates)}
            for verdict in verdicts
        ]
        assert [_as_dict(message) for message in messages] == expected
    assert (response.entry_count, response.anomaly_count, response.session_end_count) == (6, 2, 2)


async def test_a_short_verdict_leaves_out_the_evidence_and_an_anomaly_is_always_full() -> None:
    async with running() as up:
        response = await up.client.score(entries(["open a", "odd b"], entry_id="id", time_unix_nano=5))
    short, full = response.verdicts
    assert (short.entry_id, short.time_unix_nano, short.application, short.session) == ("id", 5, "app", "s")
    assert not short.template
    assert not short.candidates
    assert (full.template, list(full.parameters), list(full.window)) == ("key3 <*>", ["b"], [0])
    assert len(full.candidates) == 1
    assert full.reason


async def test_anomalies_only_leaves_out_what_is_normal_and_still_counts_it() -> None:
    async with running() as up:
        options = pb.ScoreOptions(selection=pb.VERDICT_SELECTION_ANOMALIES)
        response = await up.client.score(entries(["open", "write", "odd", "end", "open", "end"]), options=options)
    assert [verdict.index for verdict in response.verdicts] == [2]
    assert [end.index for end in response.session_ends] == [5]
    assert (response.entry_count, response.anomaly_count, response.session_end_count) == (6, 1, 2)


async def test_entries_of_several_applications_are_answered_in_the_order_of_the_request() -> None:
    mixed = [LogEntry(body="end", session=f"s{i}", application=("one", "two")[i % 2]) for i in range(6)]
    async with running("one", "two") as up:
        response = await up.client.score(mixed)
        assert up.detectors["one"].batch_sizes == up.detectors["two"].batch_sizes == [3]
    assert [(v.index, v.application, v.session) for v in response.verdicts] == [
        (i, ("one", "two")[i % 2], f"s{i}") for i in range(6)
    ]
    assert [end.session for end in response.session_ends] == [f"s{i}" for i in range(6)]


@pytest.mark.parametrize(
    ("bad", "field", "reason"),
    [
        (LogEntry(), "body", "EMPTY_BODY"),
        (LogEntry(body="x" * 101), "body", "BODY_TOO_LONG"),
        (LogEntry(body="x", entry_id="i" * 41), "entry_id", "ID_TOO_LONG"),
        (LogEntry(body="x", session="i" * 41), "session", "ID_TOO_LONG"),
        (LogEntry(body="x", source="i" * 41), "source", "ID_TOO_LONG"),
        (LogEntry(body="x", attributes={"a": "", "b": "", "c": ""}), "attributes", "TOO_MANY_ATTRIBUTES"),
        (LogEntry(body="x", time_unix_nano=2**63), "time_unix_nano", "TIME_OUT_OF_RANGE"),
        (LogEntry(body="x", application="nope"), "application", "UNKNOWN_APPLICATION"),
        (LogEntry(body="x"), "application", "NO_APPLICATION"),
    ],
)
async def test_a_bad_entry_is_named_and_its_neighbours_are_judged(bad: LogEntry, field: str, reason: str) -> None:
    good = [LogEntry(body="open", session="s", application="one"), LogEntry(body="odd", application="two")]
    if field != "application":
        bad.application = "one"
    limits = IngestConfig(max_body_bytes=100, max_attributes=2, max_id_bytes=40)
    async with running("one", "two", ingest=limits) as up:
        response = await up.client.score([good[0], bad, good[1]])
    (error,) = response.errors
    assert (error.index, error.field, error.reason) == (1, f"entries[1].{field}", reason)
    assert error.message
    assert [verdict.index for verdict in response.verdicts] == [0, 2]
    assert response.entry_count == 2


async def test_broken_utf8_costs_neither_the_batch_nor_the_entry() -> None:
    marked = request(["open MARK", "write b"], options=pb.ScoreOptions(detail=pb.VERDICT_DETAIL_FULL))
    broken = marked.SerializeToString().replace(b"MARK", b"\xff\xfeAB")
    async with running() as up:
        response = pb.ScoreResponse.FromString(await up.raw("Score")(broken, timeout=BOUND_S))
    assert [list(verdict.parameters) for verdict in response.verdicts] == [["��AB"], ["b"]]
    assert not response.errors


async def test_the_session_comes_from_the_first_configured_attribute_with_a_value() -> None:
    cases = [
        LogEntry(body="open", attributes={"trace_id": "t", "request_id": "r"}),
        LogEntry(body="open", attributes={"trace_id": "", "request_id": "r"}),
        LogEntry(body="open", attributes={"trace_id": "t"}, session="own"),
        LogEntry(body="open", source="host"),
        LogEntry(body="open"),
    ]
    async with running() as up:
        response = await up.client.score(cases, options=pb.ScoreOptions(source="default"))
    assert [verdict.session for verdict in response.verdicts] == ["t", "r", "own", "host", "default"]


async def test_a_flush_ends_the_named_sessions_or_all() -> None:
    three = [LogEntry(body="open", session=name) for name in "abc"]
    async with running() as up:
        named = await up.client.score(three, flush=pb.Flush(sessions=["b", "unknown"]))
        rest = await up.client.score([], flush=pb.Flush())
    assert [(end.session, end.index, end.entry_id) for end in named.session_ends] == [("b", 3, "")]
    assert [end.session for end in rest.session_ends] == ["a", "c"]
    assert rest.session_end_count == 2
    assert rest.entry_count == 0


async def test_parse_gives_keys_parameters_and_what_is_new() -> None:
    async with running() as up:
        response = await up.client.parse(["open a b", "open c", "what"])
    assert [(b.key, b.template, list(b.parameters), b.is_new) for b in response.bodies] == [
        (0, "key0 <*>", ["a", "b"], True),
        (0, "key0 <*>", ["c"], False),
        (99, "key99 <*>", [], True),
    ]


async def test_parse_gives_typed_parameters_and_what_changed() -> None:
    async with running() as up:
        response = await up.client.parse(["open 5s /var/log", "open a long", "open 0x1f"])
    first, second, third = response.bodies
    assert [parameter_pb2.ValueKind.Name(p.kind) for p in first.typed_parameters] == [
        "VALUE_KIND_DURATION",
        "VALUE_KIND_PATH",
    ]
    duration, path = first.typed_parameters
    assert (duration.text, duration.start, duration.end, duration.number, duration.unit) == ("5s", 5, 7, 5000, "ms")
    assert (path.HasField("number"), path.unit, third.typed_parameters[0].HasField("number")) == (False, "", False)
    assert [body.is_changed for body in (first, second, third)] == [False, True, False]


@pytest.mark.parametrize(
    ("method", "message", "field"),
    [
        ("Score", pb.ScoreRequest(), "entries"),
        ("Score", request(["x"] * 4), "entries"),
        ("Score", request(["x"], options=pb.ScoreOptions(selection=9)), "options.selection"),  # type: ignore[arg-type]
        ("Score", request(["x"], options=pb.ScoreOptions(detail=9)), "options.detail"),  # type: ignore[arg-type]
        ("Score", request(["x"], options=pb.ScoreOptions(application="no")), "options.application"),
        ("Score", request(["x"], options=pb.ScoreOptions(source="i" * 2000)), "options.source"),
        ("Score", pb.ScoreRequest(flush=pb.Flush(application="no")), "flush.application"),
        ("Score", pb.ScoreRequest(flush=pb.Flush(sessions=list("abcd"))), "flush.sessions"),
        ("Score", request(["", ""]), "entries[0].body"),
        ("Parse", pb.ParseRequest(), "bodies"),
        ("Parse", pb.ParseRequest(bodies=list("abcd")), "bodies"),
        ("Parse", pb.ParseRequest(bodies=["a", ""]), "bodies[1]"),
        ("Parse", pb.ParseRequest(bodies=["a"], application="no"), "application"),
    ],
)
async def test_a_request_that_is_wrong_as_a_whole_names_the_field(
    method: str, message: pb.ScoreRequest | pb.ParseRequest, field: str
) -> None:
    async with running(ingest=IngestConfig(max_entries_per_request=3)) as up:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await up.raw(method)(message.SerializeToString(), timeout=BOUND_S)
        assert up.detectors["app"].calls == []
    status = status_in(caught.value)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    found = details(status)
    assert found["BadRequest"].field_violations[0].field == field
    assert (found["ErrorInfo"].reason, found["ErrorInfo"].domain) == ("INVALID_INPUT", "deeplog-grpc")


async def test_the_known_applications_are_named_and_all_bad_entries_up_to_ten() -> None:
    async with running("one", "two") as up:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await up.score(request(["x"] * 500))
    violations = details(status_in(caught.value))["BadRequest"].field_violations
    assert [violation.field for violation in violations] == [f"entries[{i}].application" for i in range(10)]
    assert "one, two" in violations[0].description
    assert len(status_in(caught.value).SerializeToString()) < 4096


async def test_bytes_that_are_no_message_are_an_invalid_argument() -> None:
    async with running() as up:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await up.raw("Score")(b"\x0a\xff", timeout=BOUND_S)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_message_beyond_the_limit_is_refused_and_the_server_lives() -> None:
    async with running(max_message_bytes=2**16) as up:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await up.score(request(["x" * 2**17]))
        assert (await up.score(request(["open"]))).entry_count == 1
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("method", ["Score", "Parse"])
async def test_an_unexpected_error_is_retryable_and_leaks_no_text(method: str) -> None:
    message = request(["crash me"]) if method == "Score" else pb.ParseRequest(bodies=["crash me"])
    async with running() as up:
        with capture_logs() as logs, pytest.raises(grpc.aio.AioRpcError) as caught:
            await up.raw(method)(message.SerializeToString(), timeout=BOUND_S)
        assert (await up.score(request(["open"]))).entry_count == 1
    found = details(status_in(caught.value))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert found["ErrorInfo"].reason == "INTERNAL_RETRY"
    assert found["RetryInfo"].retry_delay.seconds == 1
    assert dict(caught.value.trailing_metadata() or ())["grpc-retry-pushback-ms"] == "1000"
    assert "secret" not in repr(caught.value)
    (entry,) = [entry for entry in logs if entry["log_level"] == "error"]
    assert entry["error_type"] == "RuntimeError"
    assert "fake_detector.py" in entry["where"][-1]
    assert "secret" not in str(logs)


async def test_a_detector_that_fails_costs_only_the_jobs_that_it_had() -> None:
    async with running("one", "two") as up:
        with up.server.queue.hold():
            calls = [
                asyncio.create_task(up.score(request([body], options=pb.ScoreOptions(application=application))))
                for application, body in (("one", "crash"), ("two", "open"))
            ]
            await until(lambda: up.server.queue.waiting_entries == 2)
        failed, good = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(failed, grpc.aio.AioRpcError)
    assert isinstance(good, pb.ScoreResponse)


async def test_jobs_that_waited_together_are_scored_together_and_answered_apart() -> None:
    async with running() as up:
        with up.server.queue.hold():
            calls = []
            for number in range(3):  # one after the other: the order of acceptance is the order of scoring
                calls.append(asyncio.create_task(up.score(request(["open", "odd", "end"]))))
                await until(lambda expected=3 * (number + 1): up.server.queue.waiting_entries == expected)  # type: ignore[misc]
        responses = await asyncio.gather(*calls)
        assert up.detectors["app"].batch_sizes == [9]
        assert up.detectors["app"].threads == {"scoring_0"}
    for response in responses:
        assert [verdict.rank for verdict in response.verdicts] == [1, 2, 3]
        assert [end.index for end in response.session_ends] == [2]


async def test_a_flush_in_between_divides_the_jobs_that_waited_together() -> None:
    async with running() as up:
        with up.server.queue.hold():
            calls = []
            for number in range(3):
                message = request(["open"], flush=pb.Flush() if number == 1 else None)
                calls.append(asyncio.create_task(up.score(message)))
                await until(lambda expected=number + 1: up.server.queue.waiting_entries == expected)  # type: ignore[misc]
        responses = await asyncio.gather(*calls)
        assert up.detectors["app"].calls == ["score", "flush", "score"]
    assert [response.verdicts[0].rank for response in responses] == [1, 2, 1]
    assert [len(response.session_ends) for response in responses] == [0, 1, 0]


async def _fill(up: Running, count: int) -> "asyncio.Task[pb.ScoreResponse]":
    call = asyncio.create_task(up.score(request(["open"] * count)))
    await until(lambda: up.server.queue.waiting_entries == count)
    return call


async def test_a_full_queue_refuses_with_a_time_to_come_back() -> None:
    limits = IngestConfig(max_entries_per_request=10)
    async with running(ingest=limits, max_queue_entries=10) as up:
        with up.server.queue.hold():
            waiting = await _fill(up, 8)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await up.score(request(["open"] * 3))
        assert (await waiting).entry_count == 8
        assert (await up.score(request(["open"] * 3))).entry_count == 3
    found = details(status_in(caught.value))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert found["ErrorInfo"].reason == "QUEUE_FULL"
    delay_s = found["RetryInfo"].retry_delay.ToNanoseconds() / 1e9
    assert 0.08 <= delay_s <= 0.12


async def test_the_queue_is_bounded_in_bytes_too() -> None:
    async with running(max_queue_bytes=2**16, max_message_bytes=2**16) as up:
        with up.server.queue.hold():
            waiting = asyncio.create_task(up.score(request(["x" * 40_000])))
            await until(lambda: up.server.queue.waiting_entries == 1)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await up.score(request(["x" * 40_000]))
        assert (await waiting).entry_count == 1
    assert details(status_in(caught.value))["ErrorInfo"].reason == "QUEUE_FULL"


async def test_a_cancelled_or_expired_request_is_never_scored() -> None:
    async with running(max_wait_s=0.05) as up:
        with up.server.queue.hold():
            cancelled = await _fill(up, 3)
            cancelled.cancel()
            expired = asyncio.create_task(up.score(request(["open"])))
            await until(lambda: up.server.queue.waiting_entries == 4)
            over = asyncio.get_running_loop().time() + 0.05
            await until(lambda: asyncio.get_running_loop().time() > over)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await expired
        await until(lambda: up.server.queue.waiting_entries == 0)
        assert up.detectors["app"].batch_sizes == []
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert details(status_in(caught.value))["ErrorInfo"].reason == "EXPIRED"


async def test_the_client_raises_the_errors_of_the_package() -> None:
    async with running() as up:
        with pytest.raises(InputError) as caught:
            await up.client.score([])
    assert (caught.value.field, str(caught.value)) == ("entries", "entries: must not be empty: send log entries")


async def test_the_client_waits_out_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = IngestConfig(max_entries_per_request=10)
    async with running(ingest=limits, max_queue_entries=10) as up:
        refusals: list[RefusedError] = []
        check_room = up.server.queue.check_room

        def watched(*args: Any, **named: Any) -> Any:
            try:
                return check_room(*args, **named)
            except RefusedError as error:
                refusals.append(error)
                raise

        monkeypatch.setattr(up.server.queue, "check_room", watched)
        with up.server.queue.hold():
            waiting = await _fill(up, 10)
            patient = asyncio.create_task(up.client.score(entries(["open"])))
            await until(lambda: bool(refusals))
        assert (await waiting).entry_count == 10
        assert (await patient).entry_count == 1


async def test_scoring_goes_on_while_arrival_order_decides_the_verdicts() -> None:
    """The same entries in requests of 1, 7 and 50 get the same verdicts."""
    bodies = [("open", "write", "odd", "end")[i % 4 if i % 7 else 0] for i in range(50)]
    outcomes = []
    for size in (1, 7, 50):
        async with running() as up:
            responses = [await up.client.score(entries(bodies[at : at + size])) for at in range(0, 50, size)]
        outcomes.append([(v.kind, v.key, v.rank) for response in responses for v in response.verdicts])
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert np.unique([rank for _, _, rank in outcomes[0]]).size > 3


async def test_a_new_key_that_was_judged_as_a_known_one_is_named_in_short_verdicts_too() -> None:
    async with running() as up:
        response = await up.client.score(entries(["open a", "write rephrased"]))
    assert [verdict.HasField("stands_for") for verdict in response.verdicts] == [False, True]
    assert (response.verdicts[1].stands_for, response.verdicts[1].reason) == (0, "")
