"""Anomalies as log records: every one arrives, whatever the other side does."""

import asyncio
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from deeplog_grpc.outputs.service import Outputs
from deeplog_grpc.storage import AnomalyStore
from tests.integration.output_harness import Collector, Receiver, running, until
from tests.kept_anomalies import open_store, put


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AnomalyStore]:
    opened = open_store(tmp_path)
    yield opened
    opened.close()


def letters(directory: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / "dead-letters" / f"{name}.jsonl").read_text().splitlines()]


async def test_otlp_tries_again_until_all_arrived(store: AnomalyStore, tmp_path: Path) -> None:
    put(store, 3, body="before")
    async with Collector(grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED).serving() as collector:
        keys = {"type": "otlp", "endpoint": collector.target, "headers": {"Authorization": "Bearer s3cret"}, "batch": 2}
        async with running(store, tmp_path, out=keys) as outputs:
            put(store, 2, body="after")
            await until(lambda: len(collector.bodies) == 5)
            await until(lambda: outputs.status()[0].sent == 5)
    assert collector.bodies == ["before"] * 3 + ["after"] * 2
    assert collector.metadata[0]["authorization"] == "Bearer s3cret"
    log = collector.requests[0].resource_logs[0]
    assert [(one.key, one.value.string_value) for one in log.resource.attributes] == [
        ("service.name", "shop"),
        ("deeplog.output", "out"),
    ]
    said = {one.key: one.value for one in log.scope_logs[0].log_records[0].attributes}
    assert said["deeplog.kind"].string_value == "unseen_key"
    assert said["deeplog.key"].int_value == 7
    assert said["deeplog.diagnosis"].string_value == "no task has it"
    assert log.scope_logs[0].log_records[0].severity_text == "WARN"
    assert log.scope_logs[0].log_records[0].time_unix_nano == 1_700_000_000_000_000_001


async def test_otlp_waits_as_long_as_it_is_asked_to(store: AnomalyStore, tmp_path: Path) -> None:
    put(store)
    async with Collector(grpc.StatusCode.RESOURCE_EXHAUSTED, retry_after_s=1).serving() as collector:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        async with running(store, tmp_path, out={"type": "otlp", "endpoint": collector.target}):
            await until(lambda: bool(collector.bodies))
        assert loop.time() - begin >= 1


async def test_what_is_refused_becomes_a_dead_letter_and_its_neighbours_arrive(
    store: AnomalyStore, tmp_path: Path
) -> None:
    for body in ("a", "b", "bad", "c", "d"):
        put(store, body=body)
    async with (
        Collector(refuse="bad").serving() as collector,
        running(store, tmp_path, out={"type": "otlp", "endpoint": collector.target}) as outputs,
    ):
        await until(lambda: len(collector.bodies) == 4 and outputs.status()[0].refused == 1)
    assert collector.bodies == ["a", "b", "c", "d"]
    (letter,) = letters(tmp_path, "out")
    assert (letter["error"], letter["answer"], letter["letter"]["body"]) == (
        "INVALID_ARGUMENT",
        "I do not like bad",
        "bad",
    )


async def test_it_goes_on_where_it_was_after_a_restart(store: AnomalyStore, tmp_path: Path) -> None:
    async with Collector().serving() as collector:
        keys = {"type": "otlp", "endpoint": collector.target, "start": "now"}
        put(store, body="before the output was there")
        async with running(store, tmp_path, out=keys):
            put(store, body="first")
            await until(lambda: len(collector.bodies) == 1)
        put(store, body="while it was away")
        async with running(store, tmp_path, out=keys):
            put(store, body="second")
            await until(lambda: len(collector.bodies) == 3)
    assert collector.bodies == ["first", "while it was away", "second"]


async def test_what_retention_removed_before_it_was_sent_is_counted(tmp_path: Path) -> None:
    store = open_store(tmp_path, max_bytes=2_000)
    async with Collector().serving() as collector:
        keys = {"type": "otlp", "endpoint": collector.target, "start": "now"}
        async with running(store, tmp_path, out=keys):
            put(store, body="first")
            await until(lambda: len(collector.bodies) == 1)
        for _ in range(40):
            put(store, body="later")
        async with running(store, tmp_path, out=keys) as outputs:
            await until(lambda: outputs.status()[0].sent + outputs.status()[0].missed == 40)
            assert outputs.status()[0].missed > 0
    store.close()


