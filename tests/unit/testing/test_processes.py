"""Simulated processes: repeatable, with every feature, their executions members of the true language."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations, pairwise

import pytest

from deeplog_grpc.parsing import Parser, ParserConfig
from deeplog_grpc.testing import NOISE, Process, SimulatedSession, is_normal, simulate_process
from deeplog_grpc.workflow import EMPTY, Block, Choice, Loop, Parallel, Sequence, Step
from deeplog_grpc.workflow.blocks import children, steps

SEEDS = range(40)


def blocks_in(block: Block) -> Iterator[Block]:
    yield block
    for inner in children(block):
        yield from blocks_in(inner)


def all_blocks(process: Process) -> Iterator[Block]:
    for task in process.tasks:
        yield from blocks_in(task)


def words(block: Block, repeats: int) -> set[tuple[int, ...]]:
    """All key sequences of a block, loops at most so often: by force, for small blocks."""
    match block:
        case Step(key):
            return {(key,)}
        case Sequence(parts):
            found: set[tuple[int, ...]] = {()}
            for part in parts:
                others = words(part, repeats)
                found = {first + second for first in found for second in others}
            return found
        case Choice(parts):
            return set().union(*(words(part, repeats) for part in parts))
        case Parallel(parts):
            found = {()}
            for part in parts:
                others = words(part, repeats)
                found = {mixed for first in found for second in others for mixed in mixtures(first, second)}
            return found
        case Loop(body, redo):
            return set().union(*(words(Sequence((body, *(redo, body) * n)), repeats) for n in range(repeats)))
    raise AssertionError(block)


def mixtures(first: tuple[int, ...], second: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    length = len(first) + len(second)
    for places in combinations(range(length), len(first)):
        one, other = iter(first), iter(second)
        yield tuple(next(one) if place in places else next(other) for place in range(length))


def test_the_same_seed_gives_the_same_process_and_draws() -> None:
    one, other = simulate_process(9), simulate_process(9)
    assert (one, one.templates, one.usual_s) == (other, other.templates, other.usual_s)
    assert one.draw(50, seed=3, noise=0.1) == other.draw(50, seed=3, noise=0.1)
    assert one.draw(50, seed=3) != one.draw(50, seed=4)
    assert one.draw_stream(50, seed=3, interleave=3) == other.draw_stream(50, seed=3, interleave=3)
    assert simulate_process(10).workflow != one.workflow


def test_forty_seeds_have_every_feature() -> None:
    processes = [simulate_process(seed) for seed in SEEDS]
    found = [block for process in processes for block in all_blocks(process)]
    inside = {
        (type(outer), type(inner))
        for outer in found
        for inner in [*blocks_in(outer)][1:]
        if not isinstance(outer, Step)
    }
    assert {len(process.tasks) for process in processes} == {1, 2, 3, 4, 5}
    assert {len(block.parts) for block in found if isinstance(block, Choice)} == {2, 3, 4}
    assert {len(block.parts) for block in found if isinstance(block, Parallel)} == {2, 3, 4}
    assert any(isinstance(block, Choice) and EMPTY in block.parts for block in found)
    assert {block.most for block in found if isinstance(block, Loop)} == {2, 3, 4}
    assert any(isinstance(block, Loop) and block.redo != EMPTY for block in found)
    assert {(Loop, Loop), (Parallel, Choice), (Parallel, Loop), (Choice, Parallel), (Choice, Loop)} <= inside
    assert sum(has_a_key_twice(process) for process in processes) in range(10, 17)
    assert sum(bool(shared_pairs(process)) for process in processes) >= 10


def has_a_key_twice(process: Process) -> bool:
    return any(max(Counter(step.key for step in steps(task)).values()) > 1 for task in process.tasks)


def shared_pairs(process: Process) -> set[tuple[int, int]]:
    """Pairs of keys, one after the other, that two tasks have."""
    pairs = Counter[tuple[int, int]]()
    for task in process.tasks:
        pairs.update(set(pairwise(step.key for step in steps(task))))
    return {pair for pair, tasks in pairs.items() if tasks > 1}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_process_keeps_to_its_rules(seed: int) -> None:
    process = simulate_process(seed)
    used = Counter(key for task in process.tasks for key in {step.key for step in steps(task)})
    assert sorted(used) == sorted(process.templates) == list(range(len(process.templates)))
    for task in process.tasks:
        assert isinstance(task, Sequence)
        ends = (task.parts[0], task.parts[-1])
        assert all(isinstance(end, Step) and used[end.key] == 1 for end in ends)
        assert 8 <= sum(1 for _ in steps(task)) <= 20
    for block in all_blocks(process):
        if isinstance(block, Loop):
            assert not isinstance(block.body, Choice | Loop | Parallel)
        if isinstance(block, Choice):
            firsts = [next(steps(part)).key for part in block.parts if part != EMPTY]
            assert len(set(firsts)) == len(firsts)
            assert min(process.branches[block]) >= 0.1
            assert math.fsum(process.branches[block]) == pytest.approx(1.0)
        if isinstance(block, Parallel):
            assert all(1 <= sum(1 for _ in steps(part)) <= 3 for part in block.parts)
            assert all(any(isinstance(inner, Step) for inner in blocks_in(part)) for part in block.parts)
    assert all(0.05 <= usual_s <= 5.0 for usual_s in process.usual_s.values())


@pytest.mark.parametrize("seed", SEEDS)
def test_executions_are_normal_and_their_steps_true(seed: int) -> None:
    process = simulate_process(seed)
    for session in process.draw(100, seed=seed):
        assert is_normal(process, session.keys)
        states = [process.workflow.states[number] for number in session.steps]
        assert session.keys == tuple(state.key for state in states)
        assert {state.task for state in states} == {session.task}
        assert math.isnan(session.elapsed_s[0])
        assert all(elapsed_s > 0 for elapsed_s in session.elapsed_s[1:])


def test_executions_are_members_of_the_language_found_by_force() -> None:
    checked = 0
    for seed in SEEDS:
        process = simulate_process(seed)
        for task, block in enumerate(process.tasks):
            rich = [inner for inner in blocks_in(block) if isinstance(inner, Loop | Parallel)]
            if len(rich) > 1 or any(len([*steps(inner)]) > 6 for inner in rich):
                continue  # too many to list
            language = words(block, 4)
            drawn = {session.keys for session in process.draw(200, seed=0) if session.task == task}
            assert drawn <= language
            checked += len(drawn)
    assert checked > 400


def test_entries_side_by_side_come_in_every_order() -> None:
    """The first keys of two branches: either comes first in a good part of the executions."""
    for seed in (1, 4, 6, 9, 11):
        process = simulate_process(seed)
        sessions = process.draw(2000, seed=0)
        for block in all_blocks(process):
            if isinstance(block, Parallel):
                firsts = [next(steps(part)).state for part in block.parts if not isinstance(part, Choice)]
                for one, other in combinations(firsts, 2):
                    orders = [
                        session.steps.index(one) < session.steps.index(other)
                        for session in sessions
                        if one in session.steps and other in session.steps
                    ]
                    if len(orders) > 100:
                        assert 0.03 < sum(orders) / len(orders) < 0.97


def test_a_step_takes_its_usual_time() -> None:
    process = simulate_process(0)
    times: dict[int, list[float]] = {}
    for session in process.draw(2000, seed=0):
        for state, elapsed_s in zip(session.steps[1:], session.elapsed_s[1:], strict=True):
            times.setdefault(state, []).append(elapsed_s)
    for state, seconds in times.items():
        logs = sorted(math.log(elapsed_s / process.usual_s[state]) for elapsed_s in seconds)
        assert abs(logs[len(logs) // 2]) < 0.05
        assert (logs[int(0.84 * len(logs))] - logs[int(0.16 * len(logs))]) / 2 == pytest.approx(0.25, abs=0.04)


def test_noise_disturbs_its_share_of_the_entries_a_quarter_each() -> None:
    process = simulate_process(5)  # no loops: each swap is seen
    clean, noisy = process.draw(20_000, seed=0), process.draw(20_000, seed=0, noise=0.02)
    entries = sum(len(session.keys) for session in clean)
    found = Counter[str]()
    for before, after in zip(clean, noisy, strict=True):
        found.update(disturbances(before, after))
    assert sum(found.values()) / entries == pytest.approx(0.02, rel=0.1)
    assert all(count / entries == pytest.approx(0.005, rel=0.15) for count in found.values())
    assert len(found) == 4


def disturbances(before: SimulatedSession, after: SimulatedSession) -> Iterator[str]:
    """What is seen to have been done, entry by entry."""
    kept = [state for state in after.steps if state != NOISE]
    yield from ["dropped"] * (len(before.steps) - len(kept))
    for place, state in enumerate(after.steps):
        if state == NOISE:
            yield "doubled" if after.keys[place] == after.keys[place - 1] else "foreign"
    if len(kept) == len(before.steps):
        turned = sum(one != other for one, other in zip(before.steps, kept, strict=True))
        yield from ["swapped"] * (turned // 2)
    else:  # few: those in which something was dropped as well
        yield from ["swapped"] * sum(
            before.steps.count(one) == before.steps.count(other) == 1
            and before.steps.index(one) > before.steps.index(other)
            for one, other in pairwise(kept)
        )


def test_no_noise_and_noise_draw_the_same_executions() -> None:
    process = simulate_process(9)
    clean, noisy = process.draw(300, seed=0), process.draw(300, seed=0, noise=0.005)
    assert [session.task for session in clean] == [session.task for session in noisy]
    same = [one.keys == other.keys for one, other in zip(clean, noisy, strict=True)]
    assert 0.7 < sum(same) / len(same) < 1.0


def test_a_foreign_key_belongs_to_another_task() -> None:
    process = simulate_process(9)
    own = [{step.key for step in steps(task)} for task in process.tasks]
    foreign = 0
    for session in process.draw(500, seed=0, noise=0.05):
        for place, state in enumerate(session.steps):
            if state == NOISE and session.keys[place] != session.keys[place - 1]:
                assert session.keys[place] not in own[session.task]
                foreign += 1
    assert foreign > 20


def test_a_stream_of_one_worker_has_no_overlap() -> None:
    process = simulate_process(9)
    stream = process.draw_stream(200, seed=0)
    assert [
        number for number, before in zip(stream.executions, (-1, *stream.executions), strict=False) if number != before
    ] == [*range(200)]
    assert executions_of(process, stream.executions, stream.keys) == [s.keys for s in process.draw(200, seed=0)]


@pytest.mark.parametrize("interleave", [2, 5])
def test_executions_of_several_workers_overlap_and_stay_whole(interleave: int) -> None:
    process = simulate_process(9)
    stream = process.draw_stream(200, seed=0, interleave=interleave)
    assert executions_of(process, stream.executions, stream.keys) == [s.keys for s in process.draw(200, seed=0)]
    first = {number: place for place, number in reversed([*enumerate(stream.executions)])}
    last = {number: place for place, number in enumerate(stream.executions)}
    open_at = [
        sum(first[number] <= place <= last[number] for number in first) for place in range(len(stream.executions))
    ]
    assert max(open_at) == interleave
    assert len(stream.keys) == len(stream.tasks) == len(stream.steps) == len(stream.elapsed_s)
    states = process.workflow.states
    assert all(states[step].task == task for step, task in zip(stream.steps, stream.tasks, strict=True))
    assert all(elapsed_s >= 0 for elapsed_s in stream.elapsed_s[1:])


def executions_of(process: Process, executions: tuple[int, ...], keys: tuple[int, ...]) -> list[tuple[int, ...]]:
    found: dict[int, list[int]] = {}
    for number, key in zip(executions, keys, strict=True):
        found.setdefault(number, []).append(key)
    return [tuple(found[number]) for number in sorted(found)]


def test_the_parser_tells_all_templates_apart() -> None:
    largest = max((simulate_process(seed) for seed in SEEDS), key=lambda process: len(process.templates))
    texts = [largest.templates[key] for key in range(len(largest.templates))]
    parsed = Parser(ParserConfig()).parse(texts * 3)
    assert len(set(parsed.keys[-len(texts) :].tolist())) == len(texts)


def test_a_kind_and_a_number_of_tasks_can_be_asked_for() -> None:
    process = simulate_process(0, tasks=3)
    assert len(process.tasks) == 3
    assert replace(process, kind="other").tasks == process.tasks
