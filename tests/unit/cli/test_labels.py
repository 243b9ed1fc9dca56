import json
from pathlib import Path

import pytest

from deeplog_grpc.cli.labels import NORMAL_LABELS, LineLabel, read_entries, read_session_labels
from deeplog_grpc.errors import ConfigError, InputError
from deeplog_grpc.training.labelled import ABNORMAL, NORMAL, UNKNOWN


@pytest.mark.parametrize(
    ("expression", "line", "rest", "label"),
    [
        (r"^(\S+) ", "- ciod: started", "ciod: started", NORMAL),
        (r"^(\S+) ", "KERNDTLB ciod: started", "ciod: started", ABNORMAL),
        (r"^(\S+) ", "\u00e4\u00f6 - \u00fc", "- \u00fc", ABNORMAL),
        (r" #\w+$", "job done #normal", "job done", ABNORMAL),  # the whole match is the label where there is no group
        (r" #(\w+)$", "job done #Normal", "job done", NORMAL),
        (r" #(\w+)$", "job done", "job done", UNKNOWN),
        (r" #(\w+)$", "job #normal \u00fc #normal", "job #normal \u00fc", NORMAL),  # where it matches, not before
        (r'"label": "(\w*)", ', '{"label": "", "msg": "a b"}', '{"msg": "a b"}', NORMAL),
        (r"(x)?= ", "= body", "body", NORMAL),  # a group that took no part is an empty label
    ],
)
def test_the_label_is_read_and_taken_out(expression: str, line: str, rest: str, label: int) -> None:
    assert LineLabel(expression, NORMAL_LABELS).take(line) == (rest, label)


def test_only_the_named_labels_are_normal() -> None:
    label = LineLabel(r"^(\S+) ", ["OK"])
    assert [label.take(line)[1] for line in ("ok a", "- a", "normal a")] == [NORMAL, ABNORMAL, ABNORMAL]


def test_a_bad_expression_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^--line-label\[0\]: not a regular expression"):
        LineLabel("(", NORMAL_LABELS)


def test_labels_stay_with_their_entries(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("\n".join(["- one", "", "BAD two", "three", json.dumps({"msg": "four"})]))
    found = read_entries([str(log), str(log)], LineLabel(r"^(-|BAD) ", NORMAL_LABELS), [0, 0])
    assert found.batch.bodies[:4] == ["one", "two", "three", "four"]
    assert found.labels.tolist() == [NORMAL, ABNORMAL, UNKNOWN, UNKNOWN] * 2
    odd = found.take(found.labels == ABNORMAL)
    assert (odd.batch.bodies, odd.batch.sources, len(odd)) == (["two", "two"], [str(log)] * 2, 2)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("session,label\ns1,Normal\n\ns2,Anomaly\n", {"s1": False, "s2": True}),
        ("block_id,label\nb,1\n", {"b": True}),
        ("note,Label,Session\nx,0,s\n", {"s": False}),  # by name where the names are there
        ("\ufeffsession,label\ns1,-\ns1,-\n", {"s1": False}),
    ],
)
def test_session_labels(tmp_path: Path, text: str, found: dict[str, bool]) -> None:
    path = tmp_path / "l.csv"
    path.write_text(text, encoding="utf-8")
    assert read_session_labels(path, NORMAL_LABELS) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "needs a head line with two columns"),
        ("session\ns1\n", "needs a head line with two columns"),
        ("session,label\n", "holds no session"),
        ("session,label\ns1\n", "l.csv:2: has fewer columns"),
        ("session,label\ns1,0\ns1,1\n", "l.csv:3: session 's1' has another label before"),
    ],
)
def test_a_bad_table_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "l.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_session_labels(path, NORMAL_LABELS)
