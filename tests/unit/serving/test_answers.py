from deeplog_grpc.detection import EndReason, Kind, Verdict
from deeplog_grpc.serving.answers import MAX_ENDS, AnswerOptions, ScoreAnswer
from deeplog_grpc.v1 import verdict_pb2
from tests.unit.serving.fake_detector import FakeDetector


def end(kind: Kind, counts: dict[int, int]) -> Verdict:
    return Verdict(
        index=0,
        kind=kind,
        key=-1,
        template="<end of session>",
        parameters=(),
        score=0.5,
        rank=1,
        probability=0.5,
        candidates=(),
        window=(4,),
        session="s",
        session_end=EndReason.FLUSH,
        reason="3 times 'x' where training sessions like it have 1",
        model_version=1,
        counts=counts,
    )


def test_the_counts_of_a_session_come_with_its_end_where_they_are_odd() -> None:
    answer = ScoreAnswer(AnswerOptions(anomalies_only=False, full=False), [])
    answer.add_flushed(FakeDetector(), [end(Kind.SESSION_COUNTS, {-2: 1, 4: 3}), end(Kind.NORMAL, {})], 7)
    odd, normal = answer.finish().session_ends
    assert (odd.kind, dict(odd.session_counts)) == (verdict_pb2.KIND_SESSION_COUNTS, {-2: 1, 4: 3})
    assert dict(normal.session_counts) == {}
    assert not odd.HasField("vector")


def test_more_ends_than_fit_a_message_are_counted_and_stored_all_the_same() -> None:
    answer = ScoreAnswer(AnswerOptions(anomalies_only=True, full=False), [])
    answer.add_flushed(FakeDetector(), [end(Kind.SESSION_COUNTS, {4: 3})] * (MAX_ENDS + 7), 0)
    assert len(answer.take_noted()) == MAX_ENDS + 7
    response = answer.finish()
    assert (len(response.session_ends), response.session_end_count) == (MAX_ENDS, MAX_ENDS + 7)
    assert response.ByteSize() < 64 << 20
