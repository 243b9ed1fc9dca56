"""A session followed through the workflow: which task, which state, and where it leaves.

As long as a session keeps to the workflow, all places where it may stand are known exactly. Where it leaves, the
cheapest explanations are followed side by side: an entry too many costs 1, and each step left out costs 1 (an
alignment by beam search). Places, steps and all that a log key brings about where explanations stand are computed once
and kept, so a session like others costs some look-ups.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from deeplog_grpc.workflow.derivatives import Rest, Skip, derive, firsts, may_end, shortest, skips
from deeplog_grpc.workflow.graph import NO_TASK, Workflow

BEAM = 8
"""Explanations followed at once: more than the places where a log key can come again in one task."""

MAX_AT_ONCE = 64
"""Places where a session may stand at once that are followed; a workflow with more of them says nothing of an entry."""

MARGIN = 3
"""An explanation that is dearer than the cheapest one by as much is not followed any further but by steps."""

MAX_PLACES = 100_000
"""Places kept; past it all are forgotten. Some 1 kB each."""

MAX_LOOKED_UP = 300_000
"""Times that a log key was looked for at a place, which are kept; past it all is forgotten. Some 0.5 kB each."""

MAX_TURNS = 50_000
"""Turns kept, with the situations that they lead to; past it all are forgotten. Some 1 kB each."""

NO_STEP = -2
"""In place of each log key that the workflow does not have: all are alike."""

NO_STATE = -1
"""Where an entry is at no state."""


@dataclass(frozen=True, slots=True)
class Move:
    """How an entry of a session is explained."""

    state: int
    """The state that it came to; -1 = it is one too many."""
    skipped: tuple[int, ...] = ()
    """States that were left out right before it."""
    begins_task: bool = False
    """Whether a task begins with it, or with what was left out."""

    @property
    def keeps_to_workflow(self) -> bool:
        """Whether it is a step that the workflow has there."""
        return self.state != NO_STATE and not self.skipped


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The cheapest explanation of a session that keeps to the workflow as long as it can."""

    moves: tuple[Move, ...]
    """One an entry."""
    missing: tuple[int, ...]
    """States left out at the end; empty where the session goes on."""
    place: int
    """Where it stands; see :class:`Replay`."""
    places: tuple[int, ...]
    """Where it may stand: all places while it keeps to the workflow, else that one."""
    cost: int
    """Entries too many and states left out."""

    @property
    def path(self) -> tuple[int, ...]:
        """States in the order of their entries."""
        return tuple(move.state for move in self.moves if move.state != NO_STATE)

    @property
    def divergence(self) -> int:
        """Place in the session of the first entry that left the workflow; -1 = none did."""
        return next((place for place, move in enumerate(self.moves) if not move.keeps_to_workflow), -1)


class Way(NamedTuple):
    """How a log key leads from one place to another."""

    skipped: tuple[int, ...]
    """States left out before it."""
    state: int
    """The state of the log key."""
    place: int
    """The place after it."""
    begins_task: bool

    @property
    def move(self) -> Move:
        """What it says of the entry."""
        return Move(self.state, self.skipped, self.begins_task)


class _Situation:
    """Explanations followed at once, the cheapest first: all that what comes next depends on."""

    __slots__ = ("costs", "has_diverged", "next", "places")

    def __init__(self, places: tuple[int, ...], costs: tuple[int, ...], *, has_diverged: bool) -> None:
        self.places = places
        """Where each stands."""
        self.costs = costs
        """What each costs more than the cheapest."""
        self.has_diverged = has_diverged
        """Whether even the cheapest costs something."""
        self.next: dict[int, _Turn] = {}
        """Log key -> what it brings about."""


class _Turn(NamedTuple):
    """A log key that came in a situation."""

    after: _Situation
    cost: int
    """That the cheapest explanation grew by."""
    origins: tuple[tuple[int, Move], ...]
    """Of each explanation after it: which one it was before, and what the log key is there."""


class Memory(NamedTuple):
    """How much a replay remembers."""

    places: int
    lookups: int
    """Times that a log key was looked for at a place."""
    turns: int


