"""Event time between the entries of an application."""

import math

from deeplog_grpc.serving.clock import EventClock

DAY_NS = 86_400 * 10**9
IN_2008_NS = 38 * 365 * DAY_NS


def test_it_goes_on_with_the_time_of_the_process_from_the_latest_entry() -> None:
    clock = EventClock()
    clock.set(IN_2008_NS, at_s=1000.0)
    assert clock.now_ns(1000.0) == IN_2008_NS
    assert clock.now_ns(1002.5) - IN_2008_NS == 2_500_000_000


def test_entries_set_it_back_when_it_ran_ahead_of_a_slow_replay() -> None:
    clock = EventClock()
    clock.set(IN_2008_NS, at_s=0.0)
    clock.set(IN_2008_NS + 10**9, at_s=3600.0)
    assert clock.now_ns(3601.0) == IN_2008_NS + 2 * 10**9


def test_without_a_known_event_time_it_stands_still() -> None:
    clock = EventClock()
    clock.set(0, at_s=5.0)
    assert clock.now_ns(1e9) == 0
    assert clock.time_of(1) == math.inf


def test_it_says_when_a_deadline_is_reached() -> None:
    clock = EventClock()
    clock.set(IN_2008_NS, at_s=7.0)
    assert clock.time_of(IN_2008_NS + 60 * 10**9) == 67.0
    assert clock.now_ns(67.0) == IN_2008_NS + 60 * 10**9
