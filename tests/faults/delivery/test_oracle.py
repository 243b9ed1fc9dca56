"""The oracle finds each kind of trouble: one that finds nothing proves nothing."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.faults.delivery.oracle import IDS_OF_A_SOURCE, Findings, Judged, Line, Oracle


def judged(lines: Sequence[Line]) -> list[Judged]:
    return [Judged(line.body, line.session, line.source) for line in lines]


@pytest.fixture
def oracle() -> Oracle:
    return Oracle()


@pytest.fixture
def lines(oracle: Oracle) -> list[Line]:
    """Two sources with three acknowledged lines each."""
    lines = [line for _ in range(2) for line in oracle.issue(oracle.source(), 3)]
    oracle.sent(lines)
    oracle.acknowledged(lines)
    return lines


def troubles(findings: Findings) -> dict[str, int]:
    names = ("lost", "unknown", "changed", "doubled", "doubled_wrongly", "disordered")
    return {name: len(found) for name in names if (found := getattr(findings, name))}


def test_all_of_a_line_follows_from_its_id(lines: list[Line]) -> None:
    assert lines[4] == Line(IDS_OF_A_SOURCE + 1)
    assert [one.id for one in judged(lines)] == [line.id for line in lines]
    assert len({line.session for line in lines}) == len({line.source for line in lines}) == 2


def test_what_was_judged_once_and_in_order_is_sound(oracle: Oracle, lines: list[Line]) -> None:
    findings = oracle.findings(judged([lines[3], lines[0], lines[1], lines[4], lines[5], lines[2]]))
    assert findings.is_sound
    assert troubles(findings) == {}
    assert (findings.issued, findings.acknowledged, findings.judged) == (6, 6, 6)


def test_each_trouble_is_found(oracle: Oracle, lines: list[Line]) -> None:
    record = judged(lines)
    for expected, broken in {
        "lost": record[:-1],
        "unknown": [*record, Judged("open id=77", "s", "h")],
        "changed": [replace(record[0], session="other"), *record[1:]],
        "doubled_wrongly": [*record, record[2]],
        "disordered": [record[1], record[0], *record[2:]],
    }.items():
        findings = oracle.findings(broken)
        assert troubles(findings) == {expected: 1}
        assert not findings.is_sound
    assert troubles(oracle.findings([*record, Judged("nothing of ours", "", "")])) == {"unknown": 1}


def test_a_line_may_be_judged_twice_only_if_it_was_in_flight_when_the_server_stopped(
    oracle: Oracle, lines: list[Line]
) -> None:
    later = oracle.issue(oracle.sources[0], 1)
    oracle.sent(later)
    oracle.stopped()
    oracle.sent(later)
    oracle.acknowledged(later)
    oracle.stopped()
    record = judged([*lines, *later])
    twice = oracle.findings([*record, record[-1]])
    assert twice.is_sound
    assert troubles(twice) == {"doubled": 1}
    assert troubles(oracle.findings([*record, record[-1], record[-1]])) == {"doubled_wrongly": 1}
    assert troubles(oracle.findings([*record, record[0]])) == {"doubled_wrongly": 1}
    assert (oracle.resent, oracle.stops) == (1, 2)


def test_a_line_that_was_judged_twice_keeps_the_place_where_it_came_first(oracle: Oracle) -> None:
    lines = oracle.issue(oracle.source(), 3)
    oracle.sent(lines)
    oracle.stopped()
    oracle.acknowledged(lines)
    assert oracle.findings(judged([*lines, lines[0], lines[1]])).is_sound


def test_sources_without_an_order_have_none(oracle: Oracle) -> None:
    lines = oracle.issue(oracle.source(is_ordered=False), 2)
    oracle.sent(lines)
    oracle.acknowledged(lines)
    assert oracle.findings(judged(lines[::-1])).is_sound


def test_rejected_lines_must_not_be_judged(oracle: Oracle, lines: list[Line]) -> None:
    more = oracle.issue(oracle.sources[1], 2)
    oracle.sent(more)
    for _ in range(2):  # the answer to a repetition says it again
        oracle.acknowledged(more, rejected=[1])
    findings = oracle.findings(judged([*lines, more[0]]))
    assert findings.is_sound
    assert findings.rejected == 1
    assert findings.acknowledged == findings.judged + findings.rejected
    assert troubles(oracle.findings(judged([*lines, *more]))) == {"unknown": 1}
    assert "rejected 1" in str(findings)


def test_what_was_not_acknowledged_may_be_missing(oracle: Oracle, lines: list[Line]) -> None:
    oracle.sent(oracle.issue(oracle.sources[0], 2))
    assert oracle.in_flight == 2
    assert oracle.findings(judged(lines)).is_sound
