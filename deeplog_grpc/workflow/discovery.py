"""From paths of one task to its block: the log is cut again and again, each cut an operator of the block.

As the Inductive Miner does (Leemans et al. 2013, 2014), with three changes: the order of log keys is judged over whole
sessions, not by what comes right after what, which many branches side by side never show completely; what is rarer
than a tolerance is noise at every cut; and log keys that come equally often are taken for copies side by side.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Annotated, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as validated

from deeplog_grpc.workflow.blocks import EMPTY, Block, Copies, Loop, Step, choice, parallel, sequence
from deeplog_grpc.workflow.contexts import told_apart
from deeplog_grpc.workflow.pieces import (
    Pieces,
    copies_in,
    cut_between,
    merged,
    pieces_of,
    projected,
    runs,
    until_again,
    weights_of,
)
from deeplog_grpc.workflow.relations import Log, Relations, closure, groups

MAX_COPIES = 16
"""More are a loop."""

DEPTH = 12
"""Blocks inside blocks at most; what is deeper may come in any order."""

MAX_KEYS = 500
"""Log keys of a task that are looked at, those in most of its sessions."""

MAX_CELLS = 10_000_000
"""Pairs of log keys that are compared in all paths together, at most: of many log keys, only the most frequent paths
are looked at."""

MAX_WORK = 10 * MAX_CELLS
"""The same over all cuts, an entry as ten pairs; what is left then may come in any order."""


@validated(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class DiscoveryConfig:
    """What counts as noise."""

    noise: Annotated[float, Field(ge=0, lt=0.5)] = 0.01
    """Share of the sessions, at each cut, below which something is not part of the workflow."""
    strictness: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Of `noise`: where the parts of something cannot be told at all, what is rarer counts too. Of many branches side
    by side, some hardly ever come before others."""


def discover(log: Log, config: DiscoveryConfig | None = None) -> Block:
    """The block of a task.

    Parameters
    ----------
    log : sequence of (tuple of int, float)
        Distinct paths of log keys with their weights.

    Examples
    --------
    >>> discover([((1, 2, 3, 4), 5.0), ((1, 3, 2, 4), 5.0)]).parts[1]
    Parallel(parts=(Step(key=2, state=0), Step(key=3, state=0)))
    >>> discover([((1, 2), 5.0), ((1, 2, 1, 2), 5.0)])
    Loop(body=Sequence(parts=(Step(key=1, state=0), Step(key=2, state=0))), redo=Sequence(parts=()), least=1, most=2)
    """
    discovery = _Discovery(config or DiscoveryConfig())
    labelled = told_apart(discovery.without_rare_keys(_bounded(merged(log))), discovery.limit)
    return labelled.with_keys(discovery.block(labelled.log, 0))


def _bounded(log: Log) -> Log:
    """As much of a log as can be compared: what is most frequent."""
    having = weights_of((key, weight) for path, weight in log for key in set(path))
    if len(having) > MAX_KEYS:
        kept = set(sorted(having, key=lambda key: (-having[key], key))[:MAX_KEYS])
        log = merged((tuple(key for key in path if key in kept), weight) for path, weight in log)
    most = MAX_CELLS // max(1, min(len(having), MAX_KEYS)) ** 2
    return log if len(log) <= most else sorted(log, key=lambda each: (-each[1], each[0]))[:most]


_MOST_UNKNOWN = 0.5
"""Share of the pairs of log keys of two parts of which it is not known that the one comes first."""

_Split: TypeAlias = Callable[[Log, Relations, frozenset[int], frozenset[int]], Pieces | None]
"""A way to cut paths where a loop begins anew, given what begins and what ends paths."""


