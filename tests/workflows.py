"""Small workflows, drawn from blocks in the plainest way, and a large one."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import nan

from deeplog_grpc.workflow import Edge, EdgeKind, Elapsed, Method, State, StateKind, Task, Workflow
from deeplog_grpc.workflow.blocks import EMPTY, Block, Choice, Copies, Loop, Parallel, Step, choice, parallel, sequence
from deeplog_grpc.workflow.blocks import Sequence as InTurn

LOOP_SHARE = 0.25
SESSIONS = 1_000
HOSTILE = (
    'a "b" \\N\\" <script>alert(1)</script> &lt; `c` ]]> {{ 7 }} #quot; | end;\n\r\x00\x1b\u202e -->' + "x" * 5_000
)
"""A template that tries to break out of every language that a workflow is written in."""


@dataclass(slots=True)
class _Pen:
    """Draws a task: gives numbers to states, and notes who follows whom."""

    task: int
    states: list[State]
    links: dict[tuple[int, int], EdgeKind] = field(default_factory=dict)
    copies: dict[int, tuple[int, int]] = field(default_factory=dict)
    texts: dict[int, str] = field(default_factory=dict)

    def state(self, kind: StateKind, key: int = -1) -> int:
        template = self.texts.get(key, f"step {key} of <*>") if kind is StateKind.KEY else ""
        number = self.states[-1].number + 1
        self.states.append(State(number=number, task=self.task, kind=kind, key=key, template=template, count=SESSIONS))
        return number

    def link(self, sources: Sequence[int], target: int, kind: EdgeKind = EdgeKind.SEQUENCE) -> None:
        for source in sources:
            self.links.setdefault((source, target), kind)

    def draw(self, block: Block, sources: list[int]) -> tuple[Block, list[int]]:
        """The block with its numbers, and the states that it ends in."""
        match block:
            case Step(key):
                number = self.state(StateKind.KEY, key)
                self.link(sources, number)
                return Step(key, number), [number]
            case InTurn(parts):
                drawn = []
                for part in parts:
                    one, sources = self.draw(part, sources)
                    drawn.append(one)
                return InTurn(tuple(drawn)), sources
            case Choice(parts):
                pairs = [self.draw(part, sources) for part in parts]
                exits = list(dict.fromkeys(number for _, ends in pairs for number in ends))
                return Choice(tuple(one for one, _ in pairs)), exits
            case Loop(body, _, least, most):
                first = self.states[-1].number + 1
                one, exits = self.draw(body, sources)
                self.link(exits, first, EdgeKind.LOOP)
                self.copies[first] = (least, most)
                return Loop(one, EMPTY, least, most), exits
            case Parallel(parts):
                fork = self.state(StateKind.FORK)
                self.link(sources, fork)
                pairs = [self.draw(part, [fork]) for part in parts]
                join = self.state(StateKind.JOIN)
                for _, exits_of in pairs:
                    self.link(exits_of, join, EdgeKind.JOIN)
                return Parallel(tuple(one for one, _ in pairs)), [join]
            case _:
                raise AssertionError(f"is not drawn here: {block}")

    def edges(self) -> Iterator[Edge]:
        kinds = {state.number: state.kind for state in self.states}
        following: defaultdict[int, list[int]] = defaultdict(list)
        for source, target in self.links:
            following[source].append(target)
        for (source, target), kind in self.links.items():
            onward = [other for other in following[source] if self.links[source, other] is not EdgeKind.LOOP]
            loops = len(following[source]) - len(onward)
            if kinds[source] is StateKind.FORK:
                kind, share = EdgeKind.FORK, 1.0
            elif kind is EdgeKind.LOOP:
                share = LOOP_SHARE / loops
            else:
                weights = {other: 1 / (place + 1) ** 2 for place, other in enumerate(onward)}
                share = weights[target] / sum(weights.values()) * (1 - LOOP_SHARE * (loops > 0))
                kind = EdgeKind.CHOICE if len(following[source]) > 1 and kind is EdgeKind.SEQUENCE else kind
            is_timed = {kinds[source], kinds[target]} == {StateKind.KEY}
            p50 = 0.001 * 3 ** (target % 12)
            yield Edge(
                source=source,
                target=target,
                kind=kind,
                count=round(SESSIONS * share),
                probability=share,
                least=self.copies.get(target, (1, 1))[0] if kind is EdgeKind.LOOP else 1,
                most=self.copies.get(target, (1, 1))[1] if kind is EdgeKind.LOOP else 1,
                elapsed=Elapsed(p50=p50, p95=2 * p50, p99=3 * p50, count=SESSIONS) if is_timed else None,
            )


def workflow(*blocks: Block, texts: dict[int, str] | None = None) -> Workflow:
    """A workflow with a task a block; ``texts`` are templates of log keys."""
    tasks: list[Task] = []
    for number, block in enumerate(blocks):
        first = sum(len(task.states) for task in tasks)
        pen = _Pen(number, [State(number=first, task=number, kind=StateKind.START, count=SESSIONS)], texts=texts or {})
        drawn, exits = pen.draw(block, [first])
        pen.link(exits, pen.state(StateKind.END))
        tasks.append(
            Task(
                number=number,
                block=drawn,
                states=tuple(pen.states),
                edges=tuple(pen.edges()),
                sessions=SESSIONS,
                shortest=shortest(block),
            )
        )
    return Workflow(method=Method.SESSIONS, tasks=tuple(tasks), follows={}, sessions=SESSIONS * len(tasks), fitness=nan)


def shortest(block: Block) -> int:
    """Fewest steps."""
    match block:
        case Step():
            return 1
        case Choice(parts):
            return min(map(shortest, parts))
        case Loop(body) | Copies(body):
            return shortest(body)
        case _:
            return sum(map(shortest, block.parts))


def _steps(*keys: int) -> Block:
    return sequence(*map(Step, keys))


SEQUENCE = workflow(_steps(1, 2, 3))
"""States: 0 start, 1 2 3, 4 end."""
CHOICE = workflow(sequence(Step(1), choice(Step(2), Step(3), EMPTY), Step(4)))
"""States: 0 start, 1, 2 or 3 or none, 4, 5 end."""
FORK = workflow(sequence(Step(1), parallel(_steps(2, 3), Step(4)), Step(5)))
"""States: 0 start, 1, 2 fork, 3 4 beside 5, 6 join, 7, 8 end."""
LOOP = workflow(sequence(Step(1), Loop(_steps(2, 3), EMPTY, 1, 5), Step(4)))
"""States: 0 start, 1, 2 3 again and again, 4, 5 end."""
TWO_TASKS = workflow(_steps(1, 2), sequence(Step(3), choice(Step(4), Step(5)), Step(6)))
"""States: 0 start, 1, 2, 3 end; 4 start, 5, 6 or 7, 8, 9 end."""
TWICE = workflow(_steps(1, 2, 1))
"""Log key 1 in the states 1 and 3."""
ALL = {"sequence": SEQUENCE, "choice": CHOICE, "fork": FORK, "loop": LOOP, "two tasks": TWO_TASKS, "twice": TWICE}


def large(states: int, *, tasks: int = 1, texts: dict[int, str] | None = None) -> Workflow:
    """A workflow of about so many states: parts of every shape, one after the other, every step with its own key."""
    keys = iter(range(1, 10 * states))

    def part(number: int) -> Block:
        match number % 4:
            case 0:
                return sequence(Step(next(keys)), choice(Step(next(keys)), Step(next(keys)), Step(next(keys))))
            case 1:
                ways = parallel(sequence(Step(next(keys)), Step(next(keys))), Step(next(keys)), Step(next(keys)))
                return sequence(ways, Step(next(keys)))
            case 2:
                return sequence(Step(next(keys)), Loop(sequence(Step(next(keys)), Step(next(keys))), EMPTY, 1, 9))
            case _:
                return sequence(Step(next(keys)), choice(sequence(Step(next(keys)), Step(next(keys))), EMPTY))

    per_part = 4
    blocks = [sequence(*map(part, range(states // tasks // per_part))) for _ in range(tasks)]
    return workflow(*blocks, texts=texts)


def renamed(found: Workflow, template: str) -> Workflow:
    """The same with this template everywhere."""
    tasks = tuple(
        replace(
            task,
            states=tuple(
                replace(state, template=template) if state.kind is StateKind.KEY else state for state in task.states
            ),
        )
        for task in found.tasks
    )
    return replace(found, tasks=tasks)
