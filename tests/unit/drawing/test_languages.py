"""DOT and Mermaid: structure, and hostile templates."""

import re
import unicodedata
from collections.abc import Callable
from math import inf

import pytest

from deeplog_grpc.drawing import Anomaly, Highlight, View, dot, mermaid, view
from deeplog_grpc.drawing.marks import ODD, PATH
from deeplog_grpc.drawing.texts import legible
from tests.workflows import ALL, CHOICE, FORK, HOSTILE, LOOP, SEQUENCE, TWO_TASKS, large, renamed

MARKED = Highlight(
    path=(1, 3),
    missing=(4,),
    anomaly=Anomaly(text="comes at another place", came=HOSTILE, state=3, task=0),
    notes={1: f"took 9 s {HOSTILE}"},
)
Write = Callable[[View], str]
DOT_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
DOT_LINE = re.compile(r"^\s*(\w+( -> \w+)?( \[[^\]\[\"<>]*\])?|digraph \w+ \{|subgraph \w+ \{|\})$")


def names(text: str, arrow: str) -> set[tuple[int, int]]:
    """The edges, by the numbers of their states."""
    return {(int(a), int(b)) for a, b in re.findall(rf"s(\d+) {arrow} s(\d+)", text)}


@pytest.mark.parametrize("name", ALL)
def test_every_state_and_edge_is_there(name: str) -> None:
    links = {(edge.source, edge.target) for edge in ALL[name].edges}
    shown = view(ALL[name])
    assert names(dot(shown), "->") == links
    assert names(mermaid(shown), r'-->(?:\|"[^"]*"\|)?') == links
    for state in ALL[name].states:
        assert re.search(rf"^ +s{state.number} \[", dot(shown), re.MULTILINE)
        assert re.search(rf"^ +s{state.number}[\[(]", mermaid(shown), re.MULTILINE)


def test_tasks_are_boxes_of_their_own() -> None:
    assert re.findall(r"subgraph (\w+)", dot(view(TWO_TASKS))) == ["cluster_0", "cluster_1"]
    assert re.findall(r"subgraph (\w+)", mermaid(view(TWO_TASKS))) == ["task0", "task1"]
    assert re.findall(r"subgraph (\w+)", dot(view(TWO_TASKS, task=1))) == ["cluster_1"]


@pytest.mark.parametrize("write", [dot, mermaid])
def test_edges_tell_shares_times_and_repetitions(write: Write) -> None:
    assert "73 %" in write(view(CHOICE))
    assert "100 %" not in write(view(CHOICE))
    assert "27 ms, ≤ 81 ms" in write(view(LOOP))
    assert "again: 1 to 5 in a row" in write(view(LOOP))
    assert "key 2 · 1,000" in write(view(FORK))


def test_the_more_frequent_an_edge_the_broader() -> None:
    for pattern, text in ((r's1 -> s(\d).*penwidth="([\d.]+)"', dot(view(CHOICE))),):
        widths = {int(target): float(width) for target, width in re.findall(pattern, text)}
        assert widths[2] > widths[3] > widths[4] > 0.8
        assert widths[2] < 4.01 * widths[4] < inf


@pytest.mark.parametrize("write", [dot, mermaid])
def test_marks_are_in_colours_that_all_people_tell_apart(write: Write) -> None:
    plain, marked = write(view(CHOICE)), write(view(CHOICE, highlight=MARKED))
    assert "anomaly" not in plain
    assert PATH in marked
    assert ODD in marked
    assert "comes at another place" in marked
    assert re.search(r"s3 --?> anomaly", marked)


def test_dot_says_nothing_but_what_it_should_whatever_the_template() -> None:
    for text in (dot(view(renamed(CHOICE, HOSTILE), highlight=MARKED)), dot(view(CHOICE, highlight=MARKED))):
        assert not _controls(text)
        bare = DOT_TEXT.sub("", text)
        assert bare.count("{") == bare.count("}") == 2
        for line in bare.strip().splitlines():
            assert DOT_LINE.match(line), line
    quoted = "".join(DOT_TEXT.findall(dot(view(renamed(SEQUENCE, "&lt; \\N \\G \\l")))))
    assert "&amp;lt; \\\\N \\\\G \\\\l" in quoted


def test_mermaid_says_nothing_but_what_it_should_whatever_the_template() -> None:
    plain = mermaid(view(CHOICE, highlight=MARKED)).splitlines()
    text = mermaid(view(renamed(CHOICE, HOSTILE), highlight=MARKED))
    assert not _controls(text)
    assert len(text.splitlines()) == len(plain)
    without = re.sub(r'"[^"]*"', "", text)
    assert not re.search(r"[<`;{]script|alert|#", re.sub(r"(stroke|fill|color):#\w+", "", without))
    for words in re.findall(r'"([^"]*)"', text):
        assert not re.search(r"[<>&`\\{}|\[\]*_]", words.replace("<br/>", ""))
        assert not re.search(r"#(?!\d+;)", words)


@pytest.mark.parametrize("write", [dot, mermaid])
def test_a_very_long_template_takes_no_more_room_than_a_long_one(write: Write) -> None:
    long, longer = (len(write(view(renamed(SEQUENCE, "word " * count)))) for count in (200, 200_000))
    assert abs(long - longer) < 20


@pytest.mark.parametrize("write", [dot, mermaid])
def test_the_same_view_is_the_same_text(write: Write) -> None:
    found = [write(view(large(60, tasks=2), highlight=MARKED)) for _ in range(2)]
    assert found[0] == found[1]


def test_a_template_of_nothing_that_can_be_seen_is_a_box_all_the_same() -> None:
    assert legible("", 40) == ""
    assert "\\nkey 1" in dot(view(renamed(SEQUENCE, " \n ")))


def _controls(text: str) -> set[str]:
    return {char for char in text if unicodedata.category(char) in ("Cc", "Cf", "Cs") and char != "\n"}
