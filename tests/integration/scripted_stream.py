"""A server of StreamScore alone, with prepared answers: it records what it is sent."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from deeplog_grpc.v1.log_entry_pb2 import LogEntry


@dataclass(slots=True, kw_only=True)
class Scripted:
    """A server of StreamScore that says what a test wants, and keeps what it is sent."""

    port: int = 0
    ready: pb.StreamReady = field(
        default_factory=lambda: pb.StreamReady(
            max_outstanding_batches=2, max_batch_entries=100, max_message_bytes=2**20
        )
    )
    answer: Callable[[pb.EntryBatch], pb.BatchResult | None] = lambda batch: pb.BatchResult(sequence=batch.sequence)
    """None = break the stream off."""
    metadata: list[dict[str, str]] = field(default_factory=list)
    configs: list[pb.StreamConfig] = field(default_factory=list)
    batches: list[pb.EntryBatch] = field(default_factory=list)

    @property
    def entries(self) -> list[LogEntry]:
        return [entry for batch in self.batches for entry in batch.entries]

    async def stream(self, requests: AsyncIterator[pb.StreamScoreRequest], context: Any) -> AsyncIterator[Any]:
        self.metadata.append(dict(context.invocation_metadata()))
        async for request in requests:
            if request.HasField("config"):
                self.configs.append(request.config)
                yield pb.StreamScoreResponse(ready=self.ready)
                continue
            self.batches.append(request.batch)
            result = self.answer(request.batch)
            if result is None:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "broken off")
            yield pb.StreamScoreResponse(result=result)


@asynccontextmanager
async def scripted(credentials: grpc.ServerCredentials | None = None) -> AsyncIterator[Scripted]:
    script = Scripted()
    handler = grpc.stream_stream_rpc_method_handler(
        script.stream,
        request_deserializer=pb.StreamScoreRequest.FromString,
        response_serializer=pb.StreamScoreResponse.SerializeToString,
    )
    server = grpc.aio.server()
    service = "deeplog_grpc.v1.DeepLogService"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"StreamScore": handler}),))
    place = "127.0.0.1:0"
    script.port = server.add_insecure_port(place) if credentials is None else server.add_secure_port(place, credentials)
    await server.start()
    try:
        yield script
    finally:
        await server.stop(None)