class _Discovery:
    def __init__(self, config: DiscoveryConfig) -> None:
        self._noise = config.noise
        self._strictness = (1.0, config.strictness, 0.0)
        self._work = MAX_WORK

    def limit(self, weight: float) -> float:
        """What noise gives at most of so many sessions: two standard deviations more than its share of them."""
        return float(self.limits(np.float64(weight)))

    def limits(self, weights: NDArray[np.float64] | np.float64) -> NDArray[np.float64]:
        """The same of many. Shape [...] -> [...]."""
        expected = self._noise * weights
        at_least = np.minimum(1.0, 0.1 * weights) if self._noise else 0.0  # one session alone is no evidence
        limits: NDArray[np.float64] = np.maximum(expected + 2.0 * np.sqrt(expected), at_least)
        return limits

    def block(self, log: Log, depth: int) -> Block:
        """The block of a log."""
        log = self.without_rare_keys(merged(log))
        total = sum(weight for _, weight in log)
        empty = sum(weight for path, weight in log if not path)
        log = [(path, weight) for path, weight in log if path]
        if not log:
            return EMPTY
        inner = self._of_something(log, depth)
        return choice(inner, EMPTY) if empty > self.limit(total) else inner

    def without_rare_keys(self, log: Log) -> Log:
        """Paths without the log keys that are noise; what they were in may be noise as a whole."""
        total = sum(weight for _, weight in log)
        having: Counter[int] = Counter()
        for path, weight in log:
            for key in set(path):
                having[key] += weight  # type: ignore[assignment]  # a Counter holds any number
        rare = {key for key, weight in having.items() if weight <= self.limit(total)}
        if not rare:
            return log
        return merged((tuple(key for key in path if key not in rare), weight) for path, weight in log)

    def _of_something(self, log: Log, depth: int) -> Block:
        """The block of a log without empty paths."""
        found = self._relations(log)
        if len(found.keys) == 1:
            return self._of_one_key(log, found.keys[0])
        if depth >= DEPTH or self._work < 0:
            return self._any_order(found)
        for cut in (
            self._choice,
            self._sequence,
            self._parallel,
            self._loop,
            self._copies,
            self._plain_loop,
            self._loose_sequence,
            self._one_beside,
        ):
            block = cut(log, found, depth + 1)
            if block is not None:
                return block
        return self._any_order(found)

    def _relations(self, log: Log) -> Relations:
        found = Relations.of(log)
        self._work -= len(log) * len(found.keys) ** 2 + 10 * sum(len(path) for path, _ in log)
        return found

    def _of_one_key(self, log: Log, key: int) -> Block:
        counts = weights_of((len(path), weight) for path, weight in log)
        least, most = self._range(counts)
        if most == 1:
            return Step(key)
        if least == most <= MAX_COPIES:
            return Copies(Step(key), least, most)
        return Loop(Step(key), EMPTY, least, most)

    def _range(self, counts: dict[int, float]) -> tuple[int, int]:
        """Least and greatest count that is no noise."""
        limit = self.limit(sum(counts.values()))
        usual = [count for count, weight in sorted(counts.items()) if weight > limit] or [
            max(counts, key=lambda count: (counts[count], -count))  # of equals the least, whatever the log's order
        ]
        # Many rare counts are a tail, not noise: what comes beyond all usual ones together often enough is real.
        beyond = sorted(count for count in counts if count > usual[-1])
        if sum(counts[count] for count in beyond) > limit:
            usual.append(beyond[-1])
        return usual[0], usual[-1]

    def _choice(self, log: Log, found: Relations, depth: int) -> Block | None:
        """Log keys that never come in one session."""
        parts = groups(self._meet(found))
        if len(parts) == 1:
            return None
        sets = [{found.keys[column] for column in part} for part in parts]
        logs: list[list[tuple[tuple[int, ...], float]]] = [[] for _ in sets]
        for path, weight in log:
            own = max(range(len(sets)), key=lambda number: sum(key in sets[number] for key in path))
            logs[own].append((tuple(key for key in path if key in sets[own]), weight))
        return choice(*(self.block(part, depth) for part in logs))

    def _meet(self, found: Relations) -> NDArray[np.bool_]:
        """Whether two log keys come in one session more often than by noise. Shape [k, k]."""
        rarer = np.minimum(found.having[:, None], found.having[None])
        meet: NDArray[np.bool_] = found.together > self.limits(rarer)
        return meet

    def _ordered(self, found: Relations, strictness: float = 1.0) -> NDArray[np.bool_]:
        """Whether the one always comes before the other. Shape [k, k]."""
        limit = strictness * self.limits(found.together)
        ordered: NDArray[np.bool_] = self._meet(found) & (found.together - found.before <= limit)
        np.fill_diagonal(ordered, False)
        return ordered

    def _sequence(self, log: Log, found: Relations, depth: int) -> Block | None:
        """Parts that always come one after the other."""
        meet, ordered = self._meet(found), self._ordered(found)
        follows = closure(ordered | (meet & ~ordered & ~ordered.T))
        parts = groups(follows == follows.T)  # both ways or neither: not one after the other
        if len(parts) == 1:
            return None
        parts.sort(key=lambda part: int(follows[:, part[0]].sum() - follows[part[0]].sum()))
        parts = self._hanging_together(log, found, parts)
        if len(parts) == 1:
            return None
        return sequence(*(self.block(projected(log, found, part), depth) for part in parts))

    def _hanging_together(self, log: Log, found: Relations, parts: list[list[int]]) -> list[list[int]]:
        """Neighbours that come both or not at all, as one part."""
        kept = [parts[0]]
        has = self._sessions_with(log, found, parts)
        weights = np.array([weight for _, weight in log])
        last = 0
        for number in range(1, len(parts)):
            either, both = has[last] | has[number], has[last] & has[number]
            with_either = weights[either].sum()
            alone = with_either - weights[both].sum()
            missing = found.total - with_either
            if alone <= self.limit(with_either) and missing > self.limit(found.total):
                kept[-1] = kept[-1] + parts[number]
            else:
                kept.append(parts[number])
                last = number
        return kept

    def _sessions_with(self, log: Log, found: Relations, parts: list[list[int]]) -> list[NDArray[np.bool_]]:
        """Of each part: which paths have something of it. Shape [paths] each."""
        sets = [{found.keys[column] for column in part} for part in parts]
        return [np.array([not own.isdisjoint(path) for path, _ in log], np.bool_) for own in sets]

    def _parallel(self, log: Log, found: Relations, depth: int) -> Block | None:
        """Parts that come in any mixture."""
        for strictness in self._strictness:
            parts = groups(self._linked(found, strictness))
            if len(parts) > 1:
                return parallel(*(self.block(projected(log, found, part), depth) for part in parts))
        return None

    def _linked(self, found: Relations, strictness: float) -> NDArray[np.bool_]:
        """Whether two log keys belong to one part of what runs side by side. Shape [k, k]."""
        ordered = self._ordered(found, strictness)
        linked = ~self._meet(found) | ordered | ordered.T
        repeats = self._repeats(found)
        if repeats.any():
            rarer = np.minimum(found.occurrences[:, None], found.occurrences[None])
            mixed = found.adjacent > strictness * self.limits(rarer)
            linked |= (repeats[:, None] | repeats[None]) & ~(mixed & mixed.T)
            linked |= repeats[:, None] & repeats[None] & self._in_step(found)
        np.fill_diagonal(linked, False)
        if repeats.any():
            self._link_what_is_inside(found, linked)
        return linked

    def _link_what_is_inside(self, found: Relations, linked: NDArray[np.bool_]) -> None:
        """A part that never begins, or never ends, what repeats runs beside nothing: it is inside of something.

        Not so a part that always comes, and once: inside of what repeats it would come again.
        """
        limit = self.limit(found.total)
        for part in groups(linked):
            inside = found.begins[part].sum() <= limit or found.ends[part].sum() <= limit
            if inside and not self._comes_once(found, part):
                linked[part[0], :] = True

    def _comes_once(self, found: Relations, part: list[int]) -> bool:
        """Whether every session has something of a part once: a log key, or one of some that exclude each other."""
        repeats, meet = self._repeats(found), self._meet(found)
        single = [column for column in part if not repeats[column]]
        apart = [column for column in single if meet[column, single].sum() <= 1]  # it meets itself
        most = max([0.0, *found.having[single], found.having[apart].sum()])
        return bool(found.total - most <= self.limit(found.total))

    def _repeats(self, found: Relations) -> NDArray[np.bool_]:
        """Which log keys come again. Shape [k]."""
        repeats: NDArray[np.bool_] = found.repeating > self.limits(found.having)
        return repeats

    def _in_step(self, found: Relations) -> NDArray[np.bool_]:
        """Which log keys come as often as each other. Shape [k, k]."""
        in_step: NDArray[np.bool_] = found.together - found.in_step <= self.limits(found.together)
        return in_step

    def _loop(self, log: Log, found: Relations, depth: int) -> Block | None:
        """A part that comes again, with something between, or as a whole."""
        return self._split_loop((self._with_redo, self._at_repetition), log, found, depth)

    def _plain_loop(self, log: Log, found: Relations, depth: int) -> Block | None:
        """A part that comes again right after itself."""
        return self._split_loop((self._end_to_begin,), log, found, depth)

    def _split_loop(self, splits: Sequence[_Split], log: Log, found: Relations, depth: int) -> Block | None:
        if not self._repeats(found).any():
            return None
        begins = self._usual(found.begins, found)
        ends = self._usual(found.ends, found)
        for split in splits:
            pieces = split(log, found, begins, ends)
            if pieces is None:
                continue
            bodies, redos, counts = pieces
            least, most = self._range(counts)
            if most > 1:
                return Loop(self.block(bodies, depth), self.block(redos, depth) if redos else EMPTY, least, most)
        return None

    def _usual(self, weights: NDArray[np.float64], found: Relations) -> frozenset[int]:
        """Log keys that begin, or end, paths more often than by noise."""
        limit = self.limit(found.total)
        return frozenset(key for key, weight in zip(found.keys, weights.tolist(), strict=True) if weight > limit)

    def _with_redo(self, log: Log, found: Relations, begins: frozenset[int], ends: frozenset[int]) -> Pieces | None:
        """Between two repetitions comes something of its own."""
        edge = begins | ends
        inner = [column for column, key in enumerate(found.keys) if key not in edge]
        leaving = found.adjacent > self.limits(np.minimum(found.occurrences[:, None], found.occurrences[None]))
        parts = [[inner[place] for place in part] for part in groups(leaving[np.ix_(inner, inner)])]
        column_of = {key: column for column, key in enumerate(found.keys)}
        edges = [column_of[key] for key in edge]
        redo: set[int] = set()
        for part in parts:
            into = {found.keys[c] for c in edges if leaving[c, part].any()}
            out = {found.keys[c] for c in edges if leaving[part, c].any()}
            if into <= ends and out <= begins and into and out:
                redo |= {found.keys[column] for column in part}
        if not redo:
            return None
        return pieces_of(log, lambda path: runs(path, redo))

    def _end_to_begin(self, log: Log, found: Relations, begins: frozenset[int], ends: frozenset[int]) -> Pieces | None:
        """The end of one repetition is right followed by the begin of the next."""
        return pieces_of(log, lambda path: (cut_between(path, lambda one, other: one in ends and other in begins), []))

    def _at_repetition(self, log: Log, found: Relations, begins: frozenset[int], ends: frozenset[int]) -> Pieces | None:
        """A repetition begins where something comes again."""
        if not self._in_step(found).all():
            return None
        bodies = pieces_of(log, lambda path: (until_again(path), []))
        sizes = weights_of((len(path), weight) for path, weight in bodies[0])
        whole = sizes.get(len(found.keys), 0.0)
        pieces = sum(sizes.values())
        return bodies if pieces - whole <= 2 * self.limit(pieces) else None

    def _loose_sequence(self, log: Log, found: Relations, depth: int) -> Block | None:
        """Two parts, one after the other, where too few sessions show how some log keys of them stand to each other."""
        meet, ordered = self._meet(found), self._ordered(found)
        follows = closure(ordered | (meet & ~ordered & ~ordered.T))
        order = np.argsort(follows.sum(axis=0) - follows.sum(axis=1), kind="stable")
        best, at = _MOST_UNKNOWN, 0
        for size in range(1, len(order)):
            first, second = order[:size], order[size:]
            if follows[np.ix_(second, first)].any():
                continue
            unknown = float((~follows[np.ix_(first, second)]).mean())
            if unknown < best:
                best, at = unknown, size
        if not at:
            return None
        return sequence(
            *(self.block(projected(log, found, part), depth) for part in (order[:at].tolist(), order[at:].tolist()))
        )

    def _one_beside(self, log: Log, found: Relations, depth: int) -> Block | None:
        """One log key beside all the rest, if the rest can be cut without it."""
        if len(found.keys) < 3:
            return None
        for column in np.argsort(found.repeating, kind="stable").tolist():
            if self._work < 0:
                return None
            rest = [other for other in range(len(found.keys)) if other != column]
            remaining = merged(projected(log, found, rest))
            of_rest = self._relations([(path, weight) for path, weight in remaining if path])
            for cut in (self._choice, self._sequence, self._parallel, self._loop, self._plain_loop):
                block = cut([(path, weight) for path, weight in remaining if path], of_rest, depth)
                if block is not None:
                    missing = sum(weight for path, weight in remaining if not path)
                    block = choice(block, EMPTY) if missing > self.limit(found.total) else block
                    return parallel(self.block(projected(log, found, [column]), depth), block)
        return None

    def _copies(self, log: Log, found: Relations, depth: int) -> Block | None:
        """As often the one as the other: copies of a part side by side."""
        having = np.maximum(found.having[:, None], found.having[None])
        always = having - found.together <= self.limits(having)
        if not (self._in_step(found) & always).all():
            return None
        counts: defaultdict[int, float] = defaultdict(float)
        copies: list[tuple[tuple[int, ...], float]] = []
        for path, weight in log:
            own = copies_in(path)
            counts[len(own)] += weight
            copies += [(copy, weight) for copy in own]
        least, most = self._range(counts)
        if most == 1 or most > MAX_COPIES:
            return None
        return Copies(self.block(copies, depth), least, most)

    def _any_order(self, found: Relations) -> Block:
        """Nothing is known but which log keys there are."""
        return Loop(choice(*map(Step, found.keys)), EMPTY, 1, MAX_COPIES)