class _Candidate(NamedTuple):
    """An explanation that goes on."""

    cost: int
    place: int
    origin: int
    move: Move


class Replay:
    """Follows sessions through a workflow.

    A place is a number that stands for what is left of a task.

    Parameters
    ----------
    workflow : Workflow
    any_succession : bool
        Whether any task may follow any other, as in a stream; else as in training.

    Examples
    --------
    >>> from deeplog_grpc.workflow import Method, Step, build_workflow, distinct_paths, sequence
    >>> paths = distinct_paths([[1, 2, 3]] * 5)
    >>> replay = Replay(build_workflow([sequence(Step(1), Step(2), Step(3))], paths, method=Method.SESSIONS))
    >>> replay.fits([1, 2, 3]), replay.fits([1, 3])
    (True, False)
    >>> replay.explain([1, 3], ended=True).moves
    (Move(state=1, skipped=(), begins_task=True), Move(state=3, skipped=(2,), begins_task=False))
    """

    def __init__(self, workflow: Workflow, *, any_succession: bool = False) -> None:
        self.workflow = workflow
        self._any = any_succession
        self._begins_anywhere = any_succession or all(first != NO_TASK for first, _ in workflow.follows)
        self._ends_anywhere = any_succession or all(second != NO_TASK for _, second in workflow.follows)
        self._forget()

    def _forget(self) -> None:
        self._number_of: dict[tuple[int, Rest], int] = {}
        self._rests: list[tuple[int, Rest]] = []
        self._next: list[dict[int, tuple[Way, ...]]] = []
        self._may_end: dict[int, bool] = {}
        self._expected: dict[int, tuple[int, ...]] = {}
        self._ways: dict[tuple[int, int], tuple[Way, ...]] = {}
        self._situations: dict[tuple[tuple[int, ...], tuple[int, ...], bool], _Situation] = {}
        self._turns = 0
        self._looked_up = 0
        # A loop of all of a task leads back to all of it: its begin is a place of its own.
        self._starts = [self._new_place(task.number, task.block) for task in self.workflow.tasks]

    @property
    def memory(self) -> "Memory":
        """How much is remembered by now."""
        return Memory(len(self._rests), self._looked_up, self._turns)

    def _make_room(self) -> None:
        """Forget, between two sessions, what has become too much."""
        if len(self._rests) > MAX_PLACES or self._looked_up > MAX_LOOKED_UP:
            self._forget()
        if self._turns > MAX_TURNS:
            self._situations.clear()
            self._turns = 0

    def task(self, place: int) -> int:
        """The task of a place."""
        return self._rests[place][0]

    def beginnings(self) -> tuple[int, ...]:
        """Where sessions begin."""
        return tuple(self._starts[task] for task in self._following(NO_TASK))

    def step(self, places: Iterable[int], key: int) -> tuple[int, ...]:
        """Where a log key leads; nothing where the workflow has it at none of the places."""
        following = dict.fromkeys(way.place for place in places for way in self._steps(place, key))
        return tuple(following)[:MAX_AT_ONCE]

    def may_end(self, place: int) -> bool:
        """Whether a session may end there."""
        known = self._may_end.get(place)
        if known is None:
            task, rest = self._rests[place]
            follows = self.workflow.follows
            known = may_end(rest) and (self._ends_anywhere or (task, NO_TASK) in follows)
            self._may_end[place] = known
        return known

    def expected(self, places: Iterable[int]) -> tuple[int, ...]:
        """States that may come next."""
        return tuple(dict.fromkeys(state for place in places for state in self._expected_at(place)))

    def _expected_at(self, place: int) -> tuple[int, ...]:
        known = self._expected.get(place)
        if known is None:
            task, rest = self._rests[place]
            found = firsts(rest)
            if may_end(rest):
                for following in self._following(task):
                    found += firsts(self._rests[self._starts[following]][1])
            known = self._expected[place] = tuple(dict.fromkeys(found))
        return known

    def expected_in_task(self, places: Iterable[int]) -> tuple[int, ...]:
        """States of the same task that may come next."""
        return tuple(dict.fromkeys(state for place in places for state in firsts(self._rests[place][1])))

    def in_task(self, place: int, key: int) -> tuple[Way, ...]:
        """What a log key may be at a place, if the task goes on with it."""
        own = self.task(place)
        starts = place in self._starts
        return tuple(
            way for way in self._steps(place, key) if self.task(way.place) == own and way.begins_task is starts
        )

    def missing(self, place: int) -> tuple[int, ...]:
        """States of the shortest way to where the session may end, as far as its task goes."""
        return shortest(self._rests[place][1])

    def ways(self, place: int, key: int) -> tuple[Way, ...]:
        """Ways to come from a place to a log key by leaving out steps, or none."""
        if key not in self.workflow.states_of:
            return ()
        found = self._ways.get((place, key))
        if found is None:
            found = self._ways[place, key] = tuple(self._found_ways(place, key))
            self._looked_up += 1
        return found

    def fits(self, keys: Sequence[int], *, ended: bool = True) -> bool:
        """Whether a session keeps to the workflow from its begin to its end, or so far."""
        self._make_room()
        places = self.beginnings()
        for key in keys:
            places = self.step(places, key)
            if not places:
                return False
        return not ended or any(map(self.may_end, places))

    def explain(self, keys: Sequence[int], *, begins: bool = True, ended: bool = False) -> Explanation:
        """The cheapest explanation of a session.

        Parameters
        ----------
        keys : sequence of int
            Log keys, oldest first.
        begins : bool
            False when the session was met in its middle: what comes before its first entry costs nothing.
        ended : bool
            Whether it is at its end, so that what is missing costs too.

        Raises
        ------
        ValueError
            If the workflow has no task.
        """
        if not self.workflow.tasks:
            raise ValueError("a workflow without tasks explains nothing")
        self._make_room()
        turns, situation, cost = [], self._situation(self.beginnings(), (0,) * len(self.beginnings())), 0
        states_of = self.workflow.states_of
        for number, given in enumerate(keys):
            key = given if given in states_of else NO_STEP
            free = not number and not begins
            turn = self._met_in_the_middle(situation, key) if free else situation.next.get(key)
            if turn is None:
                turn = situation.next[key] = self._turn(situation, key)
                self._turns += 1
            turns.append(turn)
            situation, cost = turn.after, cost + turn.cost
        costs = situation.costs
        if ended:
            left = zip(costs, situation.places, strict=True)
            costs = tuple(more + len(self._left_out(place)) for more, place in left)
        best = min(range(len(costs)), key=costs.__getitem__)
        place = situation.places[best]
        return Explanation(
            moves=_moves(turns, best),
            missing=self._left_out(place) if ended else (),
            place=place,
            places=(place,) if situation.has_diverged else situation.places,
            cost=cost + costs[best],
        )

    def _left_out(self, place: int) -> tuple[int, ...]:
        """What is missing where a session ends."""
        return () if self.may_end(place) else self.missing(place)

    def _turn(self, situation: _Situation, key: int) -> _Turn:
        """What a log key brings about. Of equally cheap explanations those come first that leave out steps."""
        found: dict[int, _Candidate] = {}
        threads = tuple(zip(situation.costs, situation.places, strict=True))
        for origin, (cost, place) in enumerate(threads):
            for way in self._steps(place, key):
                _keep(found, _Candidate(cost, way.place, origin, way.move))
        # While all keep to the workflow nothing else can be cheaper; after that a dearer one may turn out to be right.
        if not found or situation.has_diverged:
            most = min((candidate.cost for candidate in found.values()), default=MARGIN) + MARGIN
            for origin, (cost, place) in enumerate(threads):
                if cost >= most:
                    continue
                for way in self.ways(place, key):
                    if way.skipped:
                        _keep(found, _Candidate(cost + len(way.skipped), way.place, origin, way.move))
                _keep(found, _Candidate(cost + 1, place, origin, Move(NO_STATE)))
        return self._turned(found.values(), has_diverged=situation.has_diverged)

    def _met_in_the_middle(self, situation: _Situation, key: int) -> _Turn:
        """Every place that the log key can lead to, at no cost."""
        found: dict[int, _Candidate] = {}
        for start in self._starts:
            for way in self.ways(start, key):
                _keep(found, _Candidate(0, way.place, 0, Move(way.state, begins_task=True)))
        nowhere = _Candidate(1, situation.places[0], 0, Move(NO_STATE))
        return self._turned(found.values() or [nowhere], has_diverged=False)

    def _turned(self, found: Iterable[_Candidate], *, has_diverged: bool) -> _Turn:
        """The cheapest ones; all places, as long as a session keeps to the workflow."""
        ordered = sorted(found, key=lambda candidate: candidate.cost)
        least = ordered[0].cost
        kept = ordered[: BEAM if has_diverged or least else MAX_AT_ONCE]
        after = self._situation(
            tuple(candidate.place for candidate in kept),
            tuple(candidate.cost - least for candidate in kept),
            has_diverged=has_diverged or least > 0,
        )
        return _Turn(after, least, tuple((candidate.origin, candidate.move) for candidate in kept))

    def _situation(self, places: tuple[int, ...], costs: tuple[int, ...], *, has_diverged: bool = False) -> _Situation:
        known = self._situations.get((places, costs, has_diverged))
        if known is None:
            known = _Situation(places, costs, has_diverged=has_diverged)
            self._situations[places, costs, has_diverged] = known
        return known

    def _steps(self, place: int, key: int) -> tuple[Way, ...]:
        """What a log key may be at a place."""
        if key not in self.workflow.states_of:
            return ()
        known = self._next[place].get(key)
        if known is None:
            task, rest = self._rests[place]
            begins = place in self._starts
            found = [Way((), state, self._place(task, left), begins) for state, left in derive(rest, key)]
            if may_end(rest):
                for following in self._following(task):
                    first = derive(self._rests[self._starts[following]][1], key)
                    found += [Way((), state, self._place(following, left), True) for state, left in first]
            known = self._next[place][key] = tuple(dict.fromkeys(found))
            self._looked_up += 1
        return known

    def _found_ways(self, place: int, key: int) -> Iterable[Way]:
        task, rest = self._rests[place]
        yield from self._placed(task, skips(rest, key), begins=place in self._starts)
        following_tasks = self._following(task)
        left_out = shortest(rest) if following_tasks else ()
        for following in following_tasks:
            of_next = skips(self._rests[self._starts[following]][1], key)
            of_next = [Skip(left_out + skip.skipped, skip.state, skip.rest) for skip in of_next]
            yield from self._placed(following, of_next, begins=True)

    def _placed(self, task: int, found: Iterable[Skip], *, begins: bool) -> Iterable[Way]:
        return (Way(skip.skipped, skip.state, self._place(task, skip.rest), begins) for skip in found)

    def _following(self, task: int) -> list[int]:
        """Tasks that may come after a task, or after the begin of a session."""
        follows, tasks = self.workflow.follows, self.workflow.tasks
        if self._any or (task == NO_TASK and self._begins_anywhere):
            return list(range(len(tasks)))
        return [following.number for following in tasks if (task, following.number) in follows]

    def _place(self, task: int, rest: Rest) -> int:
        number = self._number_of.get((task, rest))
        if number is None:
            number = self._number_of[task, rest] = self._new_place(task, rest)
        return number

    def _new_place(self, task: int, rest: Rest) -> int:
        self._rests.append((task, rest))
        self._next.append({})
        return len(self._rests) - 1


def _keep(found: dict[int, _Candidate], candidate: _Candidate) -> None:
    """The cheapest explanation of each place; of equally cheap ones the first."""
    known = found.get(candidate.place)
    if known is None or candidate.cost < known.cost:
        found[candidate.place] = candidate


def _moves(turns: Sequence[_Turn], last: int) -> tuple[Move, ...]:
    """The moves of one of the explanations at the end, from the first entry on."""
    moves: list[Move] = []
    for turn in reversed(turns):
        last, move = turn.origins[last]
        moves.append(move)
    moves.reverse()
    return tuple(moves)
