from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from deeplog_grpc.errors import InputError
from deeplog_grpc.ingest import FixedApplications, IngestConfig, RoutingConfig
from deeplog_grpc.serving.requests import RequestReader
from deeplog_grpc.serving.scoring import ParseJob, ScoreJob
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from deeplog_grpc.v1.log_entry_pb2 import LogEntry

reader = RequestReader(
    FixedApplications(("one", "two")), IngestConfig(max_entries_per_request=50, max_body_bytes=20), RoutingConfig()
)
_SOUND = pb.ScoreRequest(
    entries=[LogEntry(body=f"line {i}", application="one", attributes={"trace_id": "t"}) for i in range(3)],
    options=pb.ScoreOptions(application="two", source="host"),
    flush=pb.Flush(sessions=["s"]),
).SerializeToString()


@given(st.binary(max_size=300))
def test_any_bytes_are_a_job_or_an_input_error(raw: bytes) -> None:
    for read in (reader.score_job, reader.parse_job):
        with suppress(InputError):
            assert isinstance(read(raw), ScoreJob | ParseJob)


@given(st.integers(0, len(_SOUND) - 1), st.integers(0, 255))
def test_a_request_with_one_wrong_byte_is_accounted_for_or_refused(place: int, byte: int) -> None:
    raw = bytearray(_SOUND)
    raw[place] = byte
    with suppress(InputError):
        job = reader.score_job(bytes(raw))
        assert sum(len(part.batch) for part in job.parts) + len(job.faults) == job.entry_count
