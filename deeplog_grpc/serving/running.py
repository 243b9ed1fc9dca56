"""A server as the process: until it is told to stop."""

import asyncio
import signal
import sys
from collections.abc import Callable

from deeplog_grpc.models import set_threads
from deeplog_grpc.serving.garbage import ShortPauses
from deeplog_grpc.serving.right_of_way import SERVING_SWITCH_INTERVAL_S
from deeplog_grpc.serving.server import Server
from deeplog_grpc.serving.shards import ShardLostError


async def serve(server: Server, *, ready: Callable[[int], None] = lambda port: None) -> None:
    """Serve until SIGTERM or SIGINT, then stop gracefully; a second signal ends the process at once.

    Parameters
    ----------
    server : Server
        Not started yet, with all its services and listeners.
    ready : callable
        Called with the port once requests are answered.

    Raises
    ------
    InputError
        If an address cannot be bound.
    ShardLostError
        If it stopped since its scoring processes died again and again.
    """
    set_threads(server.config.torch_threads)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):  # first: who is told that it serves may stop it at once
        loop.add_signal_handler(number, stopping.set)
    shards = None if server.state is None else server.state.shards
    if shards is not None:
        shards.on_failure = lambda: loop.call_soon_threadsafe(stopping.set)
    port = await server.start()
    sys.setswitchinterval(SERVING_SWITCH_INTERVAL_S)
    pauses = ShortPauses()
    pauses.start()
    collecting = asyncio.create_task(pauses.run(lambda: not server.queue.waiting_entries), name="garbage")
    try:
        ready(port)
        await stopping.wait()
    finally:
        collecting.cancel()
        pauses.stop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        await server.stop()
    if shards is not None and shards.has_failed:
        raise ShardLostError("the scoring processes died again and again, and the server stopped: start it anew")
