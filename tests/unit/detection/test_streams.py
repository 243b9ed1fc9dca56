"""Entries that belong to no session: a rolling window over their source."""

from dataclasses import replace

import numpy as np
import pytest

from deeplog_grpc.detection import ApplicationModel, Detector, DetectorConfig, EntryBatch, Kind
from deeplog_grpc.parsing import Parser
from deeplog_grpc.training import Trainer

CYCLE = ["poll sensor", "read value", "store value", "sleep now"]


def stream(count: int, *, start_s: int = 1000, source: str = "hostA") -> EntryBatch:
    bodies = [CYCLE[row % len(CYCLE)] for row in range(count)]
    times_ns = (np.arange(count, dtype=np.int64) + start_s) * 10**9
    return EntryBatch.of(bodies, times_ns=times_ns, sources=[source] * count)


@pytest.fixture(scope="module")
def model() -> ApplicationModel:
    trainer = Trainer()
    trainer.add(stream(4000))
    model, report = trainer.fit(application="sensor", version=1)
    assert (report.sessions, report.stream_blocks, report.calibration_sessions) == (0, 40, 40)
    assert report.sessions_per_day == pytest.approx(40 / 3999 * 86_400)
    return model


def detector_of(model: ApplicationModel) -> Detector:
    return Detector(replace(model, parser=Parser.from_state(model.parser.state())), DetectorConfig())


def with_body(batch: EntryBatch, row: int, body: str) -> EntryBatch:
    bodies = list(batch.bodies)
    bodies[row] = body
    return replace(batch, bodies=bodies)


def test_a_normal_stream_raises_nothing_wherever_it_is_met(model: ApplicationModel) -> None:
    detector = detector_of(model)
    assert detector.score(stream(402).slice(2, 402)).anomalies() == []
    assert detector.open_sessions == 0


def test_every_entry_with_a_full_window_is_judged(model: ApplicationModel) -> None:
    scored = detector_of(model).score(stream(40))
    history = model.key_model.config.history
    assert (scored.ranks[:history] == 0).all()
    assert (scored.ranks[history:] == 1).all()


def test_an_entry_at_the_wrong_place_and_an_unseen_one_are_found(model: ApplicationModel) -> None:
    batch = with_body(with_body(stream(200), 101, "store value"), 150, "disk on fire")
    kinds = detector_of(model).score(batch).kinds
    assert kinds[150] == Kind.UNSEEN_KEY
    assert kinds[101] in (Kind.UNSEEN_TRANSITION, Kind.EXECUTION_PATH)


def test_a_silence_or_a_flush_is_no_end(model: ApplicationModel) -> None:
    detector = detector_of(model)
    first = detector.score(stream(41))
    second = detector.score(stream(44, start_s=900_000).slice(1, 44))  # goes on where it stopped
    assert (first.session_ends, second.session_ends) == ((), ())
    assert second.ranks[0] == 1
    assert detector.flush().session_ends == ()
    assert detector.score(stream(3, start_s=900_100)).ranks.tolist() == [0, 0, 0]


def test_sources_do_not_mix(model: ApplicationModel) -> None:
    ours, theirs = stream(40), stream(41, source="hostB").slice(1, 41)
    mixed = EntryBatch.of(
        [body for pair in zip(ours.bodies, theirs.bodies, strict=True) for body in pair],
        times_ns=np.repeat(ours.times_ns, 2),
        sources=["hostA", "hostB"] * 40,
    )
    assert detector_of(model).score(mixed).anomalies() == []


def test_a_model_of_streams_alone_says_nothing_of_ends(model: ApplicationModel) -> None:
    """An identifier that turns up later makes no session: training never saw one begin or end."""
    batch = replace(stream(30), sessions=["req-1"] * 30)
    detector = detector_of(model)
    assert detector.score(batch).anomalies() == []
    assert detector.flush().session_ends == ()


def test_a_stream_keeps_nothing_but_where_it_stands(model: ApplicationModel) -> None:
    """Counts are for ends of sessions; those of many sources would take a dictionary of all log keys each."""
    detector = detector_of(model)
    detector.score(stream(40))
    (source,) = detector._tracker._streams.sessions()
    assert not source.counts
