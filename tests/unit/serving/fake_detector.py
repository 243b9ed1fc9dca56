"""A detector small enough to be obviously right: its verdicts depend on the order of entries, as the real one's do."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.detection import Judges
from deeplog_grpc.detection.entries import EntryBatch
from deeplog_grpc.detection.verdicts import NO_KEY, Candidate, EndReason, Kind, Verdict
from deeplog_grpc.parsing import Parameter
from deeplog_grpc.parsing.values import typed

KEYS = {"open": 0, "write": 1, "end": 2, "odd": 3}
UNSEEN = 99
END_KEY = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeBatch:
    rows: tuple[Verdict, ...]
    session_ends: tuple[Verdict, ...]

    @property
    def kinds(self) -> NDArray[np.int8]:
        return np.array([row.kind for row in self.rows], np.int8)

    @property
    def keys(self) -> NDArray[np.int32]:
        return np.array([row.key for row in self.rows], np.int32)

    @property
    def ranks(self) -> NDArray[np.int32]:
        return np.array([row.rank for row in self.rows], np.int32)

    @property
    def probabilities(self) -> NDArray[np.float32]:
        return np.array([row.probability for row in self.rows], np.float32)

    @property
    def scores(self) -> NDArray[np.float32]:
        return np.array([row.score for row in self.rows], np.float32)

    @property
    def sessions(self) -> list[str]:
        return [row.session for row in self.rows]

    @property
    def stands_for(self) -> dict[int, int]:
        return {i: row.stands_for for i, row in enumerate(self.rows) if row.stands_for != NO_KEY}

    def verdict(self, i: int) -> Verdict:
        return self.rows[i]


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeParsed:
    keys: NDArray[np.int32]
    is_new: NDArray[np.bool_]
    is_changed: NDArray[np.bool_]
    bodies: Sequence[str]

    def typed_parameters(self, i: int) -> tuple[Parameter, ...]:
        words = self.bodies[i].split(" ")
        return typed((words[0] + " ", *" " * (len(words) - 2), ""), words[1:])


class FakeDetector:
    """First words are keys, the rest parameters; a verdict's rank counts the session's entries so far.

    "odd" is an execution path anomaly, an unknown word an unseen key, "end" ends the session (incomplete if it had
    fewer than two entries before), "crash" is a defect whose text must not leak.
    A "rephrased" body is judged as key 0.
    """

    model_version = 7

    def __init__(self, application: str = "app", *, timeout_ns: int = 0) -> None:
        self.application = application
        self.timeout_ns = timeout_ns
        """0 = sessions never time out."""
        self.event_time_ns = 0
        self.broken = False
        """Whether `advance` is a defect."""
        self._last_ns: dict[str, int] = {}
        self.batch_sizes: list[int] = []
        self.calls: list[str] = []
        self.threads: set[str] = set()
        self._windows: dict[str, list[int]] = {}
        self._known: set[int] = set()

    def score(self, batch: EntryBatch) -> FakeBatch:
        self.batch_sizes.append(len(batch))
        self.calls.append("score")
        self.threads.add(threading.current_thread().name)
        if any(body.startswith("crash") for body in batch.bodies):  # as in the parser: before a session is touched
            raise RuntimeError(f"secret: {batch.bodies}")
        rows: list[Verdict] = []
        ends: list[Verdict] = []
        for index, body in enumerate(batch.bodies):
            session = batch.sessions[index] or batch.sources[index]
            self.event_time_ns = max(self.event_time_ns, int(batch.times_ns[index]))
            self._last_ns[session] = self.event_time_ns
            rows.append(self._judge(index, body, session))
            if body.startswith("end"):
                ends.append(self._end(index, session, EndReason.MARKER))
        return FakeBatch(rows=tuple(rows), session_ends=tuple(ends))

    @property
    def next_deadline_ns(self) -> int:
        return min(self._last_ns.values()) + self.timeout_ns if self.timeout_ns and self._last_ns else 2**63 - 1

    def advance(self, now_ns: int) -> FakeBatch:
        self.calls.append("advance")
        self.threads.add(threading.current_thread().name)
        if self.broken:
            raise RuntimeError("secret")
        ending = [s for s, last_ns in self._last_ns.items() if last_ns + self.timeout_ns < now_ns]
        return FakeBatch(rows=(), session_ends=tuple(self._end(0, session, EndReason.TIMEOUT) for session in ending))

    def flush(self, sessions: Sequence[str] | None = None) -> FakeBatch:
        self.calls.append("flush")
        ending = [s for s in (list(self._windows) if sessions is None else sessions) if s in self._windows]
        return FakeBatch(rows=(), session_ends=tuple(self._end(0, session, EndReason.FLUSH) for session in ending))

    def parse(self, bodies: Sequence[str]) -> FakeParsed:
        self.calls.append("parse")
        if any(body.startswith("crash") for body in bodies):
            raise RuntimeError(f"secret: {bodies}")
        keys = [_key(body) for body in bodies]
        is_new = np.array([key not in self._known and not self._known.add(key) for key in keys])  # type: ignore[func-returns-value]
        is_changed = np.array(["long" in body for body in bodies])
        return FakeParsed(keys=np.array(keys, np.int32), is_new=is_new, is_changed=is_changed, bodies=bodies)

    def template(self, key: int) -> str:
        return f"key{key} <*>"

    def adopt(self, judges: Judges) -> None:
        self.calls.append("adopt")

    def workflow_path(self, session: str) -> tuple[int, ...] | None:
        return tuple(self._windows[session]) if session in self._windows else None

    def parser_state(self) -> dict[str, Any]:
        return {}

    def _judge(self, index: int, body: str, session: str) -> Verdict:
        key, window = _key(body), self._windows.setdefault(session, [])
        kind = {3: Kind.EXECUTION_PATH, UNSEEN: Kind.UNSEEN_KEY}.get(key, Kind.NORMAL)
        window.append(key)
        return Verdict(
            index=index,
            kind=kind,
            key=key,
            template=self.template(key),
            parameters=tuple(body.split()[1:]),
            score=1.0 if kind is Kind.UNSEEN_KEY else 0.25,
            rank=len(window),
            probability=0.5,
            candidates=(Candidate(key=0, template=self.template(0), probability=0.75),),
            window=tuple(window[-4:-1]),
            session=session,
            session_end=None,
            reason="" if kind is Kind.NORMAL else f"{kind.name} after {len(window)} entries",
            model_version=self.model_version,
            stands_for=0 if "rephrased" in body else NO_KEY,
        )

    def _end(self, index: int, session: str, reason: EndReason) -> Verdict:
        window, last_ns = self._windows.pop(session), self._last_ns.pop(session)
        kind = Kind.NORMAL if len(window) > 2 else Kind.INCOMPLETE_SESSION
        return Verdict(
            index=index,
            kind=kind,
            key=END_KEY,
            template="<end of session>",
            parameters=(),
            score=0.5,
            rank=1,
            probability=0.125,
            candidates=(),
            window=tuple(window),
            session=session,
            session_end=reason,
            reason="" if kind is Kind.NORMAL else "too short",
            model_version=self.model_version,
            ended_ns=last_ns + self.timeout_ns if reason is EndReason.TIMEOUT else 0,
        )


def _key(body: str) -> int:
    return KEYS.get(body.split()[0], UNSEEN)
