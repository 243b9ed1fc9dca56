"""What a stream of entries sends and gets."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc

from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from deeplog_grpc.v1 import log_entry_pb2

StreamItem = Sequence[log_entry_pb2.LogEntry] | pb.Flush
"""What a stream sends: a batch of entries, or an order to end sessions."""


def put_before(response: pb.ScoreResponse, late: pb.ScoreResponse) -> None:
    """Put the late ends of one response after those of another, and before its other ends."""
    asked = response.session_ends[response.late_end_count :]
    del response.session_ends[response.late_end_count :]
    response.session_ends.extend((*late.session_ends, *asked))
    response.late_end_count += late.late_end_count
    response.session_end_count += late.session_end_count


async def send(call: Any, batches: AsyncIterator[StreamItem], slots: asyncio.Semaphore, sequence: int = 0) -> None:
    """Send batches as they come, one for each slot that is free; cancels the call where the batches raise."""
    try:
        async for item in batches:
            await slots.acquire()
            await call.write(_stream_request(sequence, item))
            sequence += 1
        await call.done_writing()
    except (grpc.RpcError, asyncio.InvalidStateError):
        return  # the call is over, and whoever reads from it learns why
    except BaseException:
        call.cancel()
        raise


def _stream_request(sequence: int, item: StreamItem) -> pb.StreamScoreRequest:
    if isinstance(item, pb.Flush):
        return pb.StreamScoreRequest(flush=pb.StreamFlush(sequence=sequence, flush=item))
    return pb.StreamScoreRequest(batch=pb.EntryBatch(sequence=sequence, entries=item))
