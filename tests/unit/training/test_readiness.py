import pytest

from deeplog_grpc.training import LearningConfig, Seen, readiness
from deeplog_grpc.training.readiness import LEAST_ENTRIES, LEAST_SESSIONS, MORE

CONFIG = LearningConfig(min_entries=1_000, min_sessions=100, min_s=600.0, max_s=7_200.0)


def seen(**changes: object) -> Seen:
    values: dict[str, object] = {"entries": 1_000, "sessions": 100, "span_s": 600.0, "key_starts": tuple(range(20))}
    return Seen(**{**values, **changes})  # type: ignore[arg-type]  # each test gives one field its type


def test_enough_of_everything_is_enough() -> None:
    found = readiness(seen(), CONFIG)
    assert (found.is_ready, found.progress) == (True, 1.0)


@pytest.mark.parametrize(
    ("changes", "progress", "message"),
    [
        ({"entries": 250}, 0.25, "learning: 250 of 1,000 entries"),
        ({"sessions": 50}, 0.5, "learning: 50 of 100 sessions"),
        ({"span_s": 60.0}, 0.1, "learning: 60 of 600 s"),
        ({"key_starts": (*range(20), 850, 900)}, 0.95, "learning: log keys still appear"),
        ({"entries": 1_200, "entries_at_failure": 1_000}, 0.8, "learning: 1,200 of 1,500 entries for another try"),
    ],
)
def test_what_is_missing_is_said(changes: dict[str, object], progress: float, message: str) -> None:
    found = readiness(seen(**changes), CONFIG)
    assert (found.is_ready, found.message) == (False, message)
    assert found.progress == pytest.approx(progress)


def test_one_late_log_key_and_a_small_share_are_settled() -> None:
    assert readiness(seen(key_starts=(*range(20), 999)), CONFIG).is_ready
    many = tuple(range(200))
    assert readiness(seen(key_starts=(*many, *[900] * 10)), CONFIG).is_ready
    assert not readiness(seen(key_starts=(*many, *[900] * 11)), CONFIG).is_ready


def test_after_the_longest_time_it_is_trained_on_what_there_is() -> None:
    late = {"span_s": 7_200.0, "key_starts": tuple(range(0, 1_000, 10))}
    assert readiness(seen(entries=LEAST_ENTRIES, sessions=LEAST_SESSIONS, **late), CONFIG).is_ready
    assert not readiness(seen(entries=LEAST_ENTRIES - 1, sessions=LEAST_SESSIONS, **late), CONFIG).is_ready
    assert not readiness(seen(entries=LEAST_ENTRIES, sessions=LEAST_SESSIONS - 1, **late), CONFIG).is_ready


def test_after_a_failure_it_waits_for_more_however_late() -> None:
    assert not readiness(seen(span_s=1e6, entries_at_failure=1_000), CONFIG).is_ready
    assert readiness(seen(entries=int(1_000 * MORE), entries_at_failure=1_000), CONFIG).is_ready
