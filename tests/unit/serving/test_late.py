"""Ends that wait for a client."""

from deeplog_grpc.detection.verdicts import EndReason, Kind, Verdict
from deeplog_grpc.serving.late import LateEnds


def end(ended_ns: int, kind: Kind = Kind.NORMAL) -> Verdict:
    return Verdict(
        index=0,
        kind=kind,
        key=-1,
        template="",
        parameters=(),
        score=0.0,
        rank=1,
        probability=1.0,
        candidates=(),
        window=(),
        session=f"s{ended_ns}",
        session_end=EndReason.TIMEOUT,
        reason="",
        model_version=1,
        ended_ns=ended_ns,
    )


def test_ends_are_taken_once_in_the_order_of_their_times() -> None:
    late = LateEnds(max_ends=9)
    late.keep("a", [end(1), end(2, Kind.INCOMPLETE_SESSION), end(3)])
    late.keep("b", [end(4)])
    assert sorted(late.applications) == ["a", "b"]
    assert [verdict.ended_ns for verdict in late.take("a")] == [1, 2, 3]
    assert late.take("a") == []
    assert (late.applications, len(late), late.dropped) == (["b"], 1, 0)


def test_past_the_bound_the_oldest_are_dropped_and_normal_ones_do_not_push_out_abnormal_ones() -> None:
    late = LateEnds(max_ends=2)
    late.keep("a", [end(1, Kind.INCOMPLETE_SESSION), *(end(time) for time in range(2, 9))])
    assert (len(late), late.dropped) == (3, 5)
    assert [verdict.ended_ns for verdict in late.take("a")] == [1, 7, 8]


def test_a_message_takes_no_more_than_it_may_and_the_abnormal_ones_first() -> None:
    late = LateEnds(max_ends=9)
    late.keep("a", [end(1), end(2), end(3, Kind.SESSION_COUNTS)])
    assert [verdict.ended_ns for verdict in late.take("a", 2)] == [1, 3]
    assert [verdict.ended_ns for verdict in late.take("a", 2)] == [2]
    assert late.take("none") == []
