"""The native output plugin of Fluent Bit, through its ABI, against real servers."""

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import grpc
import msgpack
import pytest
from google.rpc import status_pb2

from deeplog_grpc.ingest import IngestConfig
from deeplog_grpc.serving import Server, ServerConfig
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from deeplog_grpc.v1 import verdict_pb2
from deeplog_grpc.v1.log_entry_pb2 import LogEntry
from tests.integration.plugin import DELIVERED, DROPPED, RETRY, SOURCES, START_NS, chunk, compiler, event, hosted
from tests.integration.scripted_stream import scripted
from tests.integration.server_harness import running, until
from tests.unit.serving.fake_detector import FakeDetector

RECORDED = Path(__file__).parents[3] / "shared" / "captures" / "plugin" / "flush_chunk" / "chunk.msgpack"


def watch(detector: FakeDetector) -> list[str]:
    """The bodies that a detector scores from now on."""
    bodies: list[str] = []
    score = detector.score

    def recording(batch: Any) -> Any:
        bodies.extend(batch.bodies)
        return score(batch)

    detector.score = recording  # type: ignore[method-assign] # what it is asked is what the test is about
    return bodies


async def test_the_plugin_registers_as_an_output_of_logs(library: Path) -> None:
    async with hosted(library) as host:
        assert host.registered == {"type": 2, "proxy": 11, "flags": 0, "event_type": 0}


