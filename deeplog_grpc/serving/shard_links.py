"""Where a shard is: in a process of its own, or (for tests) in this one, behind the same bytes."""

import socket
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Protocol

from deeplog_grpc.serving.shard_process import receive_frame, send_frame

_MODULE = "deeplog_grpc.serving.shard_process"
ANSWER_S = 60.0
"""Seconds after which a shard that does not answer is given up; it takes milliseconds, and some seconds to start."""
_END_S = 5.0
"""Seconds that a process has to end by itself."""
_BUFFER_BYTES = 1 << 20


class Link(Protocol):
    """A way to one shard. Orders to it are sent and answered in turn; ``ask`` may be used beside, in other threads.

    All methods raise OSError where the shard is gone or does not answer.
    """

    def send(self, content: bytes, /) -> None:
        """Give an order."""
        ...

    def receive(self) -> bytes | bytearray:
        """Wait for the answer to the order given last."""
        ...

    def ask(self, content: bytes, /) -> bytes | bytearray:
        """Give an order that is done beside the others, and wait for its answer."""
        ...

    def close(self) -> None:
        """End the shard."""
        ...


class ProcessLink:
    """A shard in a process of its own.

    Parameters
    ----------
    torch_threads : int
        Of one matrix product there.
    """

    def __init__(self, torch_threads: int) -> None:
        (self._scoring, scoring), (self._beside, beside) = socket.socketpair(), socket.socketpair()
        for channel in (self._scoring, scoring):
            channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        numbers = (scoring.fileno(), beside.fileno())
        with scoring, beside:
            self._process = subprocess.Popen(  # noqa: S603 (our own module)
                [sys.executable, "-m", _MODULE, *map(str, numbers), str(torch_threads)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=numbers,
                start_new_session=True,  # a signal to the server's group is the server's alone
            )
        for channel in (self._scoring, self._beside):
            channel.settimeout(ANSWER_S)
        self._asking = threading.Lock()

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def send(self, content: bytes, /) -> None:
        """As :class:`Link`."""
        send_frame(self._scoring, content)

    def receive(self) -> bytearray:
        """As :class:`Link`."""
        return receive_frame(self._scoring)

    def ask(self, content: bytes, /) -> bytearray:
        """As :class:`Link`."""
        with self._asking:
            send_frame(self._beside, content)
            return receive_frame(self._beside)

    def close(self) -> None:
        """End the process, by force if it takes too long."""
        for channel in (self._scoring, self._beside):
            with suppress(OSError):
                channel.shutdown(socket.SHUT_RDWR)  # also for who waits there in another thread
            channel.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
