"""Orders to shards, and what becomes of them when one dies."""

from collections.abc import Callable

import pytest

from deeplog_grpc.detection import ApplicationModel, EntryBatch, Kind, SessionConfig
from deeplog_grpc.serving.shard_codec import packed, unpacked
from deeplog_grpc.serving.shards import DEATHS_S, MAX_DEATHS, ShardError, ShardLostError, Shards
from tests.sharded import LocalLink, sharded_detector
from tests.trained import fresh_detector, joined, order, rest_of_order


class Counter(LocalLink):
    """A shard that counts its orders, and may be made to die of one."""

    def __init__(self) -> None:
        super().__init__()
        self.orders: list[str] = []
        self.dies_of = ""

    def send(self, content: bytes, /) -> None:
        name = unpacked(content)["order"]
        self.orders.append(name)
        if name == self.dies_of:
            self.close()
        super().send(content)


@pytest.fixture
def links() -> list[Counter]:
    """All that were started, in their order."""
    return []


@pytest.fixture
def start(links: list[Counter]) -> Callable[[], Counter]:
    def start() -> Counter:
        links.append(Counter())
        return links[-1]

    return start


def names_apart(shards: Shards) -> tuple[str, str]:
    """Two sessions that are in different shards."""
    first = "a"
    return first, next(name for name in "bcdefghijk" if shards.shard_of(name) != shards.shard_of(first))


def of(batch: EntryBatch, name: str) -> EntryBatch:
    return EntryBatch.of(batch.bodies, times_ns=batch.times_ns, sessions=[name] * len(batch))


def test_a_shard_that_dies_is_replaced_and_the_others_judge_each_entry_once(
    trained: ApplicationModel, links: list[Counter], start: Callable[[], Counter]
) -> None:
    shards = Shards(2, start)
    detector, one = sharded_detector(trained, shards, cold_start_s=60.0), fresh_detector(trained, cold_start_s=60.0)
    gone, there = names_apart(shards)
    begin, rest = order(3), rest_of_order(3)
    begin = begin.slice(0, len(begin) - len(rest))
    for name in (gone, there):
        detector.score(of(begin, name))
        one.score(of(begin, name))
    dying = links[shards.shard_of(gone)]
    dying.dies_of = "judge"
    scored = detector.score(joined(of(rest, gone), of(rest, there)))
    expected = one.score(joined(of(rest, gone), of(rest, there)))
    count = len(rest)
    assert scored.ranks[count:].tolist() == expected.ranks[count:].tolist()
    assert set(scored.kinds.tolist()) == {Kind.NORMAL}
    assert not scored.ranks[0]  # met in its middle, as after a restart of the server
    assert [link.orders.count("judge") for link in links if link is not dying] == [2, 1]
    assert scored.verdict(0).template == expected.verdict(0).template
    assert detector.open_sessions == 2


def test_evidence_that_died_with_its_shard_is_refused(
    trained: ApplicationModel, links: list[Counter], start: Callable[[], Counter]
) -> None:
    detector = sharded_detector(trained, Shards(2, start))
    scored = detector.score(of(order(1), "a"))
    for link in links[:2]:
        link.close()
    with pytest.raises(ShardLostError):
        scored.verdict(0)
    assert detector.score(of(order(1), "a")).verdict(0).kind is Kind.NORMAL


def test_shards_that_die_again_and_again_are_given_up(
    trained: ApplicationModel, links: list[Counter], start: Callable[[], Counter]
) -> None:
    now_s, failures = 0.0, 0

    def fail() -> None:
        nonlocal failures
        failures += 1

    shards = Shards(1, start, clock=lambda: now_s)
    shards.on_failure = fail
    detector = sharded_detector(trained, shards)
    for _ in range(MAX_DEATHS - 1):
        links[-1].close()
        detector.flush()
    now_s += DEATHS_S + 1.0
    links[-1].close()
    detector.flush()
    assert (shards.has_failed, failures) == (False, 0)
    for _ in range(MAX_DEATHS - 2):
        links[-1].close()
        detector.flush()
    links[-1].close()
    for _ in range(2):
        with pytest.raises(ShardLostError):
            detector.flush()
    assert (shards.has_failed, failures) == (True, 1)
    assert len(links) == 1 + MAX_DEATHS + MAX_DEATHS - 2


def test_no_shard_is_started_once_they_are_closed(
    trained: ApplicationModel, links: list[Counter], start: Callable[[], Counter]
) -> None:
    shards = Shards(2, start)
    detector = sharded_detector(trained, shards)
    shards.close()
    with pytest.raises(ShardLostError):
        detector.flush()
    assert len(links) == 2


def test_what_fails_in_a_shard_fails_here_and_the_next_order_gets_its_own_reply(
    trained: ApplicationModel, start: Callable[[], Counter], capsys: pytest.CaptureFixture[str]
) -> None:
    shards = Shards(2, start)
    detector = sharded_detector(trained, shards)
    with pytest.raises(ShardError, match="KeyError"):
        shards.exchange({shard: lambda: {"order": "nothing"} for shard in range(2)})
    assert detector.score(of(order(1), "a")).kinds.tolist() == [Kind.NORMAL] * len(order(1))


def test_what_nobody_asks_for_any_more_is_forgotten(
    trained: ApplicationModel, links: list[Counter], start: Callable[[], Counter]
) -> None:
    shards = Shards(2, start)
    old, new = sharded_detector(trained, shards), sharded_detector(trained, shards)
    del old
    new.flush()
    assert [link.orders for link in links] == [["forget", "flush"]] * 2


def test_only_shards_that_have_something_to_do_are_asked(
    trained: ApplicationModel, links: list[Counter], start: Callable[[], Counter]
) -> None:
    shards = Shards(2, start)
    detector = sharded_detector(trained, shards, sessions=SessionConfig(), timeout_s=60.0)
    detector.score(of(order(1), "a"))
    detector.advance(1)
    assert detector.workflow_path("a") is not None
    asked = links[shards.shard_of("a")]
    assert asked.orders == ["judge", "path"]
    assert not links[1 - shards.shard_of("a")].orders
    assert len(detector.advance(detector.event_time_ns + 61 * 10**9).session_ends) == 1
    assert detector.next_deadline_ns > 2**62


def test_plain_data_comes_back_as_it_was() -> None:
    message = {"rows": (1, -(2**63), 2**63), "text": "a\x00b\n", "share": float("inf"), "counts": {7: None}}
    assert unpacked(packed(message)) == message
