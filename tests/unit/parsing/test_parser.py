"""The parser as its users see it: keys, templates, parameters, sealing, state, limits."""

from typing import Any

import numpy as np
import pytest

from deeplog_grpc.parsing import Parser, ParserConfig
from deeplog_grpc.parsing.message import Message


def texts(parser: Parser) -> list[str]:
    return [template.text for template in parser.templates()]


def grouped(*lines: str) -> list[int]:
    """The keys of lines read one after the other, aliases resolved at the end."""
    parser = Parser()
    return [parser.resolve(int(key)) for key in parser.parse(lines).keys]


def test_keys_are_dense_small_and_of_the_promised_types() -> None:
    parser = Parser()
    batch = parser.parse(["a b", "c d", "a b"])
    assert batch.keys.dtype == np.int32
    assert batch.is_new.dtype == np.bool_
    assert batch.keys.tolist() == [0, 1, 0]
    assert batch.is_new.tolist() == [True, True, False]
    assert len(parser) == 2


def test_no_lines() -> None:
    batch = Parser().parse([])
    assert batch.keys.shape == batch.is_new.shape == (0,)


def test_an_empty_body_has_a_template_of_its_own() -> None:
    parser = Parser()
    batch = parser.parse(["", "x", ""])
    assert batch.keys.tolist() == [0, 1, 0]
    assert parser.template(0).text == ""
    assert batch.parameters(0) == ()


def test_a_generalised_template_keeps_its_key() -> None:
    parser = Parser()
    assert parser.parse(["session opened for user ann", "session opened for user bob"]).keys.tolist() == [0, 0]
    assert texts(parser) == ["session opened for user <*>"]
    assert parser.template(0).count == 2


def test_parameters_are_those_of_the_template_after_the_batch() -> None:
    parser = Parser()
    batch = parser.parse(["session opened for user ann", "session opened for user bob"])
    parser.parse(["session opened for user bob by cron(uid=0)"])
    assert [batch.parameters(n) for n in range(2)] == [("ann",), ("bob",)]


def test_an_unknown_line_raises() -> None:
    with pytest.raises(IndexError):
        Parser().parse(["x"]).parameters(1)


def test_an_unknown_key_raises() -> None:
    with pytest.raises(KeyError, match="log key 0 was never given"):
        Parser().template(0)


@pytest.mark.parametrize(
    "lines",
    [
        ("session opened for user ann", "session closed for user ann"),
        ("VM Started (Lifecycle Event)", "VM Paused (Lifecycle Event)"),
        ("link up", "link down"),
        ("cupsd startup succeeded", "cupsd shutdown succeeded"),
        ("* close, proxy HTTPS", "* close, proxy SOCKS5"),
        ("total of 1 error(s) corrected", "total of 1 error(s) corrected over 7 seconds"),
        ("state changed from NEW to RUNNING", "state changed from RUNNING to FAILED"),
        ('"GET /a" status: 200', '"DELETE /a" status: 200'),
        ("getStepCount", "getStepCount= 7"),
        ("level=info msg=started", "level=info msg=stopped"),
        ("loading x: no such file", "loading x: permission denied"),
    ],
)
def test_different_messages_stay_apart(lines: tuple[str, str]) -> None:
    assert grouped(*lines) == [0, 1]


