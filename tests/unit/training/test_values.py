import numpy as np
import pytest

from deeplog_grpc.models import ELAPSED, NO_PREVIOUS
from deeplog_grpc.parsing import Parser
from deeplog_grpc.training.values import ValueCollector

SECOND = 10**9


def collected(lines: list[str], *, batch: int, max_vectors: int = 1000, sessions: int = 1) -> ValueCollector:
    """Lines a second apart, in turn of some sessions."""
    parser, collector = Parser(), ValueCollector(max_vectors=max_vectors)
    parser.parse(lines)  # so that the templates do not change any more
    names = [f"s{n % sessions}" for n in range(len(lines))]
    times_ns = np.arange(1, len(lines) + 1) * SECOND
    for start in range(0, len(lines), batch):
        part = slice(start, start + batch)
        collector.add(parser.parse(lines[part]), sessions=names[part], times_ns=times_ns[part])
    return collector


LINES = [
    line
    for n in range(60)
    for line in (f"begin job-{n}x of user {['ann', 'bob'][n % 2]}", f"read {n * n % 17} rows in 0.{n % 10}5 s", "end")
]


@pytest.mark.parametrize("batch", [1, 7, 500])
def test_batches_do_not_change_what_is_collected(batch: int) -> None:
    series, left_out = collected(LINES, batch=batch).series()
    whole, reasons = collected(LINES, batch=1000).series()
    assert left_out == reasons
    for one, other in zip(series, whole, strict=True):
        assert (one.key, one.pieces, one.positions) == (other.key, other.pieces, other.positions)
        assert one.values.tobytes() == other.values.tobytes()
        assert one.previous.tolist() == other.previous.tolist()


def test_amounts_are_kept_and_the_rest_is_left_out_with_a_reason() -> None:
    series, left_out = collected(LINES, batch=100).series()
    begin, read, end = series
    assert [position.slot for position in begin.positions] == [ELAPSED]
    assert [(position.slot, position.unit) for position in read.positions] == [(ELAPSED, "s"), (0, ""), (1, "ms")]
    assert [position.slot for position in end.positions] == [ELAPSED]
    assert [(out.key, out.reason.split(":")[0]) for out in left_out] == [(0, "identifiers"), (0, "no amounts")]
    assert read.values[3].tolist() == [1.0, 9.0, 350.0]


def test_time_and_keys_before_are_those_of_the_session() -> None:
    series, _ = collected(LINES, batch=10, sessions=2).series()
    begin, read, _ = series
    assert np.isnan(begin.elapsed_s[0])
    assert begin.previous[0].tolist() == [NO_PREVIOUS, NO_PREVIOUS]
    assert set(read.elapsed_s[1:].tolist()) == {2.0}
    # Of two sessions in turn, each has every second line.
    assert read.previous[5].tolist() == [begin.key, 2]


def test_a_silence_beyond_the_time_out_begins_another_session() -> None:
    parser, collector = Parser(), ValueCollector(max_vectors=10)
    times_ns = np.array([1, 3, 1000, 1001]) * SECOND
    collector.add(parser.parse(["tick"] * 4), sessions=["s"] * 4, times_ns=times_ns)
    series, _ = collector.series(timeout_s=100.0)
    assert series[0].elapsed_s[[1, 3]].tolist() == [2.0, 1.0]
    assert np.isnan(series[0].elapsed_s[2])
    assert series[0].previous[2].tolist() == [NO_PREVIOUS, NO_PREVIOUS]
    assert collector.series()[0][0].elapsed_s[2] == 997.0


def test_only_the_last_vectors_are_kept() -> None:
    series, _ = collected(LINES, batch=9, max_vectors=25).series()
    every, _ = collected(LINES, batch=9).series()
    for kept, one in zip(series, every, strict=True):
        assert kept.values.tobytes() == one.values[-25:].tobytes()


def test_numbers_of_a_template_that_changed_are_dropped() -> None:
    parser, collector = Parser(), ValueCollector(max_vectors=100)
    for lines in (["copied 5 of 9 files to the disk sda"] * 3, ["copied 5 of 9 files to the disk sdb"] * 2):
        parsed = parser.parse(lines)
        collector.add(parsed, sessions=["s"] * len(lines), times_ns=np.arange(1, len(lines) + 1) * SECOND)
    series, _ = collector.series()
    assert [(len(one), one.pieces) for one in series if one.key == 0] == [
        (2, ("copied ", " of ", " files to the disk ", ""))
    ]