async def test_a_broken_output_holds_up_no_other_and_the_filters_hold(store: AnomalyStore, tmp_path: Path) -> None:
    put(store, body="wanted", application="shop-eu", score=0.9)
    put(store, body="other application", application="bank")
    put(store, body="other kind", application="shop-eu", kind=3)
    put(store, body="too usual", application="shop-eu", score=0.1)
    lines = tmp_path / "out.jsonl"
    wanted = {"applications": ["shop-*"], "kinds": ["unseen_key"], "min_score": 0.5}
    async with running(
        store,
        tmp_path,
        away={"type": "otlp", "endpoint": "http://127.0.0.1:9"},
        lake={"type": "file", "path": str(lines)} | wanted,
    ) as outputs:
        await until(lambda: outputs.status()[1].sent == 1)
        await until(lambda: outputs.status()[0].is_failing)
    (line,) = lines.read_text().splitlines()
    assert json.loads(line)["body"] == "wanted"
    assert json.loads(line)["time"] == "2023-11-14T22:13:20.000000001Z"


async def test_a_file_that_was_moved_away_is_made_anew_and_a_torn_line_is_ended(
    store: AnomalyStore, tmp_path: Path
) -> None:
    lines = tmp_path / "logs" / "out.jsonl"
    lines.parent.mkdir()
    lines.write_text('{"torn')
    async with running(store, tmp_path, lake={"type": "file", "path": str(lines)}) as outputs:
        put(store, body="first")
        await until(lambda: outputs.status()[0].sent == 1)
        lines.rename(lines.with_suffix(".1"))
        put(store, body="second")
        await until(lambda: outputs.status()[0].sent == 2)
    torn, first = lines.with_suffix(".1").read_text().splitlines()
    assert (torn, json.loads(first)["body"]) == ('{"torn', "first")
    assert json.loads(lines.read_text())["body"] == "second"


async def test_forward_sends_again_what_was_not_acknowledged(store: AnomalyStore, tmp_path: Path) -> None:
    put(store, 3, body="x")
    async with Receiver(withhold=2, shared_key="s3cret").serving() as receiver:
        keys = {"type": "forward", "address": receiver.address, "shared_key": "s3cret", "tag": "alarms"}
        async with running(store, tmp_path, out=keys) as outputs:
            await until(lambda: outputs.status()[0].sent == 3)
    assert [(tag, len(entries)) for tag, entries in receiver.messages] == [("alarms", 3)] * 3
    assert receiver.connections == 3
    _, found = receiver.messages[-1][1][0]
    assert (found["message"], found["deeplog.application"], found["severity"]) == ("x", "shop", "WARN")


async def test_forward_over_tls_with_a_wrong_key_sends_nothing(store: AnomalyStore, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(tls)
    put(store)
    (tmp_path / "key").write_text("right\n")
    async with Receiver(shared_key="right").serving(tls) as receiver:
        keys = {"type": "forward", "address": receiver.address, "tls": True, "ca_file": str(tmp_path / "ca.pem")}
        async with running(store, tmp_path, out=keys | {"shared_key": "wrong"}) as outputs:
            await until(lambda: outputs.status()[0].is_failing and receiver.connections > 1)
        assert receiver.messages == []
        async with running(store, tmp_path, out=keys | {"shared_key_file": str(tmp_path / "key")}) as outputs:
            await until(lambda: outputs.status()[0].sent == 1)


async def test_the_limit_of_an_output_is_kept(store: AnomalyStore, tmp_path: Path) -> None:
    put(store, 12)
    lines = tmp_path / "out.jsonl"
    keys = {"type": "file", "path": str(lines), "max_per_s": 5, "batch": 1}
    loop = asyncio.get_running_loop()
    begin = loop.time()
    async with running(store, tmp_path, out=keys) as outputs:
        await until(lambda: outputs.status()[0].sent == 12)
    assert loop.time() - begin >= (12 - 5) / 5


async def test_stopping_sends_what_is_there_but_does_not_wait_for_who_is_away(
    store: AnomalyStore, tmp_path: Path
) -> None:
    lines = tmp_path / "out.jsonl"
    async with running(
        store,
        tmp_path,
        lake={"type": "file", "path": str(lines), "batch": 1},
        away={"type": "otlp", "endpoint": "http://127.0.0.1:9"},
    ) as outputs:
        put(store, 5)
        loop = asyncio.get_running_loop()
        begin = loop.time()
    assert isinstance(outputs, Outputs)
    assert loop.time() - begin < 15
    assert len(lines.read_text().splitlines()) == 5