@pytest.mark.parametrize(
    "lines",
    [
        ("sent 0 bytes, lifetime 00:01", "sent 1165 bytes (1.13 KB), lifetime <1 sec"),
        ("estimated size 93.0 B, free 1.1 KB", "estimated size 5.2 KB, free 1.1 KB"),
        ("connection from 10.0.0.1 () at Jun 1 10:00:00", "connection from 10.0.0.1 (a1.net) at Jul 11 10:00:00"),
        ("auth failed uid=0 user=root", "auth failed uid=0 user=guest"),
        ("domain store1 is full", "domain cluster_root is full"),
        ("domain cluster_root is full", "domain store1 is full"),
        ("speeds are 1, 2, 3 now", "speeds are 1, 2, 3, 4, 5 now"),
        ("fan  9 turns slowly now", "fan 10 turns slowly now"),
        ("set steps=1514038530000##7007##548365", "set steps=1514038440000##6993##548361"),
        ("the privacy is true", "the privacy is false"),
        ("resolving build.example.com failed", "resolving www.example.org failed"),
        ('lock=7 tag="View Lock" uid=7 pid=8', 'lock=9 tag="not yet" uid=7 pid=8'),
        ("route from a to b: stops=[nanjing, shanghai], ok", "route from a to b: stops=[beijing], ok"),
        ("started service 'web' again", "started service 'mail' again"),
        ("image b9000564-fe1a-409b-b8cc-1e88b294cd1d ok", "image deadbeef-fe1a-409b-beef-1e88b294cd1d ok"),
        ("Error loading /home/a/b.rts: invalid", "Error loading /tmp/c: invalid"),
        ("from ff:f2:9f:16:e2:23 up", "from aa:f2:9f:16:e2:bb up"),
    ],
)
def test_one_message_is_one_template(lines: tuple[str, str]) -> None:
    assert grouped(*lines) == [0, 0]


def test_evidence_makes_a_parameter_and_leaves_aliases() -> None:
    parser = Parser()
    names = ["alpha_one", "beta_two", "gamma_three"]
    batch = parser.parse([f"loaded the file {name}" for name in names])
    assert batch.keys.tolist() == [0, 1, 0]
    assert [parser.resolve(key) for key in range(2)] == [0, 0]
    assert [(t.key, t.text, t.count) for t in parser.templates()] == [(0, "loaded the file <*>", 3)]
    assert parser.template(1) == parser.template(0)
    assert batch.parameters(1) == ("beta_two",)


def test_evidence_in_the_middle_of_a_batch_reaches_the_lines_after_it() -> None:
    parser = Parser()
    names = ["alpha_one", "beta_two", "gamma_three", "beta_two"]
    assert parser.parse([f"loaded the file {name}" for name in names]).keys.tolist() == [0, 1, 0, 0]


def test_a_sealed_template_does_not_take_in_a_new_kind_of_line() -> None:
    trained = ["lost user ann", "sent 7 bytes to main"]
    served = ["lost user bob", "sent 7 bytes (2 KB) to main"]
    learning, sealed = Parser(), Parser()
    learning.parse(trained)
    sealed.parse(trained)
    sealed.seal()
    assert learning.parse(served).keys.tolist() == [0, 1]
    assert sealed.parse(served).keys.tolist() == [2, 1]
    assert sealed.parse(trained).keys.tolist() == [0, 1]


def test_templates_founded_after_sealing_learn_as_usual() -> None:
    parser = Parser()
    parser.seal()
    assert parser.parse(["session opened for user ann", "session opened for user bob"]).keys.tolist() == [0, 0]


def test_further_rows_are_one_last_parameter() -> None:
    parser = Parser()
    batch = parser.parse(["failed after 3 s\n  at A.b(C.java:7)\n  at D", "failed after 5 s"])
    assert batch.keys.tolist() == [0, 0]
    assert batch.parameters(0) == ("3", "\n  at A.b(C.java:7)\n  at D")
    assert batch.parameters(1) == ("5",)


def test_a_long_line_is_looked_at_up_to_the_limit() -> None:
    parser = Parser(ParserConfig(max_line_chars=20))
    batch = parser.parse(["task 12 ended with " + "x" * 1000, "task 13 ended with y"])
    values = batch.parameters(0)
    assert parser.template(0).fill(values[:-1]) + values[-1] == "task 12 ended with " + "x" * 1000


def test_at_the_limit_new_kinds_share_the_catch_all() -> None:
    parser = Parser(ParserConfig(max_templates=2))
    batch = parser.parse(["one", "two", "three", "four", "one"])
    assert batch.keys.tolist() == [0, 1, 2, 2, 0]
    assert batch.is_new.tolist() == [True, True, True, False, False]
    assert (parser.template(2).text, parser.template(2).count) == ("<*>", 2)
    assert batch.parameters(3) == ("four",)


