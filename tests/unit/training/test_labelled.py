from dataclasses import replace

import numpy as np
import pytest

from deeplog_grpc.detection import ApplicationModel, DetectorConfig, EntryBatch, SessionConfig
from deeplog_grpc.parsing import Parser
from deeplog_grpc.testing import Fault, SimulatedLog, simulate_log
from deeplog_grpc.training import LabelledEntries, LogReport, evaluate_entries, is_normal, session_names
from deeplog_grpc.training.labelled import ABNORMAL, NORMAL, UNKNOWN
from tests.trained import LATER_S, entries_of

JUDGED = simulate_log(60, seed=9, fault_rate=0.3, start_s=LATER_S)
FAULTY = {session: fault is not None for session, fault in JUDGED.faults.items()}


def unlabelled(batch: EntryBatch) -> LabelledEntries:
    return LabelledEntries(batch=batch, labels=np.full(len(batch), UNKNOWN, np.int8))


def run(model: ApplicationModel, log: SimulatedLog, test: LabelledEntries, **options: object) -> LogReport:
    model = replace(model, parser=Parser.from_state(model.parser.state()))
    train = entries_of(log.lines)
    arguments = {"sessions": FAULTY, "config": DetectorConfig(cold_start_s=0.0), "false_positive_rate": 0.01, **options}
    return evaluate_entries(model, train=train, test=test, **arguments)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def by_session(trained: ApplicationModel, training_log: SimulatedLog) -> LogReport:
    return run(trained, training_log, unlabelled(entries_of(JUDGED.lines)))


def test_sessions_are_counted_by_their_labels(by_session: LogReport) -> None:
    assert by_session.entries is None
    assert by_session.sessions is not None
    combined = by_session.sessions.combined
    assert (combined.normal, combined.abnormal) == (60 - sum(FAULTY.values()), sum(FAULTY.values()))
    assert combined.fn == 0
    assert combined.pr_auc > 0.95
    assert by_session.unlabelled_entries == len(JUDGED.lines)


def test_each_fault_is_found_by_the_kind_made_for_it(by_session: LogReport) -> None:
    assert by_session.sessions is not None
    faults = list(JUDGED.faults.values())
    assert by_session.sessions.by_detector["unseen_key"].tp == faults.count(Fault.UNSEEN_KEY)
    assert by_session.sessions.by_detector["incomplete_session"].tp >= 1


def test_rules_judge_the_parsed_sessions(by_session: LogReport) -> None:
    assert by_session.sessions is not None
    unseen = by_session.sessions.baselines["unseen_key"]
    assert unseen.tp == list(JUDGED.faults.values()).count(Fault.UNSEEN_KEY)
    assert unseen.fp == 0
    assert "invariants" in by_session.sessions.baselines


def test_entries_are_counted_by_their_labels(trained: ApplicationModel, training_log: SimulatedLog) -> None:
    batch = entries_of([*JUDGED.lines[:40], "2023-11-16 22:13:21.000 ERROR gateway meltdown of core 7", "plain line"])
    labels = np.full(len(batch), NORMAL, np.int8)
    labels[-2], labels[-1] = ABNORMAL, UNKNOWN
    found = run(trained, training_log, LabelledEntries(batch=batch, labels=labels), sessions={})
    assert found.entries is not None
    assert (found.entries.combined.tp, found.entries.combined.fn, found.unlabelled_entries) == (1, 0, 1)
    assert found.entries.combined.normal == 40
    assert found.entries.baselines["unseen_key"].tp == found.entries.by_detector["unseen_key"].tp == 1
    assert found.sessions is not None  # by the labels of their entries; the line without a session is not among them
    assert found.sessions.combined.abnormal == 0


def test_a_session_is_abnormal_if_one_of_its_entries_is(trained: ApplicationModel, training_log: SimulatedLog) -> None:
    batch = entries_of(JUDGED.lines)
    labels = np.full(len(batch), NORMAL, np.int8)
    labels[0] = ABNORMAL
    name = session_names(batch, SessionConfig())[0]
    found = run(trained, training_log, LabelledEntries(batch=batch, labels=labels), sessions={})
    assert found.sessions is not None
    assert found.sessions.combined.abnormal == 1
    own_label_wins = run(trained, training_log, LabelledEntries(batch=batch, labels=labels), sessions={name: False})
    assert own_label_wins.sessions is not None
    assert own_label_wins.sessions.combined.abnormal == 0


def test_sessions_that_were_running_or_are_unknown_do_not_count(
    trained: ApplicationModel, training_log: SimulatedLog
) -> None:
    first, _, *rest = FAULTY
    found = run(
        trained,
        training_log,
        unlabelled(entries_of(JUDGED.lines)),
        sessions={name: FAULTY[name] for name in (first, *rest)},
        running=frozenset([first]),
    )
    assert found.sessions is not None
    assert found.sessions.combined.normal + found.sessions.combined.abnormal == len(rest)
    assert (found.running_sessions, found.unlabelled_sessions) == (1, 1)


def test_nothing_has_a_label(trained: ApplicationModel, training_log: SimulatedLog) -> None:
    found = run(trained, training_log, unlabelled(entries_of(JUDGED.lines)), sessions={})
    assert (found.entries, found.sessions) == (None, None)


def test_what_is_labelled_abnormal_is_not_learned_from() -> None:
    batch = EntryBatch.of(["a", "b", "c"], sessions=["s", "t", "u"])
    entries = LabelledEntries(batch=batch, labels=np.array([NORMAL, UNKNOWN, ABNORMAL], np.int8))
    names = session_names(batch, SessionConfig())
    assert is_normal(entries, names, {"t": True, "s": False}).tolist() == [True, False, False]


def test_rules_see_sessions_cut_by_the_time_out_and_say_the_worst_of_their_parts(
    trained: ApplicationModel, training_log: SimulatedLog
) -> None:
    name = next(name for name, is_faulty in FAULTY.items() if not is_faulty)
    once = entries_of([line for line in JUDGED.lines if name in line])
    later = replace(once, times_ns=once.times_ns + int(trained.timeout_s + 60) * 1_000_000_000)
    twice = run(trained, training_log, unlabelled(EntryBatch.concat([once, later])), sessions={name: False})
    assert twice.sessions is not None
    assert {rule: figures.fp for rule, figures in twice.sessions.baselines.items()} == dict.fromkeys(
        twice.sessions.baselines, 0
    )
    broken = EntryBatch.concat([once, later.slice(0, 2)])
    found = run(trained, training_log, unlabelled(broken), sessions={name: True})
    assert found.sessions is not None
    assert found.sessions.baselines["unseen_pair"].tp == 1
