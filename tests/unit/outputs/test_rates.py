"""Limits, tries, and how many anomalies are missing."""

import random

from hypothesis import given
from hypothesis import strategies as st

from deeplog_grpc.outputs.gaps import count_missing
from deeplog_grpc.outputs.rates import Backoff, TokenBucket


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(1, 3)), max_size=50))
def test_who_waits_as_told_never_passes_the_limit(takes: list[tuple[float, int]]) -> None:
    bucket = TokenBucket(per_s=2, burst=4)
    now, taken = 0.0, 0
    bucket.available(now)
    for pause_s, count in takes:
        now += pause_s
        now += bucket.wait_s(count, now=now)
        bucket.take(count, now=now)
        taken += count
        assert taken <= 4 + 2 * now + 1e-6


def test_more_than_a_burst_waits_for_a_full_bucket_and_is_paid_for_later() -> None:
    bucket = TokenBucket(per_s=1, burst=2)
    assert bucket.wait_s(10, now=0) == 0
    bucket.take(10, now=0)
    assert bucket.wait_s(1, now=0) == 9


def test_tries_come_ever_later_up_to_a_limit_and_at_once_after_a_success() -> None:
    backoff = Backoff(1, 8, chance=random.Random(1))
    waits = [backoff.next_s() for _ in range(2_000)]
    for wait_s, usual_s in zip(waits, [1, 2, 4, *[8] * 1_997], strict=True):
        assert usual_s / 2 <= wait_s <= usual_s
    backoff.reset()
    assert backoff.next_s() <= 1


def test_what_the_other_side_asks_for_is_kept_to() -> None:
    assert Backoff(1, 8).next_s(retry_after_s=100) == 100
    assert Backoff(1, 8).next_s(retry_after_s=1e9) == 3_600


@given(
    st.lists(st.integers(1, 20), min_size=1, max_size=6),
    st.data(),
)
def test_missing_anomalies_are_counted_over_any_number_of_runs(counts: list[int], data: st.DataObject) -> None:
    numbers = [(boot << 32) + counter for boot, count in enumerate(counts, 1) for counter in range(1, count + 1)]
    ends = [(boot << 32) + count for boot, count in enumerate(counts[:-1], 1)]
    first = data.draw(st.integers(0, len(numbers) - 1))
    last = data.draw(st.integers(first, len(numbers) - 1))
    expected = max(0, last - first - 1)
    assert count_missing(numbers[first], numbers[last], ends) == expected
