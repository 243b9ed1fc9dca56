"""What holds for the parts of sessions whatever requests are named."""

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from deeplog_grpc.training import History

Entry = tuple[str, int, bool]
"""Session, request, whether it is the last of its session."""

_entries = st.lists(st.tuples(st.sampled_from(["a", "b", "c", "@s"]), st.integers(0, 6), st.just(False)), max_size=40)
_with_ends = st.lists(
    st.tuples(st.sampled_from(["a", "b", "@s"]), st.integers(0, 6), st.integers(0, 9).map(lambda n: not n)), max_size=40
)
_sizes = st.lists(st.integers(1, 7), max_size=20)


def _added(history: History, entries: Sequence[Entry]) -> History:
    history.extend(
        np.zeros(len(entries), np.int32),
        [session for session, *_ in entries],
        np.zeros(len(entries), np.int64),
        lasts=[row for row, entry in enumerate(entries) if entry[2]],
        requests=np.array([request for _, request, _ in entries], np.uint32),
    )
    return history


def _slowly(sessions: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """The rules, one entry after the other."""
    found = []
    for own in sessions:
        others = {request for session in sessions if session is not own for request in session}
        spans = {request: (own.index(request), len(own) - 1 - own[::-1].index(request)) for request in own if request}
        counted = sorted(span for request, span in spans.items() if request not in others and span[0] < span[1])
        parts, latest = [], -1
        for position, (first, last) in enumerate(counted):
            if position and first > latest:
                parts.append(first)
            latest = max(latest, last)
        found.append(tuple(parts))
    return found


@given(_entries)
def test_the_parts_are_those_of_the_rules(entries: list[Entry]) -> None:
    sessions: dict[str, list[int]] = {}
    for session, request, _ in entries:
        sessions.setdefault(session, []).append(0 if session == "@s" else request)
    assert list(_added(History(), entries).cut(None).parts) == _slowly(list(sessions.values()))


@given(_with_ends, _sizes)
def test_batches_and_going_on_change_no_part(entries: list[Entry], sizes: list[int]) -> None:
    whole, pieces, start = _added(History(), entries), History(), 0
    for size in [*sizes, len(entries)]:
        pieces = _added(History.from_state(pieces.state()), entries[start : start + size])
        start += size
    assert pieces.cut(None).parts == whole.cut(None).parts


@given(_with_ends)
def test_each_session_has_its_parts_inside(entries: list[Entry]) -> None:
    cut = _added(History(), entries).cut(None)
    assert len(cut.parts) == len(cut.sessions)
    for session, parts in zip(cut.sessions, cut.parts, strict=True):
        assert list(parts) == sorted(set(parts))
        assert all(1 <= place < len(session.keys) for place in parts)
        assert session.begins or not parts


@given(_entries, st.integers(1, 6))
def test_a_request_that_another_session_names_too_never_divides(entries: list[Entry], request: int) -> None:
    shared = [*entries, ("x", request, False), ("y", request, False)]
    without = [(session, 0 if own == request else own, last) for session, own, last in shared]
    assert _added(History(), shared).cut(None).parts == _added(History(), without).cut(None).parts
