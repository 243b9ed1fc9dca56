"""Bodies of all sorts: colours, JSON, logfmt, any script, several rows, hostile ones."""

import random
import time
import tracemalloc
from collections.abc import Callable

import pytest

from deeplog_grpc.parsing import Parser, ParserConfig


def grouped(*lines: str) -> list[int]:
    parser = Parser()
    return [parser.resolve(int(key)) for key in parser.parse(lines).keys]


@pytest.mark.parametrize(
    "lines",
    [
        ("\x1b[31mERROR\x1b[0m disk 7 failed", "ERROR disk 8 failed"),
        ("\x1b[1;32m10:00:01\x1b[0m up", "\x1b[38;5;200m10:00:02\x1b[m up"),
        (
            '{"level":"info","msg":"user logged in","user":"bob","ms":7}',
            '{"level":"info","msg":"user logged in","user":"eve","ms":9}',
        ),
        ('{"msg": "saved", "ok": true, "to": null}', '{"msg": "saved", "ok": false, "to": null}'),
        ('{"msg":"saved","tags":["red","blue"],"n":1}', '{"msg":"saved","tags":["gray","pink","teal"],"n":2}'),
        ('{"time":"2024-01-01T00:00:00Z","msg":"up"}', '{"time":"2024-01-02T00:00:00Z","msg":"up"}'),
        ('level=info msg="job done" job=backup ms=7', 'level=info msg="job done" job=restore ms=9'),
        ('level=warn msg="slow query" query="select x from y"', 'level=warn msg="slow query" query="delete from z"'),
        ("Benutzer 7 hat die Tür geöffnet", "Benutzer 8 hat die Tür geöffnet"),
        ("用户 7 登录 成功", "用户 8 登录 成功"),
        ("пользователь 7 вошёл", "пользователь 9 вошёл"),
        ("failed after 3 s\n  at A.b(C.java:7)", "failed after 4 s\n  at X.y(Z.java:9)\n  at Q"),
        ("failed after 3 s\r\n  at A", "failed after 4 s\r\n  at B"),
    ],
)
def test_one_message_is_one_template(lines: tuple[str, str]) -> None:
    assert grouped(*lines) == [0, 0]


@pytest.mark.parametrize(
    "lines",
    [
        ('{"level":"info","msg":"started","id":7}', '{"level":"info","msg":"stopped","id":7}'),
        ('{"level":"info","msg":"done","id":7}', '{"level":"error","msg":"done","id":7}'),
        ("level=info msg=started id=7", "level=info msg=stopped id=7"),
        ("Tür 7 geöffnet", "Tür 7 geschlossen"),
        ("用户 7 登录 成功", "用户 7 登录 失败"),
    ],
)
def test_different_messages_stay_apart(lines: tuple[str, str]) -> None:
    assert grouped(*lines) == [0, 1]


def test_colours_are_no_part_of_anything() -> None:
    parser = Parser()
    batch = parser.parse(["\x1b[31mERROR\x1b[0m disk \x1b[1m7\x1b[0m failed\nmore"])
    assert parser.template(0).text == "ERROR disk <*> failed"
    assert batch.parameters(0) == ("7", "\nmore")


def _words(count: int) -> list[str]:
    rng = random.Random(3)
    return ["".join(rng.choice("bdfgklmnprstvz") + rng.choice("aiou") for _ in range(5)) for _ in range(count)]


def noise(count: int) -> list[str]:
    words = iter(_words(6 * count))
    return [" ".join(next(words) for _ in range(6)) for _ in range(count)]


def test_noise_is_contained_counted_and_passes() -> None:
    parser = Parser(ParserConfig(max_templates=2_000))
    parser.parse(["user 7 left"])
    parser.parse(noise(8_000))
    limiting = [parser.is_limiting]
    assert len(parser.templates()) < 1_100
    assert parser.limited > 6_000
    # What repeats is learned even now, and the limiter rests when the stream is calm.
    assert parser.parse(["user 8 left"]).keys.tolist() == [0]
    batch = parser.parse(["lamp 7 was replaced"] * 3)
    assert batch.keys[1] == batch.keys[2] != batch.keys[0]
    limited = parser.limited
    parser.parse(["user 8 left"] * 2_048)
    assert [*limiting, parser.is_limiting] == [True, False]
    assert parser.parse(["door 7 was painted", "door 8 was painted"]).is_new.tolist() == [True, False]
    assert parser.limited == limited


def test_the_limiter_depends_on_lines_alone() -> None:
    lines = noise(3_000)
    config = ParserConfig(max_templates=2_000)
    whole, parts = Parser(config), Parser(config)
    expected = whole.parse(lines * 2).keys.tolist()
    found = []
    for start in range(0, 6_000, 1_700):
        found += parts.parse((lines * 2)[start : start + 1_700]).keys.tolist()
        parts = Parser.from_state(parts.state())
    assert found == expected
    assert parts.state() == whole.state()


def _seconds(work: Callable[[], object]) -> float:
    times = []
    for _ in range(2):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return min(times)


@pytest.mark.parametrize(
    "piece",
    [
        "x",
        "word ",
        "7",
        "a=1, ",
        "[",
        '{"a":',
        "\0\x01\x7f\xff",
        "a@",
        "/",
        "http://",
        "\x1b[",
        "\x1b[31m",
        "é",
        "\ud800",
    ],
    ids=ascii,
)
@pytest.mark.timeout(60)
def test_ten_times_the_line_takes_ten_times_the_time(piece: str) -> None:
    config = ParserConfig(max_line_chars=1_000_000)
    short, long = piece * (50_000 // len(piece)), piece * (500_000 // len(piece))
    small = _seconds(lambda: Parser(config).parse([short]).parameters(0))
    large = _seconds(lambda: Parser(config).parse([long]).parameters(0))
    assert large < 40 * small + 0.05


@pytest.mark.timeout(60)
def test_a_hundred_thousand_words_in_one_place_are_one_template_and_flat_memory() -> None:
    words = _words(100_000)
    parser = Parser(ParserConfig(max_forms=2_000, cache_entries=2_000))
    lines = [f"cannot find the recipe called {word} anywhere" for word in words]
    parser.parse(lines[:80_000])
    tracemalloc.start()
    parser.parse(lines[80_000:90_000])
    before = tracemalloc.get_traced_memory()[0]
    parser.parse(lines[90_000:])
    assert tracemalloc.get_traced_memory()[0] - before < 1_000_000
    tracemalloc.stop()
    assert len(parser.templates()) < 10
    assert parser.limited == 0


@pytest.mark.timeout(60)
def test_the_time_of_a_line_does_not_grow_with_the_lines_before() -> None:
    words = _words(40_000)
    lines = [f"cannot find the recipe called {word} anywhere" for word in words]
    parser = Parser()
    times = []
    for start in range(0, 40_000, 10_000):
        started = time.process_time()
        parser.parse(lines[start : start + 10_000])
        times.append(time.process_time() - started)
    assert times[3] < 4 * min(times[:3]) + 0.05
