"""Evaluation on labelled log entries, by the Trainer and the Detector that everybody uses.

There are two levels. An *entry* can have a label of its own; a *session* has one of its own, or is abnormal if one of
its entries is. What belongs to no identified session (a source's stream) counts on the level of entries alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.detection import ApplicationModel, Detector, DetectorConfig, EntryBatch, Kind, SessionConfig
from deeplog_grpc.detection.identifiers import STREAM_MARK, identify, session_patterns
from deeplog_grpc.detection.watermark import NS_PER_S
from deeplog_grpc.training.baselines import SimpleRules
from deeplog_grpc.training.history import History
from deeplog_grpc.training.metrics import Comparison, Judged, Labelled
from deeplog_grpc.training.sequences import SessionJudgement, by_kind, combined

UNKNOWN, NORMAL, ABNORMAL = -1, 0, 1
"""Labels of entries."""

Labels = NDArray[np.int8]
"""A label an entry. Shape [n]."""

BATCH_ENTRIES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledEntries:
    """Entries with what is true of them."""

    batch: EntryBatch
    labels: Labels
    """:data:`UNKNOWN` where an entry has no label of its own. Shape [n]."""

    def __len__(self) -> int:
        return len(self.batch)

    def take(self, chosen: NDArray[np.bool_]) -> "LabelledEntries":
        """The chosen entries, in their order."""
        rows = np.flatnonzero(chosen).tolist()
        batch = self.batch
        return LabelledEntries(
            batch=EntryBatch(
                bodies=[batch.bodies[row] for row in rows],
                times_ns=batch.times_ns[chosen],
                sessions=[batch.sessions[row] for row in rows],
                sources=[batch.sources[row] for row in rows],
            ),
            labels=self.labels[chosen],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LogReport:
    """Both levels; None where nothing of that level has a label."""

    entries: Comparison | None
    sessions: Comparison | None
    unlabelled_entries: int
    """Judged, but without a label of their own."""
    unlabelled_sessions: int
    """Judged, but without a label."""
    running_sessions: int
    """Not counted: they began before the first judged entry."""


def session_names(batch: EntryBatch, config: SessionConfig) -> list[str]:
    """The session of each entry, as the Trainer and the Detector see it; a stream's name begins with ``@``."""
    patterns = session_patterns(config.patterns, built_in=config.built_in)
    return identify(batch.bodies, batch.sessions, batch.sources, patterns)


def is_normal(entries: LabelledEntries, names: Sequence[str], sessions: Mapping[str, bool]) -> NDArray[np.bool_]:
    """Which entries may be learned from: neither they nor their sessions are labelled abnormal. Shape [n].

    Parameters
    ----------
    names : sequence of str
        The session of each entry.
    sessions : mapping
        Session -> whether it is abnormal.
    """
    of_normal = np.array([not sessions.get(name, False) for name in names], np.bool_)
    of_normal &= entries.labels != ABNORMAL
    return of_normal


