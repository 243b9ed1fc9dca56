"""Faults put into executions: each can be seen, and its truth is right."""

import math
from collections import Counter
from dataclasses import replace

import pytest

from deeplog_grpc.testing import FAULTS, NOISE, FaultySession, Process, is_normal, simulate_process, with_fault
from deeplog_grpc.testing.faults import first_divergence
from deeplog_grpc.workflow import Deviation, Loop
from deeplog_grpc.workflow.blocks import Block, children, steps

SEEDS = range(0, 40, 3)


def faulty_sessions(process: Process, fault: Deviation) -> list[FaultySession]:
    found = []
    for number, session in enumerate(process.draw(30, seed=1)):
        try:
            found.append(with_fault(process, session, fault, seed=number))
        except ValueError as error:
            assert "no place for" in str(error)  # noqa: PT017 - not every session has a place for every fault
    return found


def looped(block: Block, inside: bool = False) -> set[int]:
    """States in loops."""
    if isinstance(block, Loop) or inside:
        return {step.state for step in steps(block)}
    return set().union(*map(looped, children(block)))


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_fault_is_seen_at_its_place_and_nowhere_before(seed: int, fault: Deviation) -> None:
    process = simulate_process(seed)
    found = faulty_sessions(process, fault)
    assert len(found) >= 15
    for faulty in found:
        keys, index = faulty.session.keys, faulty.index
        assert faulty.fault is fault
        assert faulty.state == (faulty.session.steps[index - 1] if index else -1)
        assert NOISE not in faulty.session.steps[:index]
        assert len(keys) == len(faulty.session.steps) == len(faulty.session.elapsed_s)
        assert all(elapsed_s >= 0 for elapsed_s in faulty.session.elapsed_s[1:])
        assert math.isnan(faulty.session.elapsed_s[0])
        if fault is Deviation.SLOW:
            assert is_normal(process, keys)
            continue
        assert not is_normal(process, keys)
        assert first_divergence(process, keys[:index]) == -1
        assert index == len(keys) or first_divergence(process, keys[: index + 1]) == index


@pytest.mark.parametrize("seed", SEEDS)
def test_each_fault_is_what_it_is_called(seed: int) -> None:
    process = simulate_process(seed)
    normal = process.draw(30, seed=1)
    for fault in FAULTS:
        for number, session in enumerate(normal):
            try:
                faulty = with_fault(process, session, fault, seed=number)
            except ValueError:
                continue
            before, after = Counter(session.steps), Counter(faulty.session.steps)
            put_in = faulty.session.steps.count(NOISE)
            match fault:
                case Deviation.SKIPPED:
                    assert put_in == 0
                    assert before - after == Counter(faulty.missing)
                    assert 1 <= len(faulty.missing) <= 3
                    assert faulty.session.keys[-1] == session.keys[-1]
                case Deviation.REPEATED:
                    assert put_in == 1
                    assert before == after - Counter([NOISE])
                    again = faulty.session.keys[faulty.index]
                    assert faulty.session.steps[faulty.index] == NOISE
                    assert again in faulty.session.keys[: faulty.index]
                    assert session.steps[session.keys.index(again)] not in looped(process.tasks[session.task])
                case Deviation.OUT_OF_ORDER:
                    assert before == after
                    assert sum(one != other for one, other in zip(session.keys, faulty.session.keys, strict=True)) >= 2
                case Deviation.TRUNCATED:
                    assert session.keys[: faulty.index] == faulty.session.keys
                    assert len(session.keys) - faulty.index >= 2
                    assert is_normal(process, (*faulty.session.keys, *keys_of(process, faulty.missing)))
                case Deviation.UNKNOWN:
                    assert faulty.session.keys[faulty.index] == process.unknown_key
                    assert process.unknown_key not in process.templates
                case Deviation.SLOW:
                    assert faulty.session.steps[faulty.index] == faulty.slow_state
                    usual_s = process.usual_s[faulty.slow_state]
                    assert faulty.session.elapsed_s[faulty.index] == pytest.approx(20 * usual_s)
                    assert faulty.session.keys == session.keys


def keys_of(process: Process, states: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(process.workflow.states[state].key for state in states)


def test_steps_are_moved_both_ways_and_come_again_at_once_and_later() -> None:
    process = simulate_process(4)
    session = process.draw(1, seed=1)[0]
    moved = [with_fault(process, session, Deviation.OUT_OF_ORDER, seed=seed) for seed in range(40)]
    earlier = Counter(session.steps.index(one.session.steps[one.index]) > one.index + 1 for one in moved)
    assert min(earlier[True], earlier[False]) >= 5
    at_once = Counter(
        faulty.session.keys[faulty.index] == faulty.session.keys[faulty.index - 1]
        for faulty in faulty_sessions(process, Deviation.REPEATED)
    )
    assert at_once[True] >= 5
    assert at_once[False] >= 5


def test_the_same_seed_gives_the_same_fault() -> None:
    process = simulate_process(4)
    session = process.draw(1, seed=0)[0]
    for fault in FAULTS:
        assert with_fault(process, session, fault, seed=5) == with_fault(process, session, fault, seed=5)
    assert len({with_fault(process, session, Deviation.UNKNOWN, seed=seed).index for seed in range(20)}) > 3


def test_only_normal_sessions_and_known_faults_are_taken() -> None:
    process = simulate_process(4)
    session = process.draw(1, seed=0)[0]
    with pytest.raises(ValueError, match="normal sessions only"):
        with_fault(process, replace(session, keys=session.keys[:-1]), Deviation.SLOW, seed=0)
    with pytest.raises(ValueError, match="no such fault"):
        with_fault(process, session, Deviation.VALUE, seed=0)
