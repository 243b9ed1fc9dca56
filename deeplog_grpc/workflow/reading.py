"""What a workflow says of a session's log keys alone: where an entry or the end leaves it, and what was expected."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from deeplog_grpc.workflow.deviations import NO_STATE, NOWHERE, Deviation
from deeplog_grpc.workflow.graph import NO_KEY, NO_TASK, Elapsed, State, Workflow
from deeplog_grpc.workflow.links import Link, Links
from deeplog_grpc.workflow.replay import Explanation, Move, Replay, Way

SHOWN_EXPECTED = 8
"""Steps at most that are named as expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """A state that may come next."""

    state: State
    probability: float
    """Share of what comes next, in [0, 1]."""
    elapsed: Elapsed | None
    """Seconds since the state before it on its path."""


class Timed(NamedTuple):
    """An entry at a state whose usual time since the state before it is known."""

    place: int
    """Of the entry in the session."""
    before: int
    """Place of the entry before it on its path; with concurrency others may lie between."""
    state: int
    elapsed: Elapsed


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How an entry, or the end, stands to the workflow; times are another question."""

    deviation: Deviation
    key: int = NO_KEY
    """Log key of the entry; -1 for the end."""
    state: int = NO_STATE
    """Reached before it."""
    expected: tuple[Expected, ...] = ()
    """The most probable first."""
    known_states: tuple[int, ...] = ()
    """Where else its log key is."""
    skipped: tuple[int, ...] = ()
    """States that should have come before it."""
    late: int = NO_KEY
    """Log key of a step that should have come in its place, and came later; -1 = there is none, or it is not known."""
    first_divergence: int = NOWHERE
    has_returned: bool = False
    path: tuple[int, ...] = ()
    timed: tuple[Timed, ...] = ()


class _Visit(NamedTuple):
    """An entry that came to a state."""

    place: int
    state: int
    begins_task: bool


class _Found(NamedTuple):
    """A deviation of a whole session."""

    place: int
    """Where it is first seen."""
    deviation: Deviation
    skipped: tuple[int, ...] = ()
    late: int = NO_KEY


class Reader:
    """Reads sessions by a workflow that has tasks.

    Parameters
    ----------
    workflow : Workflow

    Examples
    --------
    >>> from deeplog_grpc.workflow import Method, Step, build_workflow, distinct_paths, sequence
    >>> paths = distinct_paths([[1, 2, 3]] * 5)
    >>> reader = Reader(build_workflow([sequence(Step(1), Step(2), Step(3))], paths, method=Method.SESSIONS))
    >>> reading = reader.entry([1, 3], begins=True)
    >>> reading.deviation.name, reading.skipped, [(step.state.key, step.probability) for step in reading.expected]
    ('SKIPPED', (2,), [(2, 1.0)])
    """

    def __init__(self, workflow: Workflow) -> None:
        self.workflow = workflow
        self._replay = Replay(workflow)
        self._links: dict[int, Links] = {}

    def entry(self, keys: Sequence[int], *, begins: bool) -> Reading:
        """What an entry is, the last of ``keys``, after those before it."""
        key, earlier = keys[-1], keys[:-1]
        before = self._replay.explain(earlier, begins=begins)
        places = _places(before, begins=begins)
        visits = _visits(before.moves)
        state = visits[-1].state if visits else NO_STATE
        way = self._way(places, key)
        deviation = self._deviation(key, state, way, before, begins=begins)
        if way is not None and deviation in (Deviation.ALLOWED, Deviation.SKIPPED):
            visits.append(_Visit(len(earlier), way.state, way.begins_task))
        own = self.workflow.states_of.get(key, ())
        return Reading(
            deviation=deviation,
            key=key,
            state=state,
            expected=self._expected(places, visits[: len(before.path)]),
            known_states=tuple(known.number for known in own if way is None or known.number != way.state),
            skipped=way.skipped if way is not None else (),
            first_divergence=before.divergence,
            has_returned=_has_returned(before),
            path=tuple(visit.state for visit in visits),
            timed=tuple(self._timed(visits)),
        )

    def end(self, keys: Sequence[int], *, begins: bool) -> Reading:
        """What the end of a session is: too early, or else the first entry that left the workflow."""
        explained = self._replay.explain(keys, begins=begins, ended=True)
        visits = _visits(explained.moves)
        timed = tuple(self._timed(visits))
        if not explained.missing and (odd := self._deviations(keys, explained)):
            return replace(self._in_session(keys, explained, odd[0], begins=begins), timed=timed)
        return Reading(
            deviation=Deviation.TRUNCATED if explained.missing else Deviation.ALLOWED,
            skipped=explained.missing,
            state=visits[-1].state if visits else NO_STATE,
            expected=self._expected(_places(explained, begins=begins), visits),
            first_divergence=explained.divergence,
            has_returned=_has_returned(explained),
            path=explained.path,
            timed=timed,
        )

    def session(self, keys: Sequence[int], *, ended: bool) -> Iterator[Reading]:
        """All that a whole session did otherwise, in order; ``first_divergence`` is the place of each."""
        explained = self._replay.explain(keys, ended=ended)
        for found in self._deviations(keys, explained):
            yield self._in_session(keys, explained, found, begins=True)

    def timed(self, keys: Sequence[int], *, begins: bool) -> tuple[Timed, ...]:
        """Entries of a session whose usual time is known."""
        return tuple(self._timed(_visits(self._replay.explain(keys, begins=begins).moves)))

    def path(self, keys: Sequence[int], *, begins: bool) -> tuple[int, ...]:
        """States that a session went through."""
        return self._replay.explain(keys, begins=begins).path

    def usual_before(self, state: int) -> int:
        """The state that comes right before a state as a rule; -1 at the begin of a task."""
        into = self._into(state)
        best = max(into.values(), key=lambda link: self.workflow.states[link.source].count, default=None)
        if best is None or self.workflow.states[best.source].key == NO_KEY:
            return NO_STATE
        return best.source

    def _into(self, state: int) -> Mapping[int, Link]:
        """The links into a state."""
        task = self.workflow.states[state].task
        links = self._links.get(task)
        if links is None:
            links = self._links[task] = Links.of(self.workflow.tasks[task])
        return links.into.get(state, {})

    def _way(self, places: Iterable[int], key: int) -> Way | None:
        """The shortest way to a log key, in the same task if there is one."""
        ways = [way for place in places for way in self._replay.ways(place, key)]
        return min(ways, key=lambda way: (bool(way.skipped), way.begins_task, len(way.skipped)), default=None)

    def _deviation(self, key: int, state: int, way: Way | None, before: Explanation, *, begins: bool) -> Deviation:
        own = self.workflow.states_of.get(key, ())
        if not own:
            return Deviation.UNKNOWN
        if way is not None and not way.skipped:
            return Deviation.ALLOWED
        if not before.moves and not begins:  # nothing is known of what came before
            return Deviation.ALLOWED
        if state != NO_STATE and all(known.task != self.workflow.states[state].task for known in own):
            return Deviation.OTHER_TASK
        left_out = {skipped for move in before.moves for skipped in move.skipped}
        if any(known.number in left_out and known.number not in before.path for known in own):
            return Deviation.OUT_OF_ORDER
        if way is not None and (state == NO_STATE or not way.begins_task):
            return Deviation.SKIPPED
        came = any(known.number in before.path for known in own)
        return Deviation.REPEATED if came else Deviation.OUT_OF_ORDER

    def _expected(self, places: Iterable[int], visits: Sequence[_Visit]) -> tuple[Expected, ...]:
        """What may come at some places, each step by what the session did before it on its path."""
        places = tuple(places)
        states = [*self._replay.expected(places), *self._ends(places)]
        links = {state: self._link(visits, state) for state in states}
        weights = {state: link.probability for state, link in links.items() if link is not None}
        total = sum(weights.values())
        found = [
            Expected(
                state=self.workflow.states[state],
                probability=weights.get(state, 0.0) / total if total else 1.0 / len(links),
                elapsed=None if link is None else link.elapsed,
            )
            for state, link in links.items()
        ]
        return tuple(sorted(found, key=lambda step: (-step.probability, step.state.number))[:SHOWN_EXPECTED])

    def _ends(self, places: Iterable[int]) -> Iterator[int]:
        """States of the ends that may come."""
        for task in dict.fromkeys(self._replay.task(place) for place in places if self._replay.may_end(place)):
            yield self.workflow.tasks[task].end.number

    def _link(self, visits: Sequence[_Visit], state: int) -> Link | None:
        """The link to a state from the latest one before it; one that begins a task counts as often as its task."""
        into = self._into(state)
        task = self.workflow.states[state].task
        for visit in reversed(visits):
            if visit.state in into:
                return into[visit.state]
            if visit.begins_task:
                break
        start = into.get(self.workflow.tasks[task].start.number)
        last = self.workflow.states[visits[-1].state].task if visits else NO_TASK
        return None if start is None else replace(start, probability=start.probability * self._share(last, task))

    def _share(self, task: int, following: int) -> float:
        """How often a task follows another one, or begins a session, among all that do."""
        follows = self.workflow.follows
        if follows:
            total = sum(count for (first, _), count in follows.items() if first == task)
            return follows.get((task, following), 0) / total if total else 0.0
        total = sum(own.sessions for own in self.workflow.tasks)
        return self.workflow.tasks[following].sessions / total if total else 1.0

    def _timed(self, visits: Sequence[_Visit]) -> Iterator[Timed]:
        latest: dict[int, int] = {}
        for place, state, begins_task in visits:
            if begins_task:
                latest.clear()
            came = [(latest[source], link.elapsed) for source, link in self._into(state).items() if source in latest]
            before, elapsed = max(came, key=lambda one: one[0], default=(NOWHERE, None))
            if elapsed is not None:
                yield Timed(place, before, state, elapsed)
            latest[state] = place

    def _in_session(
        self,
        keys: Sequence[int],
        explained: Explanation,
        found: _Found,
        *,
        begins: bool,
    ) -> Reading:
        """One deviation of a whole session, seen from its own place."""
        place = found.place
        visits = _visits(explained.moves[:place])
        before = self._replay.explain(keys[:place], begins=begins)
        is_end = place == len(keys)
        move = None if is_end else explained.moves[place]
        own = () if is_end else self.workflow.states_of.get(keys[place], ())
        return Reading(
            deviation=found.deviation,
            key=NO_KEY if is_end else keys[place],
            late=found.late,
            state=visits[-1].state if visits else NO_STATE,
            expected=self._expected(_places(before, begins=begins), visits),
            known_states=tuple(known.number for known in own if move is None or known.number != move.state),
            skipped=found.skipped,
            first_divergence=place,
            has_returned=any(move.keeps_to_workflow for move in explained.moves[place + 1 :]),
            path=explained.path,
        )

    def _deviations(self, keys: Sequence[int], explained: Explanation) -> list[_Found]:
        """All, in order. What was left out and came elsewhere is out of order."""
        left = {place: list(move.skipped) for place, move in enumerate(explained.moves) if move.skipped}
        if explained.missing:
            left[len(keys)] = list(explained.missing)
        too_many = [place for place, move in enumerate(explained.moves) if move.state == NO_STATE]
        found = [self._of_one_too_many(place, keys[place], explained, left) for place in too_many]
        skips = [
            _Found(place, Deviation.TRUNCATED if place == len(keys) else Deviation.SKIPPED, tuple(states))
            for place, states in left.items()
            if states
        ]
        return sorted([*found, *skips], key=lambda one: one.place)

    def _of_one_too_many(self, place: int, key: int, explained: Explanation, left: dict[int, list[int]]) -> _Found:
        """What an entry is that was no step, and where that is first seen.

        It takes the step that it may stand for out of those left out.
        """
        own = {state.number for state in self.workflow.states_of.get(key, ())}
        if not own:
            return _Found(place, Deviation.UNKNOWN)
        for other in sorted(left, key=lambda other: abs(other - place)):
            if hit := next((state for state in left[other] if state in own), None):
                left[other].remove(hit)
                return _Found(min(place, other), Deviation.OUT_OF_ORDER, late=key if other < place else NO_KEY)
        tasks = {self.workflow.states[state].task for state in explained.path}
        if tasks and tasks.isdisjoint(self.workflow.states[state].task for state in own):
            return _Found(place, Deviation.OTHER_TASK)
        return _Found(place, Deviation.REPEATED if own.intersection(explained.path) else Deviation.OUT_OF_ORDER)


def _visits(moves: Iterable[Move]) -> list[_Visit]:
    """Entries that came to states; what an entry too many seemed to begin, the next one begins."""
    return [_Visit(place, move.state, move.begins_task) for place, move in enumerate(moves) if move.state != NO_STATE]


def _places(explained: Explanation, *, begins: bool) -> tuple[int, ...]:
    """Where a session may stand; nothing where that is not known at all."""
    return explained.places if begins or explained.path else ()


def _has_returned(explained: Explanation) -> bool:
    return explained.divergence != NOWHERE and explained.moves[-1].keeps_to_workflow
