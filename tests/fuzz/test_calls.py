"""Every method of the server's own service, given random bytes and messages with hostile fields."""

import itertools
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from hypothesis import given
from hypothesis import strategies as st

from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from tests.fuzz.bounds import tries
from tests.fuzz.fuzzed_server import CALL_S, DEEPLOG, FuzzedServer, check_status, documented
from tests.fuzz.hostile import Hostile, message_class, seeds

METHODS: dict[str, MethodDescriptor] = {
    method.name: method for method in pb.DESCRIPTOR.services_by_name["DeepLogService"].methods
}
UNARY = sorted(name for name, method in METHODS.items() if not method.server_streaming)
_ANSWERS_READ = 3


@pytest.mark.parametrize("name", UNARY)
def test_random_bytes(well: FuzzedServer, name: str) -> None:
    @tries(30)
    @given(st.binary(max_size=200))
    def check(raw: bytes) -> None:
        well.call(f"/{DEEPLOG}/{name}", raw)

    check()


@pytest.mark.parametrize("name", UNARY)
def test_hostile_messages(well: FuzzedServer, name: str) -> None:
    method = METHODS[name]
    kind, answer_kind = message_class(method.input_type), message_class(method.output_type)

    @tries(60)
    @given(seeds)
    def check(seed: int) -> None:
        hostile = Hostile(seed, well.good)
        raw = hostile.message(kind)
        for sent in (raw, hostile.bytes(raw)):
            answer = well.call(f"/{DEEPLOG}/{name}", sent)
            if isinstance(answer, bytes):
                answer_kind.FromString(answer)

    check()


@tries(60)
@given(seed=seeds)
def test_watching_with_hostile_filters(server: FuzzedServer, seed: int) -> None:
    hostile = Hostile(seed, server.good)
    raw = hostile.message(message_class(METHODS["WatchAnomalies"].input_type))
    watch: Any = server.channel.unary_stream(f"/{DEEPLOG}/WatchAnomalies")
    for sent in (raw, hostile.bytes(raw)):
        call = watch(sent, timeout=CALL_S)
        try:
            next(call)  # the position comes at once
        except grpc.RpcError as error:
            documented(error)
        call.cancel()
    server.check_watched()


@tries(60)
@given(seed=seeds)
def test_streams_with_hostile_messages(server: FuzzedServer, seed: int) -> None:
    hostile = Hostile(seed, server.good)
    kind = message_class(METHODS["StreamScore"].input_type)
    config = pb.StreamScoreRequest(config=pb.StreamConfig(client_id="fuzz" if seed % 2 else ""))

    def sent() -> Iterator[bytes]:
        yield config.SerializeToString() if seed % 4 else hostile.message(kind)
        for _ in range(4):
            raw = hostile.message(kind)
            yield raw if hostile.random.random() < 0.7 else hostile.bytes(raw)

    method: Any = server.channel.stream_stream(f"/{DEEPLOG}/StreamScore")
    call = method(sent(), timeout=CALL_S)
    try:
        for raw in call:
            answer = pb.StreamScoreResponse.FromString(raw)
            if answer.WhichOneof("message") == "result" and answer.result.status.code:
                check_status(answer.result.status)
    except grpc.RpcError as error:
        documented(error)
    server.check_watched()


def test_a_message_that_is_too_large_is_refused_and_nothing_else(well: FuzzedServer) -> None:
    body = b"a" * 60_000
    request = pb.ScoreRequest()
    for _ in itertools.repeat(None, 100):
        request.entries.add(body=body.decode())
    status = well.call(f"/{DEEPLOG}/Score", request.SerializeToString())
    assert not isinstance(status, bytes)
    assert status.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
