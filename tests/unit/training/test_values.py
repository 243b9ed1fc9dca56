import numpy as np
import pytest

from deeplog_grpc.models import ELAPSED, NO_PREVIOUS
from deeplog_grpc.parsing import Parser
from deeplog_grpc.training import History
from deeplog_grpc.training.values import CollectedValues, ValueCollector

SECOND = 10**9


def collected(lines: list[str], *, batch: int, max_vectors: int = 1000, sessions: int = 1) -> CollectedValues:
    """Lines a second apart, in turn of some sessions."""
    parser, collector, history = Parser(), ValueCollector(max_vectors=max_vectors), History()
    parser.parse(lines)  # so that the templates do not change any more
    names = [f"s{n % sessions}" for n in range(len(lines))]
    times_ns = np.arange(1, len(lines) + 1) * SECOND
    for start in range(0, len(lines), batch):
        part = slice(start, start + batch)
        parsed = parser.parse(lines[part])
        collector.add(parsed)
        history.extend(parsed.keys, names[part], times_ns[part])
    return collector.collected(history.cut(0.0), max_values=8)


LINES = [
    line
    for n in range(60)
    for line in (f"begin job-{n}x of user {['ann', 'bob'][n % 2]}", f"read {n * n % 17} rows in 0.{n % 10}5 s", "end")
]


@pytest.mark.parametrize("batch", [1, 7, 500])
def test_batches_do_not_change_what_is_collected(batch: int) -> None:
    parts, whole = collected(LINES, batch=batch), collected(LINES, batch=1000)
    assert (parts.left_out, parts.categories) == (whole.left_out, whole.categories)
    for one, other in zip(parts.series, whole.series, strict=True):
        assert (one.key, one.pieces, one.positions) == (other.key, other.pieces, other.positions)
        assert one.values.tobytes() == other.values.tobytes()
        assert one.previous.tolist() == other.previous.tolist()
    assert [entries.tolist() for entries in parts.entries] == [entries.tolist() for entries in whole.entries]


def test_amounts_are_kept_and_the_rest_is_left_out_with_a_reason() -> None:
    found = collected(LINES, batch=100)
    begin, read, end = found.series
    assert [position.slot for position in begin.positions] == [ELAPSED]
    assert [(position.slot, position.unit) for position in read.positions] == [(ELAPSED, "s"), (0, ""), (1, "ms")]
    assert [position.slot for position in end.positions] == [ELAPSED]
    assert [(out.key, out.reason.split(":")[0]) for out in found.left_out] == [(0, "identifiers"), (0, "no amounts")]
    assert read.values[3].tolist() == [1.0, 9.0, 350.0]


def test_time_and_keys_before_are_those_of_the_session() -> None:
    begin, read, _ = collected(LINES, batch=10, sessions=2).series
    assert np.isnan(begin.elapsed_s[0])
    assert begin.previous[0].tolist() == [NO_PREVIOUS, NO_PREVIOUS]
    assert set(read.elapsed_s[1:].tolist()) == {2.0}
    # Of two sessions in turn, each has every second line.
    assert read.previous[5].tolist() == [begin.key, 2]


def test_slots_whose_values_are_few_are_categories() -> None:
    begin = collected(LINES, batch=10).categories[0]
    assert (begin.key, begin.slot, begin.count) == (0, 1, 60)
    assert begin.firsts == {"ann": (0, 0), "bob": (1, 3)}


def test_dates_and_amounts_are_no_categories() -> None:
    lines = [f"rotated 2024-01-0{n % 3 + 1} after {n % 3 + 1}.5 s with code {n % 3}" for n in range(90)]
    assert [slot.slot for slot in collected(lines, batch=10).categories] == [2]


def test_a_few_whole_numbers_are_codes_and_no_measure() -> None:
    found = collected([f"answered {(200, 404, 500)[n % 3]} after {n % 37} rows" for n in range(300)], batch=50)
    assert [position.slot for position in found.series[0].positions] == [ELAPSED, 1]
    assert [(out.slot, out.reason.partition(":")[0]) for out in found.left_out] == [(0, "codes")]
    assert [slot.slot for slot in found.categories] == [0]


def test_only_the_last_vectors_are_kept() -> None:
    last, every = collected(LINES, batch=9, max_vectors=25), collected(LINES, batch=9)
    for kept, one in zip(last.series, every.series, strict=True):
        assert kept.values.tobytes() == one.values[-25:].tobytes()
    assert every.first_whole == 0
    assert last.first_whole == 34 * 3 + 3  # the last dropped entry is the 35th "end"


def test_numbers_of_a_template_that_changed_are_dropped() -> None:
    parser, collector, history = Parser(), ValueCollector(max_vectors=100), History()
    for lines in (["copied 5 of 9 files to the disk sda"] * 3, ["copied 5 of 9 files to the disk sdb"] * 2):
        parsed = parser.parse(lines)
        collector.add(parsed)
        history.extend(parsed.keys, ["s"] * len(lines), np.arange(1, len(lines) + 1) * SECOND)
    series = collector.collected(history.cut(None), max_values=8).series
    assert [(len(one), one.pieces) for one in series if one.key == 0] == [
        (2, ("copied ", " of ", " files to the disk ", ""))
    ]
