"""kill -9 in the middle of feedback: what was accepted is done, what was answered is in force, and nothing is half."""

from benchmarks import crashes

RUNS = 25


def test_killed_at_any_point_an_update_is_done_or_was_never_asked_for() -> None:
    report = crashes.run(RUNS, seed=7)
    assert (report.runs, report.lost, report.half_versions) == (RUNS, 0, 0)
    assert report.kills > RUNS // 2
    assert report.acked > RUNS // 2
