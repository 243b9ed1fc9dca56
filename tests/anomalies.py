"""One session for each kind of anomaly, and what is said of them."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from deeplog_grpc.detection import ApplicationModel, Detector, EntryBatch, Kind
from deeplog_grpc.ingest import Part
from deeplog_grpc.serving.answers import AnswerOptions, ScoreAnswer
from deeplog_grpc.serving.recorder import Noted
from deeplog_grpc.testing import Fault
from tests.trained import LATER_S, fresh_detector, joined, order, with_times

STEP_S = 0.4
LATE_S = 30.0


def _rows(batch: EntryBatch, rows: Sequence[int], *, late_from: int | None = None) -> EntryBatch:
    """Some of the entries, at the pace of training but for one that is late."""
    times_s = [LATER_S + STEP_S * place for place in range(len(rows))]
    if late_from is not None:
        times_s = [time_s + LATE_S * (place >= late_from) for place, time_s in enumerate(times_s)]
    return with_times(joined(*(batch.slice(row, row + 1) for row in rows)), times_s)


def _made() -> dict[Kind, EntryBatch]:
    usual = order(1)
    every = list(range(len(usual)))
    reserved = [row for row in every if "reserved" in usual.bodies[row]]
    nine = [re.sub(r"reserved \d", "reserved 9", body) for body in usual.bodies]
    return {
        Kind.UNSEEN_KEY: order(fault=Fault.UNSEEN_KEY),
        Kind.EXECUTION_PATH: _rows(usual, every[4:]),
        Kind.INCOMPLETE_SESSION: order(fault=Fault.TRUNCATED),
        Kind.SESSION_COUNTS: _rows(usual, [*every[:3], *[2] * 5, *every[3:]]),
        Kind.UNSEEN_TRANSITION: _rows(usual, [row for row in every if row not in reserved]),
        Kind.PARAMETER_VALUE: order(fault=Fault.SLOW),
        Kind.ELAPSED_TIME: _rows(usual, every, late_from=4),
        Kind.NEW_VALUE: _rows(replace(usual, bodies=nine), every),
    }


def named(batch: EntryBatch, session: str) -> EntryBatch:
    """The entries as those of a session of this name."""
    return replace(batch, sessions=[session] * len(batch))


ODD: dict[str, EntryBatch] = {kind.name: named(batch, kind.name) for kind, batch in _made().items()}
NORMAL = joined(*(named(order(seed), f"normal-{seed}") for seed in range(40, 60)))
ALL = joined(*ODD.values(), NORMAL)


def detector_of(model: ApplicationModel) -> Detector:
    """A detector that has read all of it before: its log keys have the same numbers whoever comes first."""
    detector = fresh_detector(model)
    detector.parse(ALL.bodies)
    return detector


def noted_in(detector: Detector, batch: EntryBatch) -> list[Noted]:
    """The anomalies among entries, and of the sessions that are flushed after them."""
    answer = ScoreAnswer(AnswerOptions(anomalies_only=True, full=False), ())
    count = len(batch)
    part = Part(application="orders", batch=batch, positions=range(count), entry_ids=[""] * count)
    scored = detector.score(batch)
    answer.add_part(detector, part, scored, 0)
    for end in scored.session_ends:
        answer.add_end(detector, end, part, end.index)
    answer.add_flushed(detector, detector.flush().session_ends, count)
    return answer.take_noted()


def kinds_of(model: ApplicationModel) -> dict[str, list[str]]:
    """What a version finds in each of the sessions: names of kinds."""
    found: dict[str, list[str]] = defaultdict(list)
    for noted in noted_in(detector_of(model), ALL):
        found[noted.message.session].append(Kind(noted.message.kind).name)
    return {session: sorted(kinds) for session, kinds in found.items()}
