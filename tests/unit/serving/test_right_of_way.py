"""Who learns waits for who scores, but not for ever."""

import sys
import threading
import time

from deeplog_grpc.serving.right_of_way import LONGEST_PAUSE_S, SWITCH_INTERVAL_S, RightOfWay, prefer_scoring


def test_there_is_no_pause_while_nothing_is_scored() -> None:
    way = RightOfWay()
    way.take()
    way.give()
    started = time.perf_counter()
    for _ in range(100):
        way.pause()
    assert time.perf_counter() - started < 100 * LONGEST_PAUSE_S


def test_a_pause_ends_though_scoring_goes_on() -> None:
    way = RightOfWay()
    way.take()
    thread = threading.Thread(target=way.pause)
    started = time.perf_counter()
    thread.start()
    thread.join(10.0)
    assert not thread.is_alive()
    assert time.perf_counter() - started >= 0.9 * LONGEST_PAUSE_S


def test_the_switch_interval_is_short_only_meanwhile() -> None:
    usual_s = sys.getswitchinterval()
    with prefer_scoring():
        assert sys.getswitchinterval() < 2 * SWITCH_INTERVAL_S < usual_s
    assert sys.getswitchinterval() == usual_s
