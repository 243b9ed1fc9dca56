import json

import numpy as np
import pytest

from deeplog_grpc.detection import Detector, EndReason, EntryBatch, Kind, SessionConfig
from deeplog_grpc.errors import ConfigError, InputError
from deeplog_grpc.models import Epoch, KeyModelConfig
from deeplog_grpc.testing import SimulatedLog
from deeplog_grpc.training import Trainer
from tests.trained import entries_of, rows

TINY = KeyModelConfig(hidden=8, embedding=4, layers=1, epochs=3)


def test_the_model_and_the_report_tell_what_was_seen(training_log: SimulatedLog) -> None:
    told: list[Epoch] = []
    trainer = Trainer()
    batch = entries_of(training_log.lines)
    trainer.add(batch.slice(0, 100))
    trainer.add(batch.slice(100, len(batch)))
    assert trainer.entries == len(training_log.lines)
    model, report = trainer.fit(application="shop", version=7, config=TINY, seed=5, on_epoch=told.append)
    assert (model.application, model.version) == ("shop", 7)
    assert model.timeout_s == report.timeout_s == 60.0
    assert (report.entries, report.sessions) == (len(training_log.lines), len(training_log.faults))
    assert (report.epochs, report.seed, report.templates) == (len(told), 5, len(model.parser.templates()))
    assert 0 < report.accuracy <= 1
    assert report.distinct_windows < report.windows
    assert json.loads(json.dumps(report.to_json()))["sessions"] == report.sessions


def test_the_same_log_and_seed_give_the_same_verdicts(training_log: SimulatedLog) -> None:
    found = []
    for size in (len(training_log.lines), 50):
        trainer = Trainer()
        for start in range(0, len(training_log.lines), size):
            trainer.add(entries_of(training_log.lines[start : start + size]))
        model, report = trainer.fit(application="shop", version=1, config=TINY, seed=5)
        found.append((report, rows(Detector(model).score(entries_of(training_log.lines[:200])))))
    assert found[0] == found[1]


def test_keys_that_the_parser_merged_later_are_learned_as_one() -> None:
    trainer = Trainer()
    names = ["alpha_one", "beta_two", "gamma_three"]
    trainer.add(EntryBatch.of([f"loaded the file {name}" for name in names * 20], sessions=["a", "b", "c"] * 20))
    model, report = trainer.fit(application="shop", version=1, config=TINY)
    live = tuple(template.key for template in model.parser.templates())
    assert model.key_model.vocabulary.keys == live
    assert len(live) == report.templates == 1


def test_a_time_out_that_is_given_is_in_force(training_log: SimulatedLog) -> None:
    trainer = Trainer(sessions=SessionConfig(timeout_s=900))
    trainer.add(entries_of(training_log.lines[:500]))
    model, report = trainer.fit(application="shop", version=1, config=TINY)
    assert model.timeout_s == report.timeout_s == 900


def test_end_markers_count_in_training_as_in_scoring() -> None:
    """Sessions of one worker follow each other without a pause; only the marker tells them apart."""
    bodies = ["job accepted", "disk mounted", "files copied", "job finished"] * 60
    sessions = SessionConfig(end_patterns=("^job finished$",))
    trainer = Trainer(sessions=sessions)
    batch = EntryBatch.of(bodies, sessions=["worker-1"] * len(bodies))
    trainer.add(batch)
    model, report = trainer.fit(application="jobs", version=1, config=KeyModelConfig(hidden=16, epochs=15))
    assert report.sessions == 60
    scored = Detector(model).score(batch.slice(0, 8))
    assert scored.anomalies() == []
    assert [(end.kind, end.session_end) for end in scored.session_ends] == [(Kind.NORMAL, EndReason.MARKER)] * 2


def test_nothing_to_learn_from_is_said_with_the_remedy() -> None:
    with pytest.raises(InputError, match=r"no window to learn from.*give a longer log"):
        Trainer().fit(application="shop", version=1)


def test_a_session_too_short_for_windows_is_too_little_without_begin_and_end() -> None:
    trainer = Trainer()
    trainer.add(EntryBatch.of(["hello"] * 5))
    with pytest.raises(InputError, match="none longer than 10 entries"):
        trainer.fit(application="shop", version=1, config=KeyModelConfig(begin_end=False))


@pytest.mark.parametrize("field", ["patterns", "part_patterns", "end_patterns"])
def test_a_bad_pattern_is_refused_before_any_work(field: str) -> None:
    with pytest.raises(ConfigError, match=rf"sessions\.{field}\[0\]"):
        Trainer(sessions=SessionConfig(**{field: ("(",)}))  # type: ignore[arg-type]


def test_a_trainer_goes_on_from_its_state(training_log: SimulatedLog) -> None:
    batch = entries_of(training_log.lines)
    whole, first = Trainer(), Trainer()
    for start in range(0, len(batch), 500):
        whole.add(batch.slice(start, start + 500))
    first.add(batch.slice(0, 500))
    state = first.state()
    assert all(isinstance(part, np.ndarray) or json.loads(json.dumps(part)) == part for part in state.values())
    second = Trainer.from_state(state)
    for start in range(500, len(batch), 500):
        second.add(batch.slice(start, start + 500))
    ours, theirs = second.state(), whole.state()
    assert ours.keys() == theirs.keys()
    assert all(part.tobytes() == theirs[name].tobytes() for name, part in ours.items() if isinstance(part, np.ndarray))
    assert [ours[name] for name in ("parser", "history_names")] == [
        theirs[name] for name in ("parser", "history_names")
    ]


def test_a_trainer_notes_the_requests_that_entries_name() -> None:
    bodies = ["[req 1] began", "[req 1] done", "[req 2] began", "tidied", "[req 2] done"]
    whole, first = (Trainer(sessions=SessionConfig(part_patterns=(r"req \d",))) for _ in range(2))
    batch = EntryBatch.of(bodies, sessions=["a"] * len(bodies))
    whole.add(batch)
    first.add(batch.slice(0, 3))
    second = Trainer.from_state(first.state(), sessions=SessionConfig(part_patterns=(r"req \d",)))
    second.add(batch.slice(3, len(batch)))
    one, _, other, none, _ = whole.state()["history_requests"].tolist()
    assert len({one, other, none}) == 3
    assert second.state()["history_requests"].tolist() == [one, one, other, none, other]


def test_a_state_without_a_part_is_refused() -> None:
    state = Trainer().state()
    for name in state:
        with pytest.raises(KeyError, match=name.removeprefix("history_").removeprefix("values_")):
            Trainer.from_state({other: part for other, part in state.items() if other != name})
