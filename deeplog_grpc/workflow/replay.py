"""A session followed through the workflow: which task, which state, and where it leaves.

As long as a session keeps to the workflow, all places where it may stand are known exactly. Where it leaves, the
cheapest explanations are followed side by side: an entry too many costs 1, and each step left out costs 1 (an
alignment by beam search). Places and steps are computed once and kept, so a session like others costs some look-ups.
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

MAX_PLACES = 100_000
"""Places kept; past it all are forgotten. Some 1 kB each."""

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


class _Thread(NamedTuple):
    """One explanation on its way."""

    cost: int
    place: int
    move: Move | None
    before: "_Thread | None"


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
        self._forget()

    def _forget(self) -> None:
        self._number_of: dict[tuple[int, Rest], int] = {}
        self._rests: list[tuple[int, Rest]] = []
        self._next: list[dict[int, tuple[Way, ...]]] = []
        self._ways: dict[tuple[int, int], tuple[Way, ...]] = {}
        # A loop of all of a task leads back to all of it: its begin is a place of its own.
        self._starts = [self._new_place(task.number, task.block) for task in self.workflow.tasks]

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
        task, rest = self._rests[place]
        follows = self.workflow.follows
        return may_end(rest) and (self._any or not follows or (task, NO_TASK) in follows)

    def expected(self, places: Iterable[int]) -> tuple[int, ...]:
        """States that may come next."""
        found: dict[int, None] = {}
        for place in places:
            task, rest = self._rests[place]
            found.update(dict.fromkeys(firsts(rest)))
            if may_end(rest):
                for following in self._following(task):
                    found.update(dict.fromkeys(firsts(self._rests[self._starts[following]][1])))
        return tuple(found)

    def missing(self, place: int) -> tuple[int, ...]:
        """States of the shortest way to where the session may end, as far as its task goes."""
        return shortest(self._rests[place][1])

    def ways(self, place: int, key: int) -> tuple[Way, ...]:
        """Ways to come from a place to a log key by leaving out steps, or none."""
        found = self._ways.get((place, key))
        if found is None:
            found = self._ways[place, key] = tuple(self._found_ways(place, key))
        return found

    def fits(self, keys: Sequence[int], *, ended: bool = True) -> bool:
        """Whether a session keeps to the workflow from its begin to its end, or so far."""
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
        if len(self._rests) > MAX_PLACES:
            self._forget()
        threads = [_Thread(0, place, None, None) for place in self.beginnings()]
        for number, key in enumerate(keys):
            threads = self._went_on(threads, key, free=not number and not begins)
        if ended:
            threads = [thread._replace(cost=thread.cost + len(self._left_out(thread.place))) for thread in threads]
        best = min(threads, key=lambda thread: thread.cost)
        return Explanation(
            moves=_moves(best),
            missing=self._left_out(best.place) if ended else (),
            place=best.place,
            cost=best.cost,
        )

    def _left_out(self, place: int) -> tuple[int, ...]:
        """What is missing where a session ends."""
        return () if self.may_end(place) else self.missing(place)

    def _went_on(self, threads: list[_Thread], key: int, *, free: bool) -> list[_Thread]:
        """Explanations of one entry more, the cheapest first."""
        if free:
            return self._met_in_the_middle(threads, key)
        found: dict[int, _Thread] = {}
        for thread in threads:
            for way in self._steps(thread.place, key):
                _keep(found, _Thread(thread.cost, way.place, way.move, thread))
        # While all keep to the workflow nothing else can be cheaper; after that a dearer one may turn out to be right.
        if not found or threads[0].cost:
            for thread in threads:
                _keep(found, _Thread(thread.cost + 1, thread.place, Move(NO_STATE), thread))
                for way in self.ways(thread.place, key):
                    if way.skipped:
                        _keep(found, _Thread(thread.cost + len(way.skipped), way.place, way.move, thread))
        return sorted(found.values(), key=lambda thread: thread.cost)[:BEAM]

    def _met_in_the_middle(self, threads: list[_Thread], key: int) -> list[_Thread]:
        """Every place that the log key can lead to, at no cost."""
        found: dict[int, _Thread] = {}
        for start in self._starts:
            for way in self.ways(start, key):
                _keep(found, _Thread(0, way.place, Move(way.state, begins_task=True), None))
        return list(found.values())[:BEAM] or [_Thread(1, threads[0].place, Move(NO_STATE), None)]

    def _steps(self, place: int, key: int) -> tuple[Way, ...]:
        """What a log key may be at a place."""
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
        return known

    def _found_ways(self, place: int, key: int) -> Iterable[Way]:
        task, rest = self._rests[place]
        yield from self._placed(task, skips(rest, key), begins=place in self._starts)
        left_out = shortest(rest)
        for following in self._following(task):
            of_next = skips(self._rests[self._starts[following]][1], key)
            of_next = [Skip(left_out + skip.skipped, skip.state, skip.rest) for skip in of_next]
            yield from self._placed(following, of_next, begins=True)

    def _placed(self, task: int, found: Iterable[Skip], *, begins: bool) -> Iterable[Way]:
        return (Way(skip.skipped, skip.state, self._place(task, skip.rest), begins) for skip in found)

    def _following(self, task: int) -> list[int]:
        """Tasks that may come after a task, or after the begin of a session."""
        follows, tasks = self.workflow.follows, self.workflow.tasks
        if self._any or (not follows and task == NO_TASK):
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


def _keep(found: dict[int, _Thread], thread: _Thread) -> None:
    """The cheapest explanation of each place; of equally cheap ones the first."""
    known = found.get(thread.place)
    if known is None or thread.cost < known.cost:
        found[thread.place] = thread


def _moves(last: _Thread) -> tuple[Move, ...]:
    moves: list[Move] = []
    thread: _Thread | None = last
    while thread is not None:
        if thread.move is not None:
            moves.append(thread.move)
        thread = thread.before
    return tuple(reversed(moves))
