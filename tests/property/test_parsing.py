"""What holds for the parser whatever it reads."""

import json
import math
from collections.abc import Sequence

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deeplog_grpc.parsing import HeadTimestamps, ParsedBatch, Parser, ParserConfig, SlotColumn, Template, kind_of
from deeplog_grpc.parsing.kinds import AMOUNTS
from deeplog_grpc.parsing.values import context_of, read, typed

# Few words, so that lines meet: the same template, nearly the same template, a parameter where another has a word.
_WORDS = (
    "session opened closed user root guest for is down = ( ) : , ' . <*> 7 0x1f blk_3 10.0.0.1:80 /var/x KB bytes "
    "domain store_a store_b com.example.A com.example.B true -> [x] Réseau ok"
)
_words = st.sampled_from(_WORDS.split())
_sentences = st.lists(_words, max_size=9).flatmap(
    lambda words: st.sampled_from([" ".join(words), "".join(words), "  ".join(words)])
)
_text = st.text(max_size=40)
_lines = st.lists(st.one_of(_sentences, _sentences, _text), max_size=40)
_relaxed = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def _parts(lines: Sequence[str], sizes: Sequence[int]) -> list[Sequence[str]]:
    parts, start = [], 0
    for size in sizes:
        parts.append(lines[start : start + size])
        start += size
    return [*parts, lines[start:]]


def _keys(batches: Sequence[ParsedBatch]) -> list[tuple[int, bool]]:
    return [(int(k), bool(n)) for batch in batches for k, n in zip(batch.keys, batch.is_new, strict=True)]


def _put_back(parser: Parser, batch: ParsedBatch, index: int) -> str:
    values = batch.parameters(index)
    template = parser.template(int(batch.keys[index]))
    return template.fill(values[: template.slots]) + "".join(values[template.slots :])


@_relaxed
@given(_lines)
def test_parameters_put_back_in_the_template_give_the_line(lines: list[str]) -> None:
    parser = Parser()
    batch = parser.parse(lines)
    assert [_put_back(parser, batch, index) for index in range(len(lines))] == lines


@_relaxed
@given(_lines)
def test_a_template_covers_every_line_ever_given_its_key(lines: list[str]) -> None:
    parser = Parser()
    keys = [int(parser.parse([line]).keys[0]) for line in lines]
    for line, key in zip(lines, keys, strict=True):
        assert parser.template(key).match(line.partition("\n")[0]) is not None


@_relaxed
@given(_lines, st.lists(st.integers(1, 10), max_size=6))
def test_batch_sizes_change_nothing(lines: list[str], sizes: list[int]) -> None:
    whole, parts = Parser(), Parser()
    expected = _keys([whole.parse(lines)])
    assert _keys([parts.parse(part) for part in _parts(lines, sizes)]) == expected
    assert parts.state() == whole.state()


@_relaxed
@given(_lines, st.integers(0, 3))
def test_the_cache_changes_nothing(lines: list[str], entries: int) -> None:
    cached, bare = Parser(), Parser(ParserConfig(cache_entries=entries))
    assert _keys([cached.parse(lines * 2)]) == _keys([bare.parse(lines * 2)])


@_relaxed
@given(_lines, _lines, st.booleans())
def test_saving_and_loading_in_the_middle_changes_nothing(before: list[str], after: list[str], seal: bool) -> None:
    parser = Parser()
    parser.parse(before)
    if seal:
        parser.seal()
    loaded = Parser.from_state(json.loads(json.dumps(parser.state())))
    assert _keys([loaded.parse(after)]) == _keys([parser.parse(after)])
    assert loaded.state() == parser.state()
    assert loaded.templates() == parser.templates()


@_relaxed
@given(_lines)
def test_the_limits_hold_and_change_no_line(lines: list[str]) -> None:
    parser = Parser(ParserConfig(max_templates=3, max_forms=16, max_line_chars=16, max_tokens=4))
    batch = parser.parse(lines)
    assert len(parser.templates()) <= 4
    assert sum(template.count for template in parser.templates()) == len(lines)
    assert [_put_back(parser, batch, index) for index in range(len(lines))] == lines


