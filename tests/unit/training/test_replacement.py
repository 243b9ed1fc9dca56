from deeplog_grpc.detection import ApplicationModel, EntryBatch
from deeplog_grpc.testing import simulate_log
from deeplog_grpc.training.replacement import Replacement, compare, flagged, halves
from tests.trained import LATER_S, entries_of


def batches(*, fault_rate: float) -> list[EntryBatch]:
    log = simulate_log(60, seed=9, fault_rate=fault_rate, start_s=LATER_S)
    whole = entries_of(log.lines)
    return [whole.slice(begin, begin + 100) for begin in range(0, len(whole), 100)]


def test_a_model_is_compared_by_the_sessions_that_it_flags(trained: ApplicationModel) -> None:
    normal, faulty = batches(fault_rate=0.0), batches(fault_rate=0.5)
    found, sessions = flagged(trained, normal)
    assert (found <= 2, sessions) == (True, 60)
    assert flagged(trained, faulty)[0] > 5
    same = compare(trained, trained, faulty)
    assert same.flagged_before == same.flagged_after > 5
    assert same.refusal(max_rise=0.0) == ""


def test_neither_model_learns_from_what_it_is_compared_on(trained: ApplicationModel) -> None:
    before = trained.parser.state()
    flagged(trained, batches(fault_rate=0.5))
    assert trained.parser.state() == before


def test_streams_count_in_blocks(trained: ApplicationModel) -> None:
    stream = EntryBatch.of(["something never seen"] * 250, sources=["host"] * 250)
    assert flagged(trained, [stream.slice(0, 130), stream.slice(130, 250)]) == (3, 3)


def test_more_alarms_than_the_rise_allows_are_refused() -> None:
    assert not Replacement(sessions=1_000, flagged_before=3, flagged_after=13).refusal(max_rise=0.01)
    assert Replacement(sessions=1_000, flagged_before=3, flagged_after=14).refusal(max_rise=0.01)
    assert not Replacement(sessions=10, flagged_before=0, flagged_after=1).refusal(max_rise=0.0)
    assert Replacement(sessions=10, flagged_before=0, flagged_after=2).refusal(max_rise=0.0)


def test_halves_keep_all_entries_in_order() -> None:
    whole = batches(fault_rate=0.0)
    total = sum(map(len, whole))
    for first in (0, 1, 100, 333, total, total + 5):
        before, after = halves(whole, first)
        assert sum(map(len, before)) == min(first, total)
        assert [body for batch in (*before, *after) for body in batch.bodies] == [
            body for batch in whole for body in batch.bodies
        ]
