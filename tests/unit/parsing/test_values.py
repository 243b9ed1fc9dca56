"""Kinds, numbers and units of values, alone and in their template."""

import math

import numpy as np
import pytest

from deeplog_grpc.parsing import Parser, SlotColumn, ValueKind, kind_of
from deeplog_grpc.parsing.columns import slot_texts
from deeplog_grpc.parsing.kinds import AMOUNTS
from deeplog_grpc.parsing.templates import match_pieces
from deeplog_grpc.parsing.values import context_of, read

V = ValueKind


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("  ", V.EMPTY),
        ("+7", V.INTEGER),
        ("1,234,567", V.INTEGER),
        ("1e-5", V.DECIMAL),
        ("10.2.31", V.IDENTIFIER),  # a version
        ("2024-05-01 10:00:00,123", V.TIME),
        ("Sun Jun 04 04:47:44 PDT 2005", V.TIME),
        ("fe80::1", V.IP),
        ("10.0.0.1/24", V.IP),
        ("300.0.0.1", V.IDENTIFIER),
        ("ff:f2:9f:16:e2:23", V.MAC),
        ("node-7:8080", V.HOST),
        ("C:\\Windows\\x.dll", V.PATH),
        ("~/x", V.PATH),
        ("deadbee7", V.HEX),
        ("Réseau", V.WORD),
        ("a-b", V.IDENTIFIER),
        ("-", V.IDENTIFIER),
        ("[10.0.0.1, 10.0.0.2]", V.LIST),
        ("failed, retrying", V.TEXT),
        ("12 pieces", V.TEXT),
        ("12k", V.IDENTIFIER),
        ("9" * 300, V.TEXT),
    ],
)
def test_the_kind_of_a_value(value: str, kind: ValueKind) -> None:
    assert kind_of(value) is kind


@pytest.mark.parametrize(
    ("line", "number", "unit"),
    [
        ("took 3ms", 3, "ms"),
        ("took 1.2s", 1200, "ms"),
        ("took 250 µs", 0.25, "ms"),
        ("waited 5 min", 300_000, "ms"),
        ("uptime 2h30m", 9_000_000, "ms"),
        ("elapsed=00:01:23", 83_000, "ms"),
        ("lifetime 01:07", 67_000, "ms"),
        ("duration_ms=17", 17, "ms"),
        ("elapsedMillis: 17", 17, "ms"),
        ("latency(us)=1500", 1.5, "ms"),
        ("took <1 sec", 1000, "ms"),
        ("used 1.5 GB", 1.5 * 2**30, "bytes"),
        ("used 1.5GiB", 1.5 * 2**30, "bytes"),
        ("size 10 bytes", 10, "bytes"),
        ("heap size 512k", 512 * 1024, "bytes"),
        ("memory: 2G", 2 * 2**30, "bytes"),
        ("bytes=12", 12, "bytes"),
        ("disk 97% full", 97, "%"),
        ("at 12 KB/s", 12 * 1024, "bytes/s"),
        ("link 100 Mbps", 100_000_000, "bits/s"),
        ("clock 2.4 GHz", 2_400_000_000, "Hz"),
        ("sold 5 pieces", 5, ""),
        ("load 0.75", 0.75, ""),
    ],
)
def test_a_number_carries_its_unit_wherever_it_stands(line: str, number: float, unit: str) -> None:
    (parameter,) = (p for p in Parser().parse([line]).typed_parameters(0) if p.kind in AMOUNTS)
    assert parameter.number == pytest.approx(number)
    assert parameter.unit == unit
    assert line[parameter.start : parameter.end] == parameter.text


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("listening on port 8080", V.PORT),
        ("srcPort=8080", V.PORT),
        ("port 99999", V.INTEGER),
        ("started at 10:35:13", V.TIME),
        ("hour=7", V.INTEGER),
        ("pool_min=7", V.INTEGER),
        ("status=200", V.INTEGER),
        ("id 0x1f", V.HEX),
    ],
)
def test_what_stands_around_a_value_does_not_mislead(line: str, kind: ValueKind) -> None:
    (parameter,) = Parser().parse([line]).typed_parameters(0)
    assert parameter.kind is kind
    assert parameter.unit == ""


def test_names_made_of_digits_have_no_number() -> None:
    for value, before in (("8080", "port "), ("0x1f", ""), ("10.0.0.1", ""), ("10:35:13", "at "), ("deadbee7", "")):
        assert read(value, context_of(before, "")).number is None


def test_a_number_is_never_infinite() -> None:
    assert read("1e999").number is None
    assert read("9" * 256, context_of("", " PB")).number is not None
    assert read("1e300", context_of("", " PB")) == read("1e300")


def test_the_rows_below_the_first_are_a_text_with_its_place() -> None:
    body = "failed after 3 s\n  at x.py:7\n"
    seconds, rest = Parser().parse([body]).typed_parameters(0)
    assert (seconds.number, rest.kind, rest.text) == (3000, V.TEXT, "\n  at x.py:7\n")
    assert body[rest.start : rest.end] == rest.text


def test_columns_are_those_of_the_merged_key() -> None:
    batch = Parser().parse([f"loaded the file {name}" for name in ("alpha_one", "beta_two", "gamma_three")])
    assert batch.keys.tolist() == [0, 1, 0]
    (columns,) = batch.columns()
    assert (columns.key, columns.rows.tolist()) == (0, [0, 1, 2])
    assert list(columns.slots[0].texts) == ["alpha_one", "beta_two", "gamma_three"]


def test_of_two_parameters_that_touch_the_second_has_it_all() -> None:
    pieces = ("a ", "", " b ", "")
    assert match_pieces(pieces, "a 7x b 8") == ("", "7x", "8")
    assert slot_texts(pieces, ["a 7x b 8", "a  b 9"]) == [["", ""], ["7x", ""], ["8", "9"]]


@pytest.mark.parametrize(
    "odd",
    [
        "<1 sec",
        "P1DT2H",
        "≈ 3 KB",
        " .5",
        "blk_7",
        "/var/7",
        "nan",
        "inf",
        "1_000",
        "١٢",
        "-",
        "",
        "0x1f",
        "1e5",
        "9" * 300,
        "1,000",
        "3 ms",
        "3..",
    ],
)
def test_a_column_says_the_same_as_value_by_value(odd: str) -> None:
    for context in (context_of("", ""), context_of("", " ms"), context_of("port ", "")):
        texts = ["12", odd, "-0.5"]
        expected = [number if (number := read(text, context).number) is not None else math.nan for text in texts]
        np.testing.assert_array_equal(SlotColumn(texts=texts, context=context).numbers(), expected)


def test_the_batch_says_which_line_changed_its_template() -> None:
    parser = Parser()
    batch = parser.parse(["session opened for user ann", "session opened for user bob", "session opened for user eve"])
    assert batch.is_new.tolist() == [True, False, False]
    assert batch.is_changed.tolist() == [False, True, False]
    assert parser.parse(["session opened for user ann"]).is_changed.tolist() == [False]
    loaded = Parser.from_state(parser.state())
    assert loaded.parse(["session opened for user zoe"]).is_changed.tolist() == [False]


def test_places_count_terminal_colours() -> None:
    body = "\x1b[1;31mERROR\x1b[0m disk \x1b[1m7\x1b[0m failed after 3\x1b[1m ms\x1b[0m\nrow"
    number, duration, rest = Parser().parse([body]).typed_parameters(0)
    assert (number.text, duration.text, duration.number, rest.text) == ("7", "3", 3.0, "\nrow")
    assert all(body[p.start : p.end] == p.text for p in (number, duration, rest))