@_relaxed
@given(_lines)
def test_the_same_line_keeps_its_key(lines: list[str]) -> None:
    parser = Parser()
    first = parser.parse(lines).keys.tolist()
    second = parser.parse(lines).keys.tolist()
    assert [parser.resolve(key) for key in first] == [parser.resolve(key) for key in second]


@_relaxed
@given(_lines, _lines)
def test_sealed_keys_stay_what_they_are(trained: list[str], served: list[str]) -> None:
    parser = Parser()
    parser.parse(trained)
    live = [template.key for template in parser.templates()]
    parser.seal()
    parser.parse(served)
    assert [parser.resolve(key) for key in live] == live


@_relaxed
@given(st.lists(st.text(max_size=60), max_size=20), st.integers(0, 2_000_000_000_000_000_000))
def test_any_text_has_a_time_or_none(lines: list[str], reference_ns: int) -> None:
    times, rest = HeadTimestamps().split(lines, reference_ns)
    assert len(times) == len(rest) == len(lines)
    assert all(line.strip() == text for line, text, time in zip(lines, rest, times, strict=True) if time == 0)


@_relaxed
@given(st.text(max_size=80))
def test_any_text_has_a_kind(value: str) -> None:
    assert kind_of(value) == kind_of(f" {value} ")


# Values that are nearly numbers, between constants that are nearly units.
_values = st.one_of(
    st.text(max_size=12),
    st.from_regex(r"[<>~]?[+-]?[0-9]{1,3}[.,:]?[0-9]{0,3} ?(ms|KB|kB/s|h|Mbps|%|G|e5|[a-z])?", fullmatch=True),
    st.sampled_from(["1h2m3s", "PT1M30S", "1165 bytes (1.13 KB)", "00:01:23", "nan", "1_0", "0x1f", "a, b", "1,2,3"]),
)
_constants = st.one_of(st.text(max_size=8), st.sampled_from([" ms", "port ", "size=", " KB/s", "took ", "_s: ", "%"]))


@_relaxed
@given(_lines)
def test_spans_give_the_text_back(lines: list[str]) -> None:
    batch = Parser().parse(lines)
    for index, body in enumerate(lines):
        parameters = batch.typed_parameters(index)
        if "\x1b" not in body:  # an escape sequence inside a value belongs to its place, not to the value
            assert tuple(p.text for p in parameters) == batch.parameters(index)
        assert all(body[p.start : p.end] == p.text for p in parameters)


@_relaxed
@given(st.lists(_constants, min_size=1, max_size=4), st.data())
def test_any_value_in_any_template_has_a_type(pieces: list[str], data: st.DataObject) -> None:
    values = data.draw(st.lists(_values, min_size=len(pieces) - 1, max_size=len(pieces) - 1))
    body = Template(key=0, pieces=tuple(pieces), count=1).fill(values)
    parameters = typed(pieces, values)
    assert [body[p.start : p.end] for p in parameters] == values
    for p in parameters:
        assert p.number is None or (math.isfinite(p.number) and p.kind in AMOUNTS)
        assert not p.unit or p.number is not None


@_relaxed
@given(st.lists(_values, max_size=8), _constants, _constants)
def test_a_column_has_the_numbers_of_its_values(values: list[str], before: str, after: str) -> None:
    context = context_of(before, after)
    texts = [value for value in values if "\n" not in value]  # the first row alone is matched
    numbers = [read(text, context).number for text in texts]
    expected = [math.nan if number is None else number for number in numbers]
    np.testing.assert_array_equal(SlotColumn(texts=texts, context=context).numbers(), expected)


@_relaxed
@given(_lines)
def test_columns_hold_the_parameters_of_every_line(lines: list[str]) -> None:
    batch = Parser().parse(lines)
    seen = []
    for columns in batch.columns():
        for place, row in enumerate(columns.rows.tolist()):
            values = tuple(slot.texts[place] for slot in columns.slots)
            assert values == batch.parameters(row)[: len(values)]
            seen.append(row)
    assert sorted(seen) == list(range(len(lines)))
