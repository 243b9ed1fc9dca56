"""Processes made by a seed: choices, parts side by side, loops, segments that tasks share.

Nothing is made that another block would say as well: a loop's body begins with a step, so that it is neither a choice
of single keys (each of them in a loop, side by side, has the same sessions) nor just another loop; the branches of a
choice begin with different keys. A task begins and ends with a step of its own.
"""

import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Sequence as Row
from enum import StrEnum
from itertools import count

from deeplog_grpc.testing.processes import Process
from deeplog_grpc.workflow.blocks import (
    EMPTY,
    Block,
    Choice,
    Copies,
    Loop,
    Parallel,
    Step,
    children,
    choice,
    parallel,
    sequence,
    steps,
)
from deeplog_grpc.workflow.building import build_workflow
from deeplog_grpc.workflow.graph import Method

LEAST_STEPS, MOST_STEPS = 8, 20
MOST_TASKS = 5
MOST_BRANCHES = 4
MOST_BRANCH_STEPS = 3
"""Of a branch that runs beside others."""
MOST_REPEATS = 4
MOST_LOOP_STEPS = 4
"""Of a loop in a plain process."""
LEAST_SHARE = 0.1
"""Least probability of a branch."""
LEAST_S, MOST_S = 0.05, 5.0
"""Usual duration of a step."""
TWICE_EVERY = 3
"""One in so many processes has a key at two places of one task."""


class ProcessKind(StrEnum):
    """What a process has most of."""

    CHOICES = "choices"
    PARALLEL = "parallel"
    LOOPS = "loops"
    SHARED = "shared"
    """Segments that occur in several tasks."""
    MIXED = "mixed"
    PLAIN = "plain"
    """Sequences, straight branches side by side and short straight loops; no log key is at two places. What can be told
    from a stream by co-occurrence alone. No seed gives it: ask for it."""


FEATURES: Mapping[ProcessKind, Mapping[str, int]] = {
    ProcessKind.CHOICES: {"choice": 3, "optional": 2, "step": 3},
    ProcessKind.PARALLEL: {"parallel": 3, "step": 3},
    ProcessKind.LOOPS: {"loop": 3, "step": 3},
    ProcessKind.SHARED: {"step": 5, "choice": 1, "optional": 1, "parallel": 1, "loop": 1},
    ProcessKind.MIXED: {"parallel": 2, "choice": 2, "loop": 2, "optional": 1, "step": 3},
    ProcessKind.PLAIN: {"parallel": 2, "loop": 1, "step": 4},
}
"""Kind -> what its tasks are made of, and how often; each task has the first one."""


