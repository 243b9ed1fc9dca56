from collections.abc import Sequence as Items
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deeplog_grpc.testing import simulate_process
from deeplog_grpc.workflow import (
    Block,
    Choice,
    Copies,
    Loop,
    Method,
    Parallel,
    Replay,
    Sequence,
    Step,
    build_workflow,
    distinct_paths,
)
from deeplog_grpc.workflow.blocks import EMPTY, children, steps
from deeplog_grpc.workflow.contexts import told_apart
from deeplog_grpc.workflow.discovery import DEPTH, MAX_KEYS, DiscoveryConfig, discover
from deeplog_grpc.workflow.sessions import workflow_of_sessions
from tests.block_languages import Word, words

EXACT = DiscoveryConfig(noise=0.0)
_logs = st.lists(
    st.tuples(st.lists(st.integers(1, 9), max_size=12).map(tuple), st.integers(1, 40).map(float)),
    min_size=1,
    max_size=15,
)


def all_words(block: Block, longest: int = 8) -> list[tuple[Word, float]]:
    return [(word, 10.0) for word in sorted(words(block, longest))]


def replay_of(block: Block) -> Replay:
    return Replay(build_workflow([block], (), method=Method.SESSIONS))


@pytest.mark.parametrize(
    "block",
    [
        Step(1),
        Sequence((Step(1), Step(2), Step(3))),
        Choice((Step(1), Step(2), Sequence((Step(3), Step(4))))),
        Sequence((Step(1), Choice((Step(2), EMPTY)), Step(3))),
        Sequence((Step(1), Parallel((Step(2), Step(3), Sequence((Step(4), Step(5))))), Step(6))),
        Sequence((Step(1), Loop(Step(2), EMPTY, 1, 6), Step(3))),
        Sequence((Step(1), Loop(Sequence((Step(2), Step(3))), Step(4), 1, 2), Step(5))),
        Sequence((Step(1), Copies(Sequence((Step(2), Step(3))), 3, 3), Step(4))),
        Sequence((Step(1), Choice((Parallel((Step(2), Step(3))), Step(4))), Step(5))),
    ],
)
@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_a_block_is_found_again_from_all_that_it_allows(block: Block, noise: float) -> None:
    assert discover(all_words(block), DiscoveryConfig(noise=noise)) == block


@given(_logs)
@settings(max_examples=150, deadline=None)
def test_without_noise_every_path_fits(log: list[tuple[Word, float]]) -> None:
    replay = replay_of(discover(log, EXACT))
    assert all(replay.fits(path) for path, _ in log)


@given(_logs, st.sampled_from([0.0, 0.01, 0.1]))
@settings(max_examples=150, deadline=None)
def test_the_order_of_the_log_does_not_matter(log: list[tuple[Word, float]], noise: float) -> None:
    config = DiscoveryConfig(noise=noise)
    assert discover(log, config) == discover(log[::-1], config) == discover(log, config)


def depth(block: Block) -> int:
    return 1 + max(map(depth, children(block)), default=0)


@pytest.mark.parametrize(
    "paths",
    [
        [()],
        [(1,)],
        [(1,) * 500],
        [(1,) * 500, (1, 2) * 300],
        [tuple(range(700))],
        [(*range(number, 60), *range(number)) for number in range(60)],
        list(permutations(range(5))),
        [(key,) for key in range(300)],
    ],
)
@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_strange_logs_have_a_block(paths: list[Word], noise: float) -> None:
    block = discover([(path, 1.0) for path in paths], DiscoveryConfig(noise=noise))
    assert depth(block) <= 4 * DEPTH
    assert len(set(steps(block))) <= MAX_KEYS
    build_workflow([block], distinct_paths(paths), method=Method.SESSIONS)


def test_of_too_many_log_keys_the_most_frequent_are_looked_at() -> None:
    log = [(tuple(range(MAX_KEYS + 50)), 1.0), (tuple(range(MAX_KEYS)), 5.0)]
    assert [step.key for step in steps(discover(log, EXACT))] == list(range(MAX_KEYS))


def test_one_session_alone_is_no_branch() -> None:
    log = [((1, 2, 3), 99.0), ((1, 9, 3), 1.0)]
    assert 9 not in {step.key for step in steps(discover(log))}
    assert 9 in {step.key for step in steps(discover(log, EXACT))}


def test_a_log_key_at_two_places_is_two_steps() -> None:
    found = discover([((1, 7, 2, 3, 7, 4), 20.0)])
    assert [step.key for step in steps(found)] == [1, 7, 2, 3, 7, 4]
    labelled = told_apart([((1, 7, 2, 3, 7, 4), 20.0)], lambda weight: 0.1 * weight)
    assert labelled.key_of == {8: 7}


def sessions_of(seed: int, count: int, noise: float) -> Items[Word]:
    return [session.keys for session in simulate_process(seed).draw(count, seed=seed, noise=noise)]


def test_noisy_loops_are_built_in_bounded_time() -> None:
    workflow = workflow_of_sessions(distinct_paths(sessions_of(12, 600, 0.02)))
    assert workflow.tasks