def evaluate_entries(
    model: ApplicationModel,
    *,
    train: EntryBatch,
    test: LabelledEntries,
    sessions: Mapping[str, bool],
    running: frozenset[str] = frozenset(),
    config: DetectorConfig | None = None,
    min_sessions: int = 1,
    false_positive_rate: float = 0.001,
) -> LogReport:
    """Judge labelled entries in their order; at the end all open sessions end.

    Parameters
    ----------
    model : ApplicationModel
        Trained on ``train``; its parser is used up.
    train : EntryBatch
        What the simple rules learn from.
    sessions : mapping
        Session -> whether it is abnormal; sessions not in it get the label of their entries, if these have labels.
    running : frozenset of str
        Sessions that began before the test entries: what was abnormal in them may lie there, so they do not count.
    min_sessions, false_positive_rate
        As in the configuration; for the simple rules.
    """
    detector = Detector(model, config)
    train_keys = detector.parse(train.bodies).keys
    whole = _whole_sessions(train_keys, session_names(train, model.sessions), train.times_ns, model.timeout_s)
    found = judge_entries(detector, test.batch)
    truth = _session_labels(found.names, test.labels, sessions)
    judged = [name for name in found.judgements if not name.startswith(STREAM_MARK)]
    counted = [name for name in judged if name in truth and name not in running]
    parts = session_parts(found.keys, found.names, test.batch.times_ns, model.timeout_s)
    rules = None
    if counted and whole:
        rules = SimpleRules(whole, min_sessions=min_sessions, false_positive_rate=false_positive_rate)
    known = test.labels != UNKNOWN
    return LogReport(
        entries=_of_entries(found, test.labels, known, train_keys) if known.any() else None,
        sessions=_of_sessions(found, counted, truth, parts, rules) if counted else None,
        unlabelled_entries=int((~known).sum()),
        unlabelled_sessions=sum(name not in truth for name in judged),
        running_sessions=sum(name in truth and name in running for name in judged),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedEntries:
    """What the detector said."""

    keys: NDArray[np.int32]
    kinds: NDArray[np.int8]
    scores: NDArray[np.float64]
    """Columns of the entries. Shape [n] each."""
    names: list[str]
    """The session of each entry."""
    judgements: Mapping[str, SessionJudgement]
    """Session -> the sum of its verdicts, in the order of their beginnings."""

    def paths(self) -> dict[str, list[int]]:
        """Log keys of each identified session."""
        return session_paths(self.keys, self.names)


def judge_entries(detector: Detector, batch: EntryBatch) -> JudgedEntries:
    """Judge entries in their order, and then the ends of all sessions still open."""
    parts = []
    ends = []
    for start in range(0, len(batch), BATCH_ENTRIES):
        verdicts = detector.score(batch.slice(start, min(start + BATCH_ENTRIES, len(batch))))
        parts.append((verdicts.keys, verdicts.kinds, verdicts.scores, verdicts.sessions))
        ends += [(end.session, end.kind, end.score) for end in verdicts.session_ends]
    ends += [(end.session, end.kind, end.score) for end in detector.flush().session_ends]
    keys, kinds, scores = (
        np.concatenate([part[column] for part in parts]) if parts else np.zeros(0) for column in range(3)
    )
    names = [name for part in parts for name in part[3]]
    highest: dict[str, float] = {}
    by_name: dict[str, dict[Kind, float]] = {}
    said = [*zip(names, kinds.tolist(), scores.tolist(), strict=True), *ends]
    for name, kind, score in said:
        highest[name] = max(score, highest.get(name, 0.0))
        found = by_name.setdefault(name, {})
        if kind != Kind.NORMAL:
            found[Kind(kind)] = max(score, found.get(Kind(kind), 0.0))
    return JudgedEntries(
        keys=keys.astype(np.int32),
        kinds=kinds.astype(np.int8),
        scores=scores.astype(np.float64),
        names=names,
        judgements={name: SessionJudgement(score=score, kinds=by_name[name]) for name, score in highest.items()},
    )


def _session_labels(names: Sequence[str], labels: Labels, given: Mapping[str, bool]) -> dict[str, bool]:
    """Session -> whether it is abnormal: by its own label, else by those of its entries."""
    found: dict[str, bool] = {}
    for name, label in zip(names, labels.tolist(), strict=True):
        if label != UNKNOWN:
            found[name] = found.get(name, False) or label == ABNORMAL
    return {**found, **given}


def _of_entries(
    found: JudgedEntries, labels: Labels, known: NDArray[np.bool_], train_keys: NDArray[np.int32]
) -> Comparison:
    kinds, scores = found.kinds[known], found.scores[known]
    unseen = ~np.isin(found.keys[known], train_keys)
    return Comparison.of(
        Labelled.of(labels[known] == ABNORMAL),
        combined=Judged(scores=scores, flagged=kinds != Kind.NORMAL),
        by_detector={
            kind.name.lower(): Judged(scores=np.where(kinds == kind, scores, 0.0), flagged=kinds == kind)
            for kind in Kind
            if kind is not Kind.NORMAL and (kinds == kind).any()
        },
        baselines={"unseen_key": Judged(scores=unseen.astype(np.float64), flagged=unseen)},
    )


def _of_sessions(
    found: JudgedEntries,
    counted: Sequence[str],
    truth: Mapping[str, bool],
    parts: Mapping[str, list[list[int]]],
    rules: SimpleRules | None,
) -> Comparison:
    judgements = [found.judgements[name] for name in counted]
    return Comparison.of(
        Labelled.of(np.array([truth[name] for name in counted], np.bool_)),
        combined=combined(judgements),
        by_detector={name: judged for name, judged in by_kind(judgements).items() if judged.flagged.any()},
        baselines=_of_rules(rules, [parts[name] for name in counted]) if rules is not None else {},
    )


def _whole_sessions(
    keys: NDArray[np.int32], names: Sequence[str], times_ns: NDArray[np.int64], timeout_s: float
) -> list[list[int]]:
    """The identified sessions that the Trainer takes for whole."""
    history = History()
    rows = [row for row, name in enumerate(names) if not name.startswith(STREAM_MARK)]
    history.extend(keys[rows], [names[row] for row in rows], times_ns[rows])
    sessions = history.cut(timeout_s).sessions
    return [np.asarray(session.keys).tolist() for session in sessions if session.ends]


def _of_rules(rules: SimpleRules, sessions: Sequence[Sequence[list[int]]]) -> dict[str, Judged]:
    """What each rule says of sessions: of each, what it says of the worst of its parts."""
    owners = np.repeat(np.arange(len(sessions)), [len(parts) for parts in sessions])
    found = {}
    for name, judged in rules.judged([part for parts in sessions for part in parts]).items():
        scores, flagged = np.full(len(sessions), -np.inf), np.zeros(len(sessions), np.bool_)
        np.maximum.at(scores, owners, judged.scores)
        np.logical_or.at(flagged, owners, judged.flagged)
        found[name] = Judged(scores=scores, flagged=flagged)
    return found


def session_parts(
    keys: NDArray[np.int32], names: Sequence[str], times_ns: NDArray[np.int64], timeout_s: float
) -> dict[str, list[list[int]]]:
    """Log keys of each identified session, cut where it was silent for longer than the time-out, as the detector does.

    Examples
    --------
    >>> times_ns = np.array([1, 2, 3, 9]) * NS_PER_S
    >>> session_parts(np.array([5, 6, 7, 8]), ["a", "a", "@x", "a"], times_ns, 3.0)
    {'a': [[5, 6], [8]]}
    """
    parts: dict[str, list[list[int]]] = {}
    latest: dict[str, int] = {}
    for key, name, time_ns in zip(keys.tolist(), names, times_ns.tolist(), strict=True):
        if name.startswith(STREAM_MARK):
            continue
        paths = parts.setdefault(name, [])
        before_ns = latest.get(name, 0)
        if not paths or (timeout_s and before_ns and time_ns - before_ns > timeout_s * NS_PER_S):
            paths.append([])
        paths[-1].append(key)
        latest[name] = max(before_ns, time_ns)
    return parts


def session_paths(keys: NDArray[np.int32], names: Sequence[str]) -> dict[str, list[int]]:
    """Log keys of each identified session, whatever the time between them."""
    paths: dict[str, list[int]] = {}
    for key, name in zip(keys.tolist(), names, strict=True):
        if not name.startswith(STREAM_MARK):
            paths.setdefault(name, []).append(key)
    return paths
