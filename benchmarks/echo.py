"""A bare gRPC server with the methods of the real one that answers at once: the limit of the wire.

It parses each request into messages, as every server must, and does nothing with them.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc

from benchmarks.load import OPTIONS
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from deeplog_grpc.v1 import deeplog_service_pb2_grpc as stubs

_Servicer: Any = stubs.DeepLogServiceServicer


class Echo(_Servicer):  # type: ignore[misc]  # the generated class is untyped
    """Answers with counts only."""

    async def Score(self, request: pb.ScoreRequest, context: Any) -> pb.ScoreResponse:
        """Count."""
        return pb.ScoreResponse(entry_count=len(request.entries))

    async def StreamScore(
        self, requests: AsyncIterator[pb.StreamScoreRequest], context: Any
    ) -> AsyncIterator[pb.StreamScoreResponse]:
        """Count."""
        async for request in requests:
            count = len(request.batch.entries)
            yield pb.StreamScoreResponse(result=pb.BatchResult(response=pb.ScoreResponse(entry_count=count)))


async def main() -> None:
    """Serve until terminated; print the port as the real server does."""
    server = grpc.aio.server(options=OPTIONS)
    register: Any = stubs.add_DeepLogServiceServicer_to_server
    register(Echo(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(json.dumps({"port": port}), file=sys.stderr, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
