"""Scoring goes first: while there is something to score, the thread that learns waits at its next pause.

The interpreter runs one thread at a time, and each time that scoring calls into a library, another may take its turn
for as long as the switch interval. So it is not enough that learning has a thread, or a core, of its own.
"""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

LONGEST_PAUSE_S = 0.005
"""A pause ends after this though scoring goes on: under full load, learning still gets on by some tenths of a
millisecond each time, and an update takes a few seconds."""

SENDING_S = 0.001
"""After the scoring, answers are written."""

SERVING_SWITCH_INTERVAL_S = 0.0005
"""While the server runs. A call comes in, and its answer goes out, by several turns of the event loop, each of which
waits this long for the interpreter while a run of the scoring thread is under way."""

SWITCH_INTERVAL_S = 0.00005
"""While an update runs. A thousandth of the usual 5 ms would cost as much in switches as it saves in waiting."""

NICENESS = 5
"""Of the thread that learns: where cores are short, scoring gets three times its share."""


class RightOfWay:
    """Tells the thread that learns when to wait. Every method may be called in any thread."""

    def __init__(self) -> None:
        self._is_free = threading.Event()
        self._is_free.set()
        self._given_s = 0.0

    def take(self) -> None:
        """There is something to score."""
        self._is_free.clear()

    def give(self) -> None:
        """All is scored."""
        self._given_s = time.monotonic()
        self._is_free.set()

    def pause(self) -> None:
        """Wait while there is something to score, but not for long."""
        if not self._is_free.is_set():
            self._is_free.wait(LONGEST_PAUSE_S)
        # What is scored is still to be sent, by a thread that needs the interpreter too.
        if (rest_s := self._given_s + SENDING_S - time.monotonic()) > 0:
            time.sleep(rest_s)


@contextmanager
def prefer_scoring() -> Iterator[None]:
    """Let a thread that works without a pause give way sooner; a stream without updates would be slower by it."""
    usual_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        yield
    finally:
        sys.setswitchinterval(usual_s)


def be_nice() -> None:
    """Let the calling thread go after others where the system can tell threads apart."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
