import pytest

from deeplog_grpc.serving.backlog import Backlog


def test_both_bounds_count_and_include_the_limit() -> None:
    backlog = Backlog(max_entries=10, max_bytes=100)
    backlog.add(entries=4, size_bytes=40)
    assert backlog.fits(entries=6, size_bytes=60)
    assert not backlog.fits(entries=7, size_bytes=1)
    assert not backlog.fits(entries=1, size_bytes=61)


def test_what_was_answered_makes_room() -> None:
    backlog = Backlog(max_entries=10, max_bytes=100)
    backlog.add(entries=10, size_bytes=10)
    backlog.remove(entries=10, size_bytes=10)
    assert backlog.fits(entries=10, size_bytes=100)


def test_a_request_beyond_the_bounds_is_taken_alone() -> None:
    backlog = Backlog(max_entries=10, max_bytes=100)
    assert backlog.fits(entries=11, size_bytes=1000)
    backlog.add(entries=11, size_bytes=1000)
    assert not backlog.fits(entries=1, size_bytes=1)


@pytest.mark.parametrize(("waiting", "expected"), [(0, 0.1), (1_000, 0.1), (50_000, 5.0), (10_000_000, 30.0)])
def test_the_delay_is_the_time_that_the_backlog_takes_within_bounds(waiting: int, expected: float) -> None:
    backlog = Backlog(max_entries=1, max_bytes=1)
    backlog.add(entries=waiting, size_bytes=1)
    assert backlog.retry_after_s(jitter=1.0) == pytest.approx(expected)
    assert backlog.retry_after_s(jitter=0.8) == pytest.approx(0.8 * expected)


def test_the_speed_is_measured_and_smoothed() -> None:
    backlog = Backlog(max_entries=1, max_bytes=1)
    backlog.add(entries=100_000, size_bytes=1)
    delays = [backlog.retry_after_s(jitter=1.0)]
    for _ in range(30):
        backlog.measure(entries=5_000, elapsed_s=0.1)
        delays.append(backlog.retry_after_s(jitter=1.0))
    assert delays == sorted(delays, reverse=True)
    assert delays[0] == pytest.approx(10.0)
    assert delays[-1] == pytest.approx(2.0, rel=0.01)


def test_a_run_without_entries_says_nothing_about_the_speed() -> None:
    backlog = Backlog(max_entries=1, max_bytes=1)
    backlog.add(entries=50_000, size_bytes=1)
    backlog.measure(entries=0, elapsed_s=1.0)
    backlog.measure(entries=5, elapsed_s=0.0)
    assert backlog.retry_after_s(jitter=1.0) == pytest.approx(5.0)
