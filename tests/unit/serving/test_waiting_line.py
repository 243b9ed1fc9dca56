"""The rules of the line, one by one, and all of them for any history."""

from dataclasses import dataclass
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from deeplog_grpc.serving.waiting_line import SHORT_RUNS, Order, WaitingLine

LIMIT, SMALL = 10, 3


@dataclass(frozen=True)
class Job:
    number: int
    entries: int
    order: Order

    @property
    def is_small(self) -> bool:
        return self.order is Order.SMALL_FIRST and self.entries <= SMALL


jobs = st.tuples(st.integers(0, 14), st.sampled_from(Order)).map(
    lambda drawn: (0 if drawn[1] is Order.FENCE else drawn[0], drawn[1])
)
Command = tuple[int, Order] | str
steps: st.SearchStrategy[list[Command]] = st.lists(st.one_of(jobs, st.sampled_from(["run", "drop"])), max_size=60)


def history(commands: list[Command]) -> tuple[list[Job], list[list[Job]], set[int]]:
    """Jobs in the order of their acceptance, the runs, and who was dropped."""
    line: WaitingLine[Job] = WaitingLine(max_run_entries=LIMIT, short_run_entries=LIMIT, small_entries=SMALL)
    accepted: list[Job] = []
    runs: list[list[Job]] = []
    dropped: set[int] = set()
    for command in commands:
        if command == "run":
            runs.append(line.take(lambda job: job.number not in dropped))
        elif isinstance(command, str):
            if waiting := line.items():
                dropped.add(waiting[len(accepted) % len(waiting)].number)
        else:
            entries, order = command
            accepted.append(Job(len(accepted), entries, order))
            line.add(accepted[-1], entries, order)
    while run := line.take(lambda job: job.number not in dropped):
        runs.append(run)
    assert not line  # it has said so
    return accepted, [run for run in runs if run], dropped


@given(steps)
def test_every_job_runs_once_but_for_the_dropped(commands: list[Command]) -> None:
    accepted, runs, dropped = history(commands)
    ran = sorted(job.number for run in runs for job in run)
    assert ran == [job.number for job in accepted if job.number not in dropped]


@given(steps)
def test_runs_are_bounded_and_hold_one_kind(commands: list[Command]) -> None:
    for run in history(commands)[1]:
        assert len(run) == 1 or sum(job.entries for job in run) <= LIMIT
        assert len({job.is_small for job in run}) == 1


@given(steps)
def test_a_job_is_overtaken_by_small_ones_only_and_a_fence_by_none(commands: list[Command]) -> None:
    ran = [job for run in history(commands)[1] for job in run]
    for place, job in enumerate(ran):
        for later in ran[place + 1 :]:
            if later.number < job.number:  # it was overtaken
                assert job.is_small != later.is_small
                assert Order.FENCE not in (job.order, later.order)
                # An earlier small job behind one of the line: the line's turn came first.


@given(st.lists(jobs, max_size=40))
def test_when_both_wait_they_take_turns(waiting: list[tuple[int, Order]]) -> None:
    waiting = [(entries, Order.IN_LINE if order is Order.FENCE else order) for entries, order in waiting]
    runs = history(list(waiting))[1]
    kinds = [run[0].is_small for run in runs]
    for place, (one, next_one) in enumerate(pairwise(kinds)):
        if one == next_one:
            assert one not in [not kind for kind in kinds[place:]]  # only one kind was left


def test_without_small_ones_all_are_in_line() -> None:
    line: WaitingLine[str] = WaitingLine(max_run_entries=10, short_run_entries=10, small_entries=0)
    line.add("large", 9, Order.IN_LINE)
    line.add("one", 1, Order.SMALL_FIRST)
    assert line.take(lambda _: True) == ["large", "one"]


def test_what_comes_while_a_job_is_dropped_waits_too() -> None:
    line: WaitingLine[str] = WaitingLine(max_run_entries=10, short_run_entries=10, small_entries=1)
    line.add("gone", 1, Order.IN_LINE)

    def is_live(job: str) -> bool:
        if job == "gone":
            line.add("next", 1, Order.IN_LINE)
        return job != "gone"

    assert line.take(is_live) == ["next"]
    assert not line


def test_runs_are_short_while_small_jobs_come() -> None:
    line: WaitingLine[str] = WaitingLine(max_run_entries=100, short_run_entries=10, small_entries=1)

    def runs(count: int) -> list[int]:
        for number in range(10 * count):
            line.add(f"job {number}", 10, Order.IN_LINE)
        return [len(line.take(lambda _: True)) for _ in range(count)]

    assert runs(2) == [10, 10]
    line.add("small", 1, Order.SMALL_FIRST)
    assert line.take(lambda _: True) == ["small"]
    assert runs(SHORT_RUNS) == [1] * SHORT_RUNS
    assert len(line.take(lambda _: True)) == 10
