from hypothesis import given
from hypothesis import strategies as st

from deeplog_grpc.ingest import Origin, Records
from deeplog_grpc.receivers.identity import content_key, deeplog_headers
from deeplog_grpc.serving.peers import host_of_peer


def records(*times_ns: int) -> Records:
    count = len(times_ns)
    return Records(bodies=["a"] * count, times_ns=times_ns, attributes=[{}] * count, origins=[Origin()] * count)


def test_equal_bytes_from_one_sender_are_one_delivery_and_from_others_not() -> None:
    names = [
        content_key("otlp", b"a", records(5, 6), {}, "::1"),
        content_key("vector", b"a", records(5, 6), {}, "::1"),
        content_key("otlp", b"b", records(5, 6), {}, "::1"),
        content_key("otlp", b"a", records(5, 6), {"x-deeplog-source": "n"}, "::1"),
        content_key("otlp", b"a", records(5, 6), {}, "::2"),
    ]
    assert len(set(names)) == 5
    assert names[0] == content_key("otlp", b"a", records(5, 6), {}, "::1")


def test_without_times_or_with_one_of_whole_seconds_there_is_no_name() -> None:
    for times_ns in ((), (0,), (5, 0), (10**9,)):
        assert content_key("otlp", b"a", records(*times_ns), {}, "::1") is None
    assert content_key("otlp", b"a", records(10**9, 10**9), {}, "::1") is not None


@given(st.dictionaries(st.text(), st.text() | st.binary()))
def test_only_headers_that_are_meant_for_us_are_taken(pairs: dict[str, str | bytes]) -> None:
    assert all(name.startswith("x-deeplog-") for name in deeplog_headers(pairs.items()))


def test_headers_that_are_not_utf8_are_text_all_the_same() -> None:
    as_http_has_it = b"caf\xe9 \xc3\xa9".decode("utf-8", "surrogateescape")
    assert deeplog_headers([("x-deeplog-application", as_http_has_it)]) == {"x-deeplog-application": "caf\ufffd \xe9"}


def test_the_peer_is_known_without_its_port() -> None:
    assert host_of_peer("ipv4:10.0.0.7:1") == host_of_peer("ipv4:10.0.0.7:2") == "10.0.0.7"
    assert host_of_peer("unix:") == ""
