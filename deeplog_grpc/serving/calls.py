"""Methods of gRPC services as the server has them: known while they run, and every exception answered as a status."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc

from deeplog_grpc.access.grants import current_grant
from deeplog_grpc.errors import QueueFullError
from deeplog_grpc.serving.peers import PeerCalls, host_of_peer, working_for
from deeplog_grpc.serving.status import abort

Context = grpc.aio.ServicerContext
Request = TypeVar("Request")
Answer = TypeVar("Answer")
Method = Callable[[Request, Context[Any, Any]], Awaitable[Answer]]


def time_left(context: Context[Any, Any], max_wait_s: float) -> float:
    """Seconds that a call may take: until its client's deadline, if it has one, but not more than ``max_wait_s``."""
    remaining = context.time_remaining()
    return max_wait_s if remaining is None else min(max_wait_s, remaining)


def peer_of(context: Context[Any, Any]) -> str:
    """Who makes a call: the name of its token, or the address that it comes from."""
    name = current_grant.get().name
    return f"token {name}" if name else host_of_peer(context.peer())


class Calls:
    """The calls under way, of all services of a server.

    Parameters
    ----------
    limit : int
        Calls at once. More are refused with a status that senders take for what it is: gRPC's own bound answers
        RESOURCE_EXHAUSTED, after which some give their data up.
    peers : PeerCalls
        How many of them a peer may have.
    """

    def __init__(self, *, limit: int, peers: PeerCalls) -> None:
        self._limit = limit
        self._peers = peers
        self._calls: set[asyncio.Task[Any]] = set()

    def answered(self, method: Method[Request, Answer], *, is_stream: bool = False) -> Method[Request, Answer]:
        """The method with its calls known to :meth:`finish` and counted, and its exceptions answered as statuses."""

        async def answered(request: Request, context: Context[Any, Any]) -> Answer:
            self._note()
            try:
                if len(self._calls) > self._limit:
                    raise QueueFullError(f"{self._limit} calls are under way already")
                peer = peer_of(context)
                with self._peers.call(peer, is_stream=is_stream), working_for(peer):
                    return await method(request, context)
            except Exception as error:
                await abort(context, error)

        return answered

    async def finish(self) -> None:
        """Return when the calls now under way are answered, to the last byte."""
        if self._calls:
            await asyncio.wait(self._calls)

    def _note(self) -> None:
        """Remember the task that gRPC runs this call in; it ends when the answer is sent."""
        if (task := asyncio.current_task()) is not None:
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)
