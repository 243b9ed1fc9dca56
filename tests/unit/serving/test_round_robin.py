"""Turns of peers: order within one, fairness between them."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from deeplog_grpc.serving.round_robin import TURN_ENTRIES, RoundRobin

jobs = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3 * TURN_ENTRIES)), max_size=60)


def taken(line: RoundRobin[tuple[str, int]]) -> list[tuple[str, int]]:
    found = []
    while line:
        found.append(line.take())
    return found


@given(jobs)
def test_what_a_peer_sent_keeps_its_order_and_nothing_is_lost(sent: list[tuple[str, int]]) -> None:
    line: RoundRobin[tuple[str, int]] = RoundRobin()
    for number, (peer, entries) in enumerate(sent):
        line.add(peer, (peer, number), entries)
    found = taken(line)
    for peer in "abc":
        assert [job for job in found if job[0] == peer] == [
            (peer, number) for number, (own, _) in enumerate(sent) if own == peer
        ]


@given(st.integers(1, 5 * TURN_ENTRIES), st.integers(TURN_ENTRIES // 10, TURN_ENTRIES))
def test_peers_that_wait_get_equal_shares_whatever_the_size_of_their_jobs(large: int, small: int) -> None:
    line: RoundRobin[tuple[str, int]] = RoundRobin()
    for _ in range(3):
        line.add("large", ("large", large), large)
    for _ in range(4 * large // small):
        line.add("small", ("small", small), small)
    had: Counter[str] = Counter()
    waiting = {"large": 3, "small": 4 * large // small}
    for peer, entries in taken(line):
        had[peer] += entries
        waiting[peer] -= 1
        if all(waiting.values()):
            assert abs(had["large"] - had["small"]) <= 2 * TURN_ENTRIES + max(large, small)


def test_a_peer_with_one_job_waits_for_one_turn_of_each_other() -> None:
    line: RoundRobin[tuple[str, int]] = RoundRobin()
    for number in range(100):
        for peer in "ab":
            line.add(peer, (peer, number), TURN_ENTRIES)
    line.add("c", ("c", 0), 10)
    assert taken(line).index(("c", 0)) == 2
