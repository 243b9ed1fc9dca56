"""Every record back with what was said of it, once its batch was answered."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deeplog_grpc.errors import SpoolFullError
from deeplog_grpc.ingest.records import Origin, Records
from deeplog_grpc.storage import AnomalyStore
from deeplog_grpc.v1 import deeplog_service_pb2, verdict_pb2
from tests.integration.output_harness import Collector, Receiver, running, until
from tests.kept_anomalies import open_store

ORIGIN = Origin(resource={"service.name": "shop", "host": {"name": "n1"}}, scope="lib", tag="app.log")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AnomalyStore]:
    opened = open_store(tmp_path)
    yield opened
    opened.close()


def records(count: int, body: str = "paid") -> Records:
    return Records(
        bodies=[f"{body} {number}" for number in range(count)],
        times_ns=[10 + number for number in range(count)],
        attributes=[{"stream": "stderr", "n": number} for number in range(count)],
        origins=[ORIGIN] * count,
    )


def answer(count: int, *, odd: tuple[int, ...] = (), faults: tuple[int, ...] = ()) -> deeplog_service_pb2.ScoreResponse:
    kinds = dict.fromkeys(odd, verdict_pb2.KIND_UNSEEN_KEY)
    return deeplog_service_pb2.ScoreResponse(
        verdicts=[
            verdict_pb2.Verdict(
                index=number,
                kind=kinds.get(number, verdict_pb2.KIND_NORMAL),
                application="shop",
                session="s",
                score=0.5 if number in odd else 0,
                verdict_id="7-1" if number in odd else "",
                reason="new" if number in odd else "",
            )
            for number in range(count)
            if number not in faults
        ]
    )


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_every_record_comes_back_in_order_with_its_verdict(store: AnomalyStore, tmp_path: Path) -> None:
    back = tmp_path / "back.jsonl"
    odd = tmp_path / "odd.jsonl"
    async with running(
        store,
        tmp_path,
        back={"type": "file", "path": str(back), "what": "records", "batch": 2},
        odd={"type": "file", "path": str(odd), "what": "records", "only": "anomalies"},
    ) as outputs:
        assert outputs.sink is not None
        outputs.sink.add(records(5), answer(5, odd=(1,), faults=(3,)))
        await until(lambda: [status.sent for status in outputs.status()] == [5, 1])
    found = read(back)
    assert [one["body"] for one in found] == [f"paid {number}" for number in range(5)]
    assert [one["attributes"].get("deeplog.kind") for one in found] == [
        "normal",
        "unseen_key",
        "normal",
        None,
        "normal",
    ]
    assert found[1]["attributes"] == {
        "stream": "stderr",
        "n": 1,
        "deeplog.kind": "unseen_key",
        "deeplog.score": 0.5,
        "deeplog.key": 0,
        "deeplog.model_version": 0,
        "deeplog.application": "shop",
        "deeplog.session": "s",
        "deeplog.verdict_id": "7-1",
        "deeplog.reason": "new",
        "deeplog.output": "back",
    }
    assert found[1]["resource"] == {"service.name": "shop", "host": {"name": "n1"}, "deeplog.output": "back"}
    assert [one["body"] for one in read(odd)] == ["paid 1"]


async def test_a_record_that_went_out_and_came_back_is_not_sent_on(store: AnomalyStore, tmp_path: Path) -> None:
    back = tmp_path / "back.jsonl"
    sent = {"deeplog.output": "other"}
    returned = Records(
        bodies=["new", "flattened", "whole"],
        times_ns=[1, 2, 3],
        attributes=[{}, sent, {}],
        origins=[ORIGIN, ORIGIN, Origin(resource=sent)],
    )
    async with running(store, tmp_path, back={"type": "file", "path": str(back), "what": "records"}) as outputs:
        assert outputs.sink is not None
        outputs.sink.add(returned, deeplog_service_pb2.ScoreResponse())
        outputs.sink.add(records(1, "last"), answer(1))
        await until(lambda: outputs.status()[0].sent >= 2)
    assert [one["body"] for one in read(back)] == ["new", "last 0"]


async def test_records_wait_on_disk_while_the_other_side_is_away(store: AnomalyStore, tmp_path: Path) -> None:
    keys = {"type": "otlp", "what": "records", "endpoint": "http://127.0.0.1:9"}
    async with running(store, tmp_path, back=keys) as outputs:
        assert outputs.sink is not None
        outputs.sink.add(records(3), answer(3))
        await until(lambda: outputs.status()[0].is_failing)
    async with Collector().serving() as collector:
        async with running(store, tmp_path, back=keys | {"endpoint": collector.target}) as outputs:
            await until(lambda: outputs.status()[0].sent == 3)
        assert collector.bodies == ["paid 0", "paid 1", "paid 2"]
        (logs,) = collector.requests[-1].resource_logs
        assert logs.scope_logs[0].scope.name == "lib"


async def test_forward_keeps_the_tag_that_a_record_had(store: AnomalyStore, tmp_path: Path) -> None:
    async with (
        Receiver().serving() as receiver,
        running(store, tmp_path, back={"type": "forward", "what": "records", "address": receiver.address}) as outputs,
    ):
        assert outputs.sink is not None
        outputs.sink.add(records(2), answer(2))
        await until(lambda: outputs.status()[0].sent == 2)
    ((tag, entries),) = receiver.messages
    assert (tag, entries[1][1]["message"], entries[1][1]["stream"]) == ("app.log", "paid 1", "stderr")


async def test_a_full_queue_refuses_or_drops_as_it_is_told(store: AnomalyStore, tmp_path: Path) -> None:
    away = {"type": "otlp", "what": "records", "endpoint": "http://127.0.0.1:9", "queue_mb": 1}
    big = records(2, "x" * 400_000)
    async with running(store, tmp_path, back=away | {"when_full": "drop"}) as outputs:
        assert outputs.sink is not None
        for _ in range(3):
            outputs.sink.add(big, answer(2))
        assert outputs.status()[0].missed == 4
    async with running(store, tmp_path, other=away) as outputs:
        assert outputs.sink is not None
        outputs.sink.add(big, answer(2))
        with pytest.raises(SpoolFullError):
            outputs.sink.add(big, answer(2))


async def test_there_is_no_sink_where_nobody_wants_records(store: AnomalyStore, tmp_path: Path) -> None:
    async with running(store, tmp_path, lake={"type": "file", "path": str(tmp_path / "x")}) as outputs:
        assert outputs.sink is None
