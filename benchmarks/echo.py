"""Bare servers with the methods of the real one: the limits of the wire. ``python -m benchmarks.echo MODE``.

``bare`` decodes each request and sends the same message back unread: what transport and protobuf (upb) cost, decoding
and encoding both. No server in Python can be faster with these messages; none that looks at an entry comes near.

``read`` decodes each request, reads every field of every entry once and answers with counts: what any server in Python
can reach that uses its entries, for it has to make a Python object of each field.

Both take OTLP logs too, over gRPC, which they decode and answer empty.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as otlp

from benchmarks.load import OPTIONS, OTLP_SERVICE, SERVICE
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from deeplog_grpc.v1 import log_entry_pb2

MODES = ("bare", "read")


async def _bare(request: Any, _: Any) -> Any:
    return request


async def _bare_stream(requests: AsyncIterator[Any], _: Any) -> AsyncIterator[Any]:
    async for request in requests:
        yield request


async def _read(request: pb.ScoreRequest, _: Any) -> pb.ScoreResponse:
    return pb.ScoreResponse(entry_count=_read_entries(request.entries))


async def _read_stream(requests: AsyncIterator[pb.StreamScoreRequest], _: Any) -> AsyncIterator[pb.StreamScoreResponse]:
    async for request in requests:
        count = _read_entries(request.batch.entries)
        yield pb.StreamScoreResponse(result=pb.BatchResult(response=pb.ScoreResponse(entry_count=count)))


def _read_entries(entries: Sequence[log_entry_pb2.LogEntry]) -> int:
    """Make a Python object of every field of every entry; how many there are."""
    for entry in entries:
        _ = (entry.body, entry.session, entry.source, entry.entry_id)
        _ = (entry.time_unix_nano, entry.application, len(entry.attributes))
    return len(entries)


async def _export(_: otlp.ExportLogsServiceRequest, __: Any) -> otlp.ExportLogsServiceResponse:
    return otlp.ExportLogsServiceResponse()


def handlers(mode: str) -> list[grpc.GenericRpcHandler]:
    """The methods in one of the modes, to be added to a server."""
    is_bare = mode == "bare"
    answers = (pb.ScoreRequest, pb.StreamScoreRequest) if is_bare else (pb.ScoreResponse, pb.StreamScoreResponse)
    methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "Score": grpc.unary_unary_rpc_method_handler(
            _bare if is_bare else _read,
            request_deserializer=pb.ScoreRequest.FromString,
            response_serializer=answers[0].SerializeToString,
        ),
        "StreamScore": grpc.stream_stream_rpc_method_handler(
            _bare_stream if is_bare else _read_stream,
            request_deserializer=pb.StreamScoreRequest.FromString,
            response_serializer=answers[1].SerializeToString,
        ),
    }
    export = grpc.unary_unary_rpc_method_handler(
        _export,
        request_deserializer=otlp.ExportLogsServiceRequest.FromString,
        response_serializer=otlp.ExportLogsServiceResponse.SerializeToString,
    )
    return [
        grpc.method_handlers_generic_handler(SERVICE, methods),
        grpc.method_handlers_generic_handler(OTLP_SERVICE, {"Export": export}),
    ]


async def serve(mode: str) -> None:
    """Serve until terminated; print the port as the real server does."""
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers(handlers(mode))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(json.dumps({"port": port}), file=sys.stderr, flush=True)
    await server.wait_for_termination()


def main() -> None:
    """Serve in one of the modes."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("mode", choices=MODES)
    asyncio.run(serve(parser.parse_args().mode))


if __name__ == "__main__":
    main()