@pytest.mark.parametrize(
    "body",
    [
        "x" * 1_000_000,
        "a " * 500_000,
        "[" * 500_000,
        "1" * 1_000_000,
        "a=1, " * 200_000,
        "\0\x01\x7f\xff" * 1000,
        "\ud800 broken \udfff",
        "\u2028\u00a0\x85\r",
        "{" * 5000 + '"a": 1' + "}" * 5000,
        "a.b." * 100_000,
        "a@" * 100_000,
        "0:" * 100_000,
        "/" * 100_000,
        "x-" * 100_000 + ":0",
        "http://" * 50_000,
    ],
    ids=lambda body: ascii(body[:8]),
)
@pytest.mark.timeout(10)
def test_hostile_lines_are_read_and_given_back(body: str) -> None:
    parser = Parser(ParserConfig(max_line_chars=1_000_000))
    batch = parser.parse([body, "x " + body, body])
    assert batch.keys[0] == batch.keys[2]
    values, template = batch.parameters(0), parser.template(int(batch.keys[0]))
    assert template.fill(values[: template.slots]) + "".join(values[template.slots :]) == body


@pytest.mark.timeout(30)
def test_many_names_in_one_place_become_one_template() -> None:
    letters = [a + b + c for a in "bcdfghjklm" for b in "aeiouy" for c in "klmnprstvw"]
    lines = [f"cannot find the recipe called {name} anywhere" for name in letters]
    parser = Parser()
    parser.parse(lines)
    # A handful are words of the language ("get", "has"), which never are a name by themselves.
    assert len(parser.templates()) < 10
    assert parser.template(0).text == "cannot find the recipe called <*> anywhere"


def test_lines_that_do_not_fall_into_kinds_are_contained() -> None:
    letters = [a + b + c for a in "bcdfghjklm" for b in "aeiouy" for c in "klmnprstvw"]
    parser = Parser(ParserConfig(max_templates=50))
    parser.parse([f"{a} {b}" for a, b in zip(letters, reversed(letters), strict=True)])
    assert len(parser.templates()) == 51
    assert parser.templates()[-1].count == len(letters) - 50


def _learned() -> Parser:
    parser = Parser()
    parser.parse(["loaded the file alpha_one", "loaded the file beta_two", "user 7 left"])
    return parser


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": 1}, "format"),
        ({"keys": -1}, "keys"),
        ({"keys": 2}, "each key from 0 to 1 once"),
        ({"sealed": 9}, "sealed"),
        ({"templates": [[0, ["a"], 1], [1, ["a"], 1], [2, ["b"], 1]]}, "two have the same tokens"),
        ({"templates": [[0, "ab", 1]]}, "templates"),
        ({"forms": [["x", 7, 1]]}, "'x' points to key 7"),
        ({"catch_all": 3}, "catch_all"),
        ({"config": {"tau": 2}}, "tau"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_malformed_state_is_refused_with_the_reason(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Parser.from_state({**_learned().state(), **change})


def test_an_empty_state_is_refused() -> None:
    with pytest.raises(ValueError, match="format"):
        Parser.from_state({})


@pytest.mark.parametrize("settings", [{"tau": 0}, {"tau": 1.1}, {"max_templates": 0}, {"max_tokens": 1}])
def test_the_configuration_is_checked(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        ParserConfig(**settings)


def test_the_cost_of_a_line_does_not_grow_with_the_templates() -> None:
    """Counted, not timed: whatever the table holds, few templates are compared with a new line."""
    parser = Parser()
    letters = [a + b for a in "bcdfghjklmnpqrst" for b in "aeiouy"]
    parser.parse([f"stays {a} there {a}{b} with {b}" for a in letters for b in letters[:20]])
    table = parser._spell.table
    assert len(table) > 1000
    assert len(table.candidates(Message.of(("stays", "with", "there", "nobody")), 0.5)) <= 6
