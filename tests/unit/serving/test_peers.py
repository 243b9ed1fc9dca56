import asyncio

import pytest

from deeplog_grpc.errors import ConfigError, PeerLimitError
from deeplog_grpc.serving.limits_config import LimitsConfig
from deeplog_grpc.serving.peers import MAX_RATES, NOBODY, EntryRates, PeerCalls, current_peer, working_for


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


async def test_tasks_work_for_the_peer_of_whom_they_were_started() -> None:
    async def who() -> str:
        return current_peer()

    assert current_peer() == NOBODY
    with working_for("a"):
        started = asyncio.create_task(who())
        with working_for("b"):
            assert await asyncio.create_task(who()) == "b"
    assert await started == "a"
    assert current_peer() == NOBODY


def test_calls_and_streams_of_a_peer_are_bounded_and_forgotten() -> None:
    calls = PeerCalls(LimitsConfig(max_calls=2, max_streams=1))
    with calls.call("a", is_stream=True):
        with pytest.raises(PeerLimitError, match="1 streams of one peer"), calls.call("a", is_stream=True):
            pytest.fail("a second stream")
        with calls.call("a", is_stream=False):
            with pytest.raises(PeerLimitError, match=r"limits\.max_calls"), calls.call("a", is_stream=False):
                pytest.fail("a third call")
            with calls.call("b", is_stream=True):
                assert calls.peers == 2
    assert calls.peers == 0


def test_a_peer_may_send_its_rate_and_a_burst() -> None:
    clock = Clock()
    rates = EntryRates(100, 2, clock=clock)
    for _ in range(2):
        assert rates.wait_s("a") == 0
        rates.take("a", 150)
    assert rates.wait_s("a") == pytest.approx(1.0)
    assert rates.wait_s("b") == 0
    clock.now_s += 1.0
    assert rates.wait_s("a") == 0
    clock.now_s += 100.0
    rates.take("a", 200)  # no more than a burst was saved up
    assert rates.wait_s("a") == 0
    rates.take("a", 100)
    assert rates.wait_s("a") == pytest.approx(1.0)


def test_a_delivery_larger_than_the_burst_is_taken_and_paid_for() -> None:
    rates = EntryRates(100, 1, clock=Clock())
    assert rates.wait_s("a") == 0
    rates.take("a", 10_000)
    assert rates.wait_s("a") == pytest.approx(99.0)


def test_a_flood_of_peers_is_remembered_in_bounds() -> None:
    rates = EntryRates(100, 1, clock=Clock())
    for number in range(MAX_RATES + 100):
        rates.take(f"peer {number}", 1_000)
    assert len(rates) == MAX_RATES
    assert rates.wait_s("peer 0") == 0  # forgotten
    assert rates.wait_s(f"peer {MAX_RATES + 99}") > 0


def test_the_hard_limit_is_not_below_the_soft_one() -> None:
    with pytest.raises(ConfigError, match=r"limits.memory_hard_share: 0.5 is less than memory_soft_share \(0.8\)"):
        LimitsConfig(memory_hard_share=0.5)