def simulate_process(seed: int, *, kind: ProcessKind | None = None, tasks: int | None = None) -> Process:
    """Make a process.

    Parameters
    ----------
    seed : int
        The same seed gives the same process; kinds and numbers of tasks take turns.
    kind : ProcessKind or None
        What it has most of; None = by the seed.
    tasks : int or None
        Number of tasks, 1 to 5; None = by the seed.

    Examples
    --------
    >>> process = simulate_process(0)
    >>> process.kind, len(process.tasks), len(process.templates)
    (<ProcessKind.CHOICES: 'choices'>, 1, 13)
    """
    kinds = [own for own in ProcessKind if own is not ProcessKind.PLAIN]
    kind = kinds[seed % len(kinds)] if kind is None else kind
    if tasks is None:
        tasks = 1 + (2 * seed + seed // len(kinds)) % MOST_TASKS
        tasks = max(2, tasks) if kind is ProcessKind.SHARED else tasks
    rng = random.Random(f"process {seed}")
    has_twice = seed % TWICE_EVERY == 0 and kind is not ProcessKind.PLAIN
    made = _Maker(rng, kind).tasks(tasks, has_twice=has_twice)
    made = _with_keys_shuffled(made, rng)
    templates = _templates({step.key for block in made for step in steps(block)})
    workflow = build_workflow(made, (), method=Method.SESSIONS, template=templates.__getitem__)
    blocks = [task.block for task in workflow.tasks]
    branches = {block: _shares(len(block.parts), rng) for block in choices(blocks)}
    shares = [rng.uniform(1.0, 2.0) for _ in blocks]
    return Process(
        kind=kind,
        workflow=workflow,
        templates=templates,
        shares=tuple(share / sum(shares) for share in shares),
        branches=branches,
        usual_s=_usual_s(blocks, branches, rng),
    )


class _Maker:
    """Makes blocks with a new key for each step. ``room`` is always the number of steps of what is made."""

    def __init__(self, rng: random.Random, kind: ProcessKind) -> None:
        self._rng = rng
        self._kind = kind
        self._is_plain = kind is ProcessKind.PLAIN
        self._keys = count()
        self._make: Mapping[str, Callable[[int], Block]] = {
            "choice": self._choice,
            "optional": self._optional,
            "parallel": self._parallel,
            "loop": self._loop,
        }

    def tasks(self, number: int, *, has_twice: bool) -> list[Block]:
        """All tasks, with the keys that are at several places."""
        places = self._shared(number)
        twice = self._rng.randrange(number) if has_twice else None
        return [self._task(places.get(task, []), has_twice=task == twice) for task in range(number)]

    def _shared(self, tasks: int) -> dict[int, list[list[Step]]]:
        """Task -> segments that others have too."""
        places: dict[int, list[list[Step]]] = {}
        has_some = self._kind in (ProcessKind.SHARED, ProcessKind.MIXED) or self._rng.random() < 0.5
        if tasks > 1 and has_some and not self._is_plain:
            for _ in range(1 if tasks < 4 else 2):
                segment = [self._step() for _ in range(self._rng.randint(2, 3))]
                for task in self._rng.sample(range(tasks), self._rng.randint(2, tasks)):
                    places.setdefault(task, []).append(segment)
        return places

    def _task(self, segments: Row[Row[Step]], *, has_twice: bool) -> Block:
        fixed = 2 + sum(map(len, segments)) + 2 * has_twice
        parts = self._parts(self._rng.randint(max(LEAST_STEPS, fixed + 3), MOST_STEPS) - fixed)
        for segment in segments:
            parts.insert(self._rng.randint(0, len(parts)), sequence(*segment))
        if has_twice:
            self._put_twice(self._step(), parts)
        return sequence(self._step(), *parts, self._step())

    def _put_twice(self, step: Step, parts: list[Block]) -> None:
        """Put a step at two places with something between that is always there."""
        needed = [place for place, part in enumerate(parts) if not isinstance(part, Choice)]
        if not needed:
            parts.append(self._step())
            needed = [len(parts) - 1]
        between = self._rng.choice(needed)
        parts.insert(self._rng.randint(between + 1, len(parts)), step)
        parts.insert(self._rng.randint(0, between), step)

    def _parts(self, room: int) -> list[Block]:
        """What a task is made of, one after the other; most often there is a step between two that are no steps."""
        weights = FEATURES[self._kind]
        parts: list[Block] = []
        feature = next(iter(weights))
        while room:
            wanted = self._rng.randint(2, 7)
            part = self._made(feature, min(wanted, room))
            parts.append(part)
            room -= _size(part)
            was_step = isinstance(part, Step)
            (feature,) = self._rng.choices(list(weights), list(weights.values()))
            feature = feature if was_step or self._rng.random() < 0.3 else "step"
        at = self._rng.randint(0, len(parts))
        return parts[at:] + parts[:at]

    def _step(self) -> Step:
        return Step(next(self._keys))

    def _made(self, feature: str, room: int) -> Block:
        if feature == "step" or (room == 1 and feature in ("choice", "parallel")):
            return self._step()
        return self._make[feature](room)

    def _chain(self, room: int) -> Block:
        return sequence(*(self._step() for _ in range(room)))

    def _sizes(self, branches: int, room: int, most: int) -> list[int]:
        """Steps of each branch: all of the room, if it is not too much for them."""
        sizes = [1] * branches
        for _ in range(room - branches):
            if open_ones := [place for place, size in enumerate(sizes) if size < most]:
                sizes[self._rng.choice(open_ones)] += 1
        return sizes

    def _choice(self, room: int) -> Block:
        has_none = room < MOST_BRANCHES and self._rng.random() < 0.2
        branches = self._rng.randint(2, min(room, MOST_BRANCHES - has_none))
        made = [self._branch_of_choice(size) for size in self._sizes(branches, room, MOST_STEPS)]
        return choice(*made, *[EMPTY] * has_none)

    def _branch_of_choice(self, room: int) -> Block:
        """It begins with a step; more than a chain follows where the kind has that."""
        inner = [name for name in FEATURES[self._kind] if name in ("parallel", "loop")]
        if room > 2 and inner and self._rng.random() < 0.4:
            block = self._made(self._rng.choice(inner), room - 1)
            return sequence(self._step(), block, self._chain(room - 1 - _size(block)))
        return self._chain(room)

    def _optional(self, room: int) -> Block:
        return choice(self._chain(min(room, self._rng.randint(1, 2))), EMPTY)

    def _parallel(self, room: int) -> Block:
        sizes = self._sizes(self._rng.randint(2, min(room, MOST_BRANCHES)), room, MOST_BRANCH_STEPS)
        return parallel(*map(self._branch_of_parallel, sizes))

    def _branch_of_parallel(self, room: int) -> Block:
        """A chain, now and then with a choice or a short loop in it."""
        if self._is_plain or self._rng.random() >= 0.3:
            return self._chain(room)
        if room == 1:
            return self._repeated(self._step())
        before = self._chain(room - 2)
        if self._rng.random() < 0.4:
            return sequence(before, self._repeated(self._step()), self._step())
        if room == 3 and self._rng.random() < 0.5:
            return sequence(before, self._step(), choice(self._step(), EMPTY))
        return sequence(before, choice(self._step(), self._step()))

    def _loop(self, room: int) -> Block:
        """A step, something else, another step; the last one may be a redo part."""
        if room == 1 or self._is_plain:
            return self._repeated(self._chain(min(room, MOST_LOOP_STEPS)))
        redo = self._step() if self._rng.random() < 0.35 else EMPTY
        left = room - _size(redo) - 1
        inner = self._made(self._rng.choice(("loop", "choice", "optional", "step")), left) if left else EMPTY
        return self._repeated(sequence(self._step(), inner, self._chain(left - _size(inner))), redo)

    def _repeated(self, body: Block, redo: Block = EMPTY) -> Block:
        return Loop(body, redo, 1, self._rng.randint(2, MOST_REPEATS))


def _size(block: Block) -> int:
    return sum(1 for _ in steps(block))


def _with_keys_shuffled(tasks: Row[Block], rng: random.Random) -> list[Block]:
    """The order of the keys tells nothing of the order of the steps."""
    keys = sorted({step.key for task in tasks for step in steps(task)})
    new_keys = dict(zip(keys, rng.sample(range(len(keys)), len(keys)), strict=True))

    def walk(block: Block) -> Block:
        match block:
            case Step(key, state):
                return Step(new_keys[key], state)
            case Loop(body, redo, least, most):
                return Loop(walk(body), walk(redo), least, most)
            case Copies(body, least, most):
                return Copies(walk(body), least, most)
            case _:
                return type(block)(tuple(map(walk, block.parts)))

    return [walk(task) for task in tasks]


def choices(blocks: Iterable[Block]) -> Iterator[Choice]:
    """All choices in some blocks."""
    for block in blocks:
        if isinstance(block, Choice):
            yield block
        yield from choices(children(block))


def _shares(parts: int, rng: random.Random) -> tuple[float, ...]:
    """Probabilities, none below the least one."""
    drawn = [rng.random() for _ in range(parts)]
    return tuple(LEAST_SHARE + (1 - parts * LEAST_SHARE) * one / sum(drawn) for one in drawn)


def _usual_s(
    tasks: Row[Block], branches: Mapping[Choice, tuple[float, ...]], rng: random.Random
) -> Mapping[int, float]:
    """State number -> usual duration; branches side by side take about the same time, else their order never varies."""
    found: dict[int, float] = {}

    def expected_steps(block: Block) -> float:
        match block:
            case Step():
                return 1.0
            case Loop(body, redo, least, most):
                times = (least + most) / 2
                return times * expected_steps(body) + (times - 1) * expected_steps(redo)
            case Choice(parts):
                return sum(p * expected_steps(part) for p, part in zip(branches[block], parts, strict=True))
            case _:
                return sum(map(expected_steps, children(block)))

    def walk(block: Block, step_s: float | None) -> None:
        if isinstance(block, Step):
            found[block.state] = _between(LEAST_S, MOST_S, rng) if step_s is None else step_s * rng.uniform(0.8, 1.25)
        total_s = _between(1.0, MOST_S, rng) / 1.25 if isinstance(block, Parallel) else None
        for inner in children(block):
            walk(inner, step_s if total_s is None else total_s / expected_steps(inner))

    for task in tasks:
        walk(task, None)
    return found


def _between(low: float, high: float, rng: random.Random) -> float:
    """Evenly on a logarithmic scale."""
    return low * math.exp(rng.random() * math.log(high / low))


VERBS = ["open", "read", "check", "merge", "route", "sign", "count", "store", "seal", "fetch", "split", "lock"]
NOUNS = ["volume", "ticket", "packet", "invoice", "session", "cluster", "branch", "bucket", "parcel", "kernel"]
PLACES = ["north", "cellar", "harbour", "attic", "island", "meadow", "bridge"]


def _templates(keys: set[int]) -> dict[int, str]:
    """A text for each key; any two have at most one word of three in common."""
    return {
        key: f"{VERBS[key % 12]} {NOUNS[(key // 12 + key) % 10]} {PLACES[(key // 12 + 2 * key) % 7]}"
        for key in sorted(keys)
    }
