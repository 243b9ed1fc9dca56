"""The simulator of load keeps to what it was asked for."""

import re
from collections import Counter

import pytest

from deeplog_grpc.detection import EntryBatch
from deeplog_grpc.parsing import Parser
from deeplog_grpc.testing import LOAD_END_PATTERN, LoadShape, SimulatedLoad

WINDOW = 10


def sessions_of(batch: EntryBatch) -> list[str]:
    return [body[1 : body.index("]")] for body in batch.bodies]


def is_last(body: str) -> bool:
    return re.search(LOAD_END_PATTERN, body) is not None


def served(shape: LoadShape, entries: int, *, seed: int = 1) -> tuple[SimulatedLoad, EntryBatch]:
    load = SimulatedLoad(shape, seed=seed)
    return load, load.entries(entries)


def test_the_same_seed_gives_the_same_entries_however_they_are_asked_for() -> None:
    shape = LoadShape(open_sessions=20, novelty=0.2, fault_rate=0.05)
    whole = served(shape, 2_000)[1]
    load = SimulatedLoad(shape, seed=1)
    parts = EntryBatch.concat([load.entries(700), load.entries(1_300)])
    assert parts.bodies == whole.bodies
    assert parts.times_ns.tolist() == whole.times_ns.tolist()
    assert served(shape, 2_000, seed=2)[1].bodies != whole.bodies


@pytest.mark.parametrize("templates", [10, 25, 100])
def test_a_parser_finds_the_templates(templates: int) -> None:
    _, batch = served(LoadShape(templates=templates, open_sessions=20), 40 * templates)
    parser = Parser()
    parser.parse(batch.bodies)
    assert len(parser.templates()) == templates


@pytest.mark.parametrize("templates", [10, 1_000])
@pytest.mark.parametrize("novelty", [0.0, 0.05, 0.3])
def test_as_many_windows_are_new_as_asked_for_whatever_the_templates(templates: int, novelty: float) -> None:
    load, warm_up = served(LoadShape(templates=templates, open_sessions=50, novelty=novelty), 8_000)
    before, seen_before = load.windows, load.new_windows
    batch = load.entries(20_000)
    assert (load.new_windows - seen_before) / (load.windows - before) == pytest.approx(novelty, abs=0.02)
    assert load.new_windows == new_windows(EntryBatch.concat([warm_up, batch]))


def new_windows(batch: EntryBatch) -> int:
    """Counted anew: texts without their numbers are templates."""
    pasts: dict[str, tuple[str, ...]] = {}
    seen = set()
    for session, body in zip(sessions_of(batch), batch.bodies, strict=True):
        window = pasts.get(session, ())[-WINDOW:]
        seen.add(window)
        pasts[session] = (*window, re.sub(r"\d+", "", body.partition("]")[2]))
    return len(seen)


def test_so_many_sessions_are_open_and_each_ends_with_an_entry_that_says_so() -> None:
    load = SimulatedLoad(LoadShape(open_sessions=30), seed=3)
    first = list(load.first_entries(8))
    assert [len(batch) for batch in first] == [8, 8, 8, 6]
    bodies = [body for batch in first for body in batch.bodies] + list(load.entries(5_000).bodies)
    lengths: Counter[str] = Counter()
    for body in bodies:
        session = body.partition("]")[0]
        lengths[session] += 1
        if is_last(body):
            assert lengths.pop(session) == 19
        assert len(lengths) <= 30
    assert all(length < 19 for length in lengths.values())


def test_memoryless_sessions_that_have_just_begun_end_as_often_as_old_ones() -> None:
    load = SimulatedLoad(LoadShape(open_sessions=20_000, memoryless=True), seed=4)
    assert not any(is_last(body) for batch in load.first_entries(5_000) for body in batch.bodies)
    ends = sum(map(is_last, load.entries(10_000).bodies))
    assert ends / 10_000 == pytest.approx(1 / 18, abs=0.02)


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.1])
def test_so_many_entries_are_faults_half_of_them_slow_and_half_errors(rate: float) -> None:
    load, batch = served(LoadShape(open_sessions=50, fault_rate=rate), 20_000)
    failed = sum("request failed" in body for body in batch.bodies)
    slow = sum(re.search(r"took \d{5} ms", body) is not None for body in batch.bodies)
    assert load.faults == failed + slow
    assert load.faults / len(batch) == pytest.approx(rate, abs=0.01)
    assert failed / len(batch) == pytest.approx(rate / 2, abs=0.01)


def test_the_pace_of_a_session_does_not_depend_on_how_many_are_open() -> None:
    for open_sessions in (10, 1_000):
        _, batch = served(LoadShape(open_sessions=open_sessions), 10 * open_sessions)
        span_s = (batch.times_ns[-1] - batch.times_ns[0]) / 1e9
        assert span_s == pytest.approx(10, rel=0.05)


@pytest.mark.parametrize(
    ("field", "value"), [("templates", 9), ("open_sessions", 0), ("fault_rate", 0.2), ("novelty", 0.6)]
)
def test_what_cannot_be_made_is_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        LoadShape(**{field: value})  # type: ignore[arg-type]  # of any field
