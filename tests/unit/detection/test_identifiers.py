import pytest

from deeplog_grpc.detection.identifiers import (
    BUILT_IN,
    IDENTIFIER_CHARS,
    compile_patterns,
    identify,
    last_entries,
    session_patterns,
)
from deeplog_grpc.errors import ConfigError

UUID = "0f8fad5b-d9cb-469f-a165-70867728950e"
OTHER = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def session_of(body: str, *expressions: str, session: str = "", source: str = "host", built_in: bool = True) -> str:
    return identify([body], [session], [source], session_patterns(expressions, built_in=built_in))[0]


@pytest.mark.parametrize(
    ("body", "session"),
    [
        ("Receiving block blk_-160899968 src: /10.0.0.1", "blk_-160899968"),
        ("deleted blk_38.", "blk_38"),
        (f"[instance: {UUID}] VM started", UUID),
        (f"[instance: {UUID.upper()}] VM started", UUID.upper()),
        (f"[req-{UUID} - -] GET /v2", f"req-{UUID}"),
        (f"trace_id={TRACE} done", TRACE),
        (f"TRACE_ID={TRACE} done", TRACE),
        (f'{{"traceId": "{TRACE}"}}', TRACE),
        (f"TraceId : {TRACE[:16]}", TRACE[:16]),
        (f"trace_id={TRACE}0 is too long", "@host"),
        (f"word{UUID}", "@host"),
        ("nothing in it", "@host"),
        ("", "@host"),
    ],
)
def test_built_in_identifiers(body: str, session: str) -> None:
    assert session_of(body) == session


def test_a_thing_goes_before_the_request_about_it_and_a_block_before_both() -> None:
    assert session_of(f"[req-{OTHER}] [instance: {UUID}] spawned") == UUID
    assert session_of(f"[instance: {UUID}] wrote blk_7") == "blk_7"
    assert session_of(f"trace_id={TRACE} [req-{OTHER}]") == f"req-{OTHER}"


def test_the_field_goes_before_patterns_and_users_patterns_before_built_in_ones() -> None:
    assert session_of("order=5 blk_7", r"order=(\d+)", session="given") == "given"
    assert session_of("order=5 blk_7", r"order=(\d+)") == "5"
    assert session_of("blk_7", r"order=(\d+)") == "blk_7"
    assert session_of("job 3 order=5", r"order=(\d+)", r"job (\d+)") == "5"


def test_built_in_patterns_can_be_switched_off() -> None:
    assert session_of("blk_7", built_in=False) == "@host"


def test_without_a_group_the_whole_match_is_the_identifier() -> None:
    assert session_of("paid order-55 now", r"order-\d+") == "order-55"


def test_an_empty_find_is_none_and_the_next_pattern_is_tried() -> None:
    assert session_of("order blk_7", r"order(?:=(\w+))?") == "blk_7"
    assert session_of("blk_7", r"x*") == "blk_7"


def test_a_long_identifier_is_cut_wherever_it_comes_from() -> None:
    long = "x" * 5000
    for session in (session_of("a", session=long), session_of("a", source=long), session_of(long, "x+")):
        assert len(session) == IDENTIFIER_CHARS


def test_a_bad_pattern_is_named_by_its_place_in_one_line() -> None:
    with pytest.raises(ConfigError) as caught:
        compile_patterns(["fine", "order=("], field="sessions.patterns")
    assert str(caught.value).startswith("sessions.patterns[1]: not a regular expression (RE2 syntax): 'order=('")
    assert "\n" not in str(caught.value)


def test_a_pattern_of_exponential_kind_takes_linear_time() -> None:
    # Python's own engine would not come back from this within the age of the universe.
    assert session_of("a" * 60_000, r"((?:a|a)*)*b") == "@host"


def test_last_entries_are_those_that_an_end_pattern_is_found_in() -> None:
    patterns = compile_patterns([r"^bye\b", "finished$"], field="sessions.end_patterns")
    assert last_entries(["hello", "bye now", "byes", "all finished"], patterns) == {1, 3}
    assert last_entries(["bye"], ()) == frozenset()


def test_each_built_in_pattern_says_what_it_needs() -> None:
    assert all(pattern.needle for pattern in BUILT_IN)