async def test_a_chunk_becomes_entries_in_order(library: Path) -> None:
    nested = {"kubernetes": {"pod_name": "web-1", "labels": {"app": "web"}}, "code": 7, "list": [1, None, "x"]}
    events = [
        event({"log": "first\n", "trace_id": "t-1", **nested}, START_NS + 123),
        event({"message": b"bytes", "log": "not this", "yes": True, "share": 0.25, "none": None}),
        event({"level": "info", "quoted": 'a "b"\n', "deep": {"list": [{"k": -1}]}}),
        msgpack.packb([START_NS // 10**9, {"msg": "old form"}]),
        msgpack.packb([[msgpack.ExtType(0, b"\xff" * 4 + bytes(4)), {"schema": "otlp"}], {"resource": {}}]),
        event({"log": "", "body": "text"}),
    ]
    async with scripted() as script, hosted(library) as host:
        number = await host.open(f"127.0.0.1:{script.port}", application="orders", token="secret")
        assert await host.flush(number, b"".join(events), "kube.web") == DELIVERED
        assert await host.flush(number, b"") == DELIVERED
        assert await host.ask("exit", number) == 0
    (config,) = script.configs
    assert config.options == pb.ScoreOptions(
        selection=pb.VERDICT_SELECTION_ANOMALIES, application="orders", source="node-1", raw_bodies=True
    )
    assert len(config.client_id) == 32
    assert script.metadata[0]["authorization"] == "Bearer secret"
    assert any("without TLS" in line for line in host.log)
    assert "secret" not in str(host.log)
    first, second, third, old, last = script.entries
    assert (first.body, first.time_unix_nano) == ("first\n", START_NS + 123)
    assert dict(first.attributes) == {
        "tag": "kube.web",
        "trace_id": "t-1",
        "kubernetes.pod_name": "web-1",
        "kubernetes.labels.app": "web",
        "code": "7",
        "list": '[1,null,"x"]',
    }
    assert second.body == "bytes"
    assert dict(second.attributes) == {"tag": "kube.web", "log": "not this", "yes": "true", "share": "0.25"}
    assert third.body == '{"level":"info","quoted":"a \\"b\\"\\u000a","deep":{"list":[{"k":-1}]}}'
    assert (old.body, old.time_unix_nano) == ("old form", START_NS)
    assert (last.body, last.attributes["log"]) == ("text", "")


async def test_bytes_that_are_no_text_cost_nothing_else(library: Path) -> None:
    async with running() as up, hosted(library) as host:
        seen = watch(up.detectors["app"])
        number = await host.open(up.address)
        raw = event({"log": b"open \xff\xfe", "a\0b": b"\xc3\x28"})
        assert await host.flush(number, raw + chunk(["write 2"])) == DELIVERED
    assert seen == ["open \ufffd\ufffd", "write 2"]


async def test_the_key_of_the_text_can_be_named(library: Path) -> None:
    async with scripted() as script, hosted(library) as host:
        number = await host.open(f"127.0.0.1:{script.port}", log_key="text")
        assert await host.flush(number, event({"log": "a", "text": "b"}) + event({"log": "c"})) == DELIVERED
    assert [entry.body for entry in script.entries] == ["b", "c"]


async def test_a_pod_is_a_source_of_its_own_unless_one_is_named(library: Path) -> None:
    pod = {"pod_name": "web-1", "container_name": "app"}
    events = [event({"log": "a", "kubernetes": pod}), event({"log": "b", "kubernetes": {"pod_name": "web-2"}})]
    events.append(event({"log": "c"}))
    async with scripted() as script, hosted(library) as host:
        for source in ("", "node-1"):
            number = await host.open(f"127.0.0.1:{script.port}", source=source)
            assert await host.flush(number, b"".join(events)) == DELIVERED
    assert [entry.source for entry in script.entries] == ["web-1/app", "web-2", "", "", "", ""]
    assert script.configs[0].options.source
    assert script.configs[1].options.source == "node-1"


async def test_what_has_no_bound_is_bounded(library: Path) -> None:
    many = {f"k{number}": number for number in range(300)}
    deep: Any = "end"
    for _ in range(100):
        deep = {"d": deep}
    events = [event({"log": "x", **many}), event({"log": "y", "long": "z" * 100_000, "k" * 300: 1, "deep": deep})]
    async with scripted() as script, hosted(library) as host:
        number = await host.open(f"127.0.0.1:{script.port}")
        assert await host.flush(number, b"".join(events)) == DELIVERED
    first, second = script.entries
    assert len(first.attributes) == 128
    assert len(second.attributes["long"]) == 8192
    assert not any(len(name) > 256 for name in second.attributes)
    assert [name for name in second.attributes if name.startswith("deep")] == ["deep" + ".d" * 8]


async def test_batches_keep_to_what_the_server_takes(library: Path) -> None:
    async with scripted() as script, hosted(library) as host:
        script.ready.max_message_bytes = 2**16
        number = await host.open(f"127.0.0.1:{script.port}", batch_entries="70")
        sent = chunk(f"line {i}" for i in range(200)) + chunk("x" * 2_000 for _ in range(60)) + chunk(["z" * 70_000])
        assert await host.flush(number, sent) == DELIVERED
    assert [len(batch.entries) for batch in script.batches[:2]] == [70, 70]
    assert len(script.entries) == 260
    assert all(pb.StreamScoreRequest(batch=batch).ByteSize() <= 2**16 for batch in script.batches)
    assert [batch.sequence for batch in script.batches] == list(range(1, len(script.batches) + 1))
    assert any("is lost" in line for line in host.log)


async def test_verdicts_are_those_of_a_direct_call(library: Path) -> None:
    bodies = [("open", "write", "odd", "new", "end")[i * i % 5] + f" {i}" for i in range(60)]
    async with running() as up:
        direct = await up.client.score([LogEntry(body=body, source="node-1") for body in bodies])
    async with running() as up, hosted(library) as host:
        seen = watch(up.detectors["app"])
        number = await host.open(up.address, batch_entries="7", on_anomaly="log")
        assert await host.flush(number, chunk(bodies)) == DELIVERED
        assert await host.ask("exit", number) == 0
    assert seen == bodies
    kinds = [
        (verdict_pb2.Kind.Name(verdict.kind).removeprefix("KIND_").replace("_", " ").lower(), f"{verdict.score:.2f}")
        for verdict in (*direct.verdicts, *direct.session_ends)
        if verdict.kind != verdict_pb2.KIND_NORMAL
    ]
    told = [line.split("anomaly: ")[1].split(", ")[:2] for line in host.log if "anomaly: " in line]
    assert sorted((kind, score.removeprefix("score ")) for kind, score in told) == sorted(kinds)
    assert kinds


async def test_a_server_that_goes_away_is_waited_for_and_each_entry_is_seen_once(library: Path) -> None:
    seen: list[list[str]] = []
    async with hosted(library) as host:
        async with running(max_outstanding_batches=2) as up:
            seen.append(watch(up.detectors["app"]))
            number = await host.open(up.address, timeout="1")
            assert await host.flush(number, chunk(["open 1", "write 2"])) == DELIVERED
        later = chunk(["open 3", "write 4"])
        assert await host.flush(number, later) == RETRY
        detector = FakeDetector("app")
        seen.append(watch(detector))
        server = Server({"app": detector}, ServerConfig(listen=up.address), IngestConfig())
        await server.start()
        assert await host.flush(number, later) == DELIVERED
        await server.stop()
    assert seen == [["open 1", "write 2"], ["open 3", "write 4"]]
    assert any("answers again" in line for line in host.log)


async def test_what_was_not_answered_is_sent_again_under_its_number(library: Path) -> None:
    async with scripted() as script, hosted(library) as host:
        number = await host.open(f"127.0.0.1:{script.port}", batch_entries="2", timeout="1")
        lines = chunk(f"line {i}" for i in range(6))
        script.answer = lambda batch: pb.BatchResult(sequence=1) if batch.sequence == 1 else None
        assert await host.flush(number, lines) == RETRY
        assert script.batches[0].sequence == 1
        script.answer = lambda batch: pb.BatchResult(sequence=batch.sequence)
        script.batches.clear()
        assert await host.flush(number, chunk(["another"])) == DELIVERED
        assert await host.flush(number, lines) == DELIVERED
    assert len({config.client_id for config in script.configs}) == 1
    another, *again = script.batches
    assert another.entries[0].body == "another"
    assert another.sequence > again[0].sequence == 2
    assert len({batch.sequence for batch in again}) == len(again) == 2
    assert [entry.body for batch in again for entry in batch.entries] == [f"line {i}" for i in range(2, 6)]


async def test_a_server_that_now_takes_less_gets_smaller_batches(library: Path) -> None:
    async with scripted() as script, hosted(library) as host:
        number = await host.open(f"127.0.0.1:{script.port}", timeout="1")
        lines = chunk(f"line {i}" for i in range(6))
        script.answer = lambda batch: None
        assert await host.flush(number, lines) == RETRY
        script.answer = lambda batch: pb.BatchResult(sequence=batch.sequence)
        script.ready.max_batch_entries = 4
        script.batches.clear()
        assert await host.flush(number, lines) == DELIVERED
    assert [len(batch.entries) for batch in script.batches] == [4, 2]
    assert min(batch.sequence for batch in script.batches) > 1


async def test_a_server_without_answers_is_given_up(library: Path) -> None:
    async with scripted() as script, hosted(library) as host:
        number = await host.open(f"127.0.0.1:{script.port}", timeout="1")
        script.answer = lambda batch: pb.BatchResult(sequence=batch.sequence + 1)  # answers nothing that was asked
        assert await host.flush(number, chunk(["line"])) == RETRY
        script.answer = lambda batch: pb.BatchResult(sequence=batch.sequence)
        assert await host.flush(number, chunk(["line"])) == DELIVERED
    assert {batch.sequence for batch in script.batches} == {1}
    assert any("no answer within 1 s" in line for line in host.log)


async def test_chunks_that_are_flushed_at_the_same_time_are_sent_one_after_the_other(library: Path) -> None:
    async with running() as up, hosted(library) as host:
        seen = watch(up.detectors["app"])
        number = await host.open(up.address, batch_entries="3")
        chunks = [chunk(f"open {letter}{i}" for i in range(10)) for letter in "abcd"]
        assert await host.flush_together(number, chunks) == [DELIVERED] * 4
    assert len(seen) == 40
    assert sorted(seen) == sorted(f"open {letter}{i}" for letter in "abcd" for i in range(10))
    assert all(len({body[5] for body in seen[at : at + 10]}) == 1 for at in range(0, 40, 10))


async def test_a_batch_that_the_server_cannot_take_now_is_sent_again_at_once(library: Path) -> None:
    unavailable = status_pb2.Status(code=grpc.StatusCode.UNAVAILABLE.value[0], message="full")
    async with scripted() as script, hosted(library) as host:
        number = await host.open(f"127.0.0.1:{script.port}")
        script.answer = lambda batch: pb.BatchResult(
            sequence=batch.sequence, status=unavailable if len(script.batches) == 1 else None
        )
        assert await host.flush(number, chunk(["line"])) == DELIVERED
    assert [batch.sequence for batch in script.batches] == [1, 1]


async def test_what_the_server_refuses_for_good_is_dropped_and_told(library: Path) -> None:
    async with running(ingest=IngestConfig(max_body_bytes=10)) as up, hosted(library) as host:
        seen = watch(up.detectors["app"])
        number = await host.open(up.address)
        assert await host.flush(number, chunk(["open " + "x" * 20])) == DROPPED
        assert await host.flush(number, chunk(["open 1", "x" * 20, "write 2"])) == DELIVERED
        assert await host.flush(number, chunk(["open 3"])) == DELIVERED
    assert seen == ["open 1", "write 2", "open 3"]
    assert any("a batch was refused and is lost" in line for line in host.log)
    assert any("1 entries were refused and are lost" in line for line in host.log)


async def test_a_chunk_that_is_no_msgpack_is_dropped_behind_what_can_be_read(library: Path) -> None:
    async with running() as up, hosted(library) as host:
        seen = watch(up.detectors["app"])
        number = await host.open(up.address)
        assert await host.flush(number, b"\xc1 no events") == DROPPED
        assert await host.flush(number, chunk(["open 1"]) + b"\x92\x01") == DROPPED
        assert await host.flush(number, chunk(["open 2"])) == DELIVERED
    assert seen == ["open 1", "open 2"]


@pytest.mark.parametrize(
    ("properties", "error"),
    [
        ({"address": "nowhere"}, "address: 'nowhere' is not HOST:PORT"),
        ({"address": "a:70000"}, "address: 'a:70000'"),
        ({"timeout": "0"}, "timeout: '0' is not a whole number from 1 to 3600"),
        ({"use_tls": "maybe"}, "use_tls: 'maybe' is not on or off"),
        ({"on_anomaly": "page"}, "on_anomaly: 'page' is not none or log"),
        ({"use_tls": "on", "tls_ca_file": "/none"}, "tls_ca_file /none"),
        ({"tls_crt_file": "/a"}, "give tls_crt_file and tls_key_file"),
    ],
)
async def test_a_wrong_property_is_named_at_the_start(library: Path, properties: dict[str, str], error: str) -> None:
    async with hosted(library) as host:
        assert (await host.ask("init", {"address": "127.0.0.1:1", **properties}))["code"] == -1
    assert error in host.log[0]


async def test_a_peer_that_speaks_no_grpc_is_told_apart(library: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, hosted(library) as host:
        number = await host.open(f"127.0.0.1:{port}", timeout="1")
        assert await host.flush(number, chunk(["line"])) == RETRY
    assert any(f"127.0.0.1:{port}" in line for line in host.log)


async def test_two_instances_and_a_new_one_in_place_of_an_old_one(library: Path) -> None:
    async with running() as one, running() as two, hosted(library) as host:
        seen = [watch(up.detectors["app"]) for up in (one, two)]
        first, second = [await host.open(up.address) for up in (one, two)]
        assert await host.flush(first, chunk(["open 1"])) == DELIVERED
        assert await host.flush(second, chunk(["open 2"])) == DELIVERED
        assert await host.ask("exit", first) == 0
        again = await host.open(one.address)
        assert await host.flush(again, chunk(["open 3"])) == DELIVERED
        assert await host.ask("exit", second) == 0
        assert await host.ask("exit", again) == 0
        await until(lambda: one.server.queue.waiting_entries == 0)
    assert seen == [["open 1", "open 3"], ["open 2"]]


@pytest.mark.shared
@pytest.mark.skipif(not RECORDED.exists(), reason="needs the recorded chunk")
async def test_a_chunk_recorded_from_fluent_bit(library: Path) -> None:
    data = RECORDED.read_bytes()
    unpacker = msgpack.Unpacker()
    unpacker.feed(data)
    async with scripted() as script, hosted(library) as host:
        number = await host.open(f"127.0.0.1:{script.port}")
        assert await host.flush(number, data, "hdfs.dn") == DELIVERED
    assert [entry.body for entry in script.entries] == [record["log"] for _, record in unpacker]
    assert all(entry.time_unix_nano > 10**18 for entry in script.entries)


def test_changed_chunks_are_read_within_their_bounds(tmp_path: Path) -> None:
    sources = [SOURCES / "tests" / "fuzz.c"]
    sources += [SOURCES / f"{name}.c" for name in ("buffer", "entry", "json", "log", "messages", "msgpack", "protobuf")]
    flags = ["-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    built = subprocess.run(
        [compiler(), *flags, "-o", str(tmp_path / "fuzz"), *map(str, sources), "-lpthread"],
        capture_output=True,
        text=True,
        check=False,
    )
    if "asan" in built.stderr and "cannot find" in built.stderr:
        pytest.skip("needs the sanitizers of the C compiler")
    assert built.returncode == 0, built.stderr
    seed = tmp_path / "chunk"
    record = {"log": "a line", "n": -3, "x": 1.5, "big": 2**40, "deep": {"a": [1, {"b": None}], "t": True}, "e": b"\0"}
    seed.write_bytes(b"".join(event(record, START_NS + i) for i in range(5)) + event({"level": "info", "q": '"'}))
    ran = subprocess.run([str(tmp_path / "fuzz"), str(seed), "50000"], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    whole, all_told = map(int, ran.stdout.split())
    assert whole == 6
    assert all_told > 50_000


async def test_the_time_at_the_head_of_a_line_counts_where_asked(library: Path) -> None:
    line = event({"log": "2024-05-01 10:00:00 started"}, START_NS + 5)
    async with scripted() as script, hosted(library) as host:
        for time in ("record", "body"):
            number = await host.open(f"127.0.0.1:{script.port}", time=time)
            assert await host.flush(number, line) == DELIVERED
            assert await host.ask("exit", number) == 0
        assert (await host.ask("init", {"address": "127.0.0.1:1", "time": "noon"}))["code"] != 1
    assert [entry.time_unix_nano for batch in script.batches for entry in batch.entries] == [START_NS + 5, 0]
    assert any("record or body" in said for said in host.log)
