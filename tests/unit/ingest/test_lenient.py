import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeplog_grpc.errors import InputError
from deeplog_grpc.ingest import LenientDecoder, text
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from deeplog_grpc.v1.log_entry_pb2 import LogEntry

decode = LenientDecoder("ScoreRequest")
# protobuf's own strings cannot hold lone surrogates
strings = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(
    st.lists(
        st.builds(
            LogEntry,
            entry_id=strings,
            body=strings,
            session=strings,
            source=strings,
            time_unix_nano=st.integers(0, 2**64 - 1),
            attributes=st.dictionaries(strings, strings),
        )
    )
)
def test_a_lenient_reading_of_sound_messages_is_the_reading(entries: list[LogEntry]) -> None:
    request = decode(pb.ScoreRequest(entries=entries).SerializeToString())
    assert len(request.entries) == len(entries)
    for lenient, entry in zip(request.entries, entries, strict=True):
        for name in ("entry_id", "body", "session", "source", "application"):
            assert text(getattr(lenient, name)) == getattr(entry, name)
        assert lenient.time_unix_nano == entry.time_unix_nano
        assert {text(pair.key): text(pair.value) for pair in lenient.attributes} == dict(entry.attributes)


def test_presence_and_oneofs_are_kept() -> None:
    assert decode(pb.ScoreRequest(flush=pb.Flush()).SerializeToString()).HasField("flush")
    assert not decode(b"").HasField("flush")
    message = pb.StreamScoreRequest(flush=pb.StreamFlush(sequence=3))
    lenient = LenientDecoder("StreamScoreRequest")(message.SerializeToString())
    assert lenient.WhichOneof("message") == "flush"
    assert lenient.flush.sequence == 3


def test_the_strict_reading_refuses_what_the_lenient_one_takes() -> None:
    raw = pb.ScoreRequest(entries=[LogEntry(body="MARK", attributes={"k": "MARK"})]).SerializeToString()
    broken = raw.replace(b"MARK", b"\xff\xfe\xfd\xfc")
    with pytest.raises(Exception, match=r"Error parsing message"):
        pb.ScoreRequest.FromString(broken)
    (entry,) = decode(broken).entries
    assert entry.body == entry.attributes[0].value == b"\xff\xfe\xfd\xfc"


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_an_input_error(raw: bytes) -> None:
    try:
        entries = decode(raw).entries
    except InputError:
        return
    assert len(entries) <= len(raw)
