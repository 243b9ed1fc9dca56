"""A shard in a process of its own: ``python -m deeplog_grpc.serving.shard_process SCORING BESIDE THREADS``.

The first two arguments are the numbers of sockets that the server has opened. Orders come as frames (eight bytes of
length, little endian, then the content), and each is answered by a frame. When the server closes the sockets, or is
killed, the process ends: it has nothing that would be worth keeping.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable

_LENGTH_BYTES = 8


def send_frame(channel: socket.socket, content: bytes) -> None:
    """Send one frame.

    Raises
    ------
    OSError
        If the other side is gone, or takes nothing for too long.
    """
    channel.sendall(len(content).to_bytes(_LENGTH_BYTES, "little") + content)


def receive_frame(channel: socket.socket) -> bytearray:
    """Wait for one frame.

    Raises
    ------
    OSError
        If the other side is gone, or silent for too long.
    """
    return _received(channel, int.from_bytes(_received(channel, _LENGTH_BYTES), "little"))


def _received(channel: socket.socket, count: int) -> bytearray:
    content = bytearray(count)
    left = memoryview(content)
    while left:
        received = channel.recv_into(left)
        if not received:
            raise ConnectionError("the other side has closed")
        left = left[received:]
    return content


def serve_channel(channel: socket.socket, answer: Callable[[bytearray], bytes]) -> None:
    """Answer orders until there is nobody who gives any."""
    try:
        while True:
            send_frame(channel, answer(receive_frame(channel)))
    except OSError:
        return


def main(arguments: list[str]) -> None:
    """Serve until the server closes the sockets."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the server ends its shards, after the last entry
        signal.signal(number, signal.SIG_IGN)
    from deeplog_grpc.models import set_threads
    from deeplog_grpc.serving.shard import Shard

    scoring, beside, threads = map(int, arguments)
    set_threads(threads)
    shard = Shard()
    helper = threading.Thread(
        target=serve_channel, args=(socket.socket(fileno=beside), shard.answer_beside), daemon=True
    )
    helper.start()
    serve_channel(socket.socket(fileno=scoring), shard.answer)
    os._exit(0)  # whatever the other thread is at, nobody waits for it


if __name__ == "__main__":
    main(sys.argv[1:])
