from collections.abc import Sequence
from math import isnan, nan

import numpy as np
import pytest

from deeplog_grpc.models import KeyModelConfig, LogKeyModel, Vocabulary
from deeplog_grpc.models.key_model import KeyNetwork
from deeplog_grpc.workflow import (
    NO_WORKFLOW,
    Method,
    Path,
    Replay,
    Step,
    TrainingPath,
    Workflow,
    WorkflowConfig,
    agreement,
    build_workflow,
    construct,
    construction,
    distinct_paths,
    sequence,
)
from deeplog_grpc.workflow.construction import MIN_SESSIONS, MethodChoice, successions
from deeplog_grpc.workflow.growth import GrowthConfig

VOCABULARY = Vocabulary.of(range(1, 6), reserve=0)


def model(*, begin_end: bool = True) -> LogKeyModel:
    """It has not learned anything."""
    config = KeyModelConfig(hidden=4, embedding=4, layers=1, history=3, begin_end=begin_end)
    return LogKeyModel(config, VOCABULARY, KeyNetwork(VOCABULARY.size, config))


def session(*keys: int, parts: tuple[int, ...] = (), is_whole: bool = True, seconds: float = 1.0) -> TrainingPath:
    elapsed_s = np.full(len(keys), seconds)
    elapsed_s[:1] = nan
    return TrainingPath(keys=np.array(keys, np.int32), elapsed_s=elapsed_s, is_whole=is_whole, parts=parts)


def stream(*keys: int) -> TrainingPath:
    return session(*keys, is_whole=False)


def keys_of(workflow: Workflow) -> list[list[int]]:
    return [[state.key for state in task.states if state.key >= 0] for task in workflow.tasks]


ENOUGH = [session(1, 2, 3)] * MIN_SESSIONS
ROUNDS = [stream(*[1, 2, 3] * 20), stream(*[7, 8] * 20)]


@pytest.mark.parametrize(
    ("method", "sessions", "expected"),
    [
        ("auto", ENOUGH, Method.SESSIONS),
        ("auto", [*ENOUGH, *ROUNDS], Method.SESSIONS),
        ("auto", ROUNDS, Method.DENSITY),
        ("auto", [*ENOUGH[1:], *ROUNDS], Method.DENSITY),
        ("sessions", ENOUGH[:1], Method.SESSIONS),
        ("density", ENOUGH, Method.DENSITY),
    ],
)
def test_the_method_is_as_asked_or_fits_the_log(
    method: MethodChoice, sessions: Sequence[TrainingPath], expected: Method
) -> None:
    found = construct(sessions, WorkflowConfig(method=method))
    assert (found.method, bool(found.tasks)) == (expected, True)


@pytest.mark.parametrize("method", ["auto", "sessions", "density", "off"])
@pytest.mark.parametrize(
    "sessions", [[], [session()], [session()] * 20, [stream()]], ids=["none", "one", "20", "block"]
)
def test_without_entries_there_is_none(method: MethodChoice, sessions: Sequence[TrainingPath]) -> None:
    assert construct(sessions, WorkflowConfig(method=method)) is NO_WORKFLOW


def test_off_is_none() -> None:
    assert construct(ENOUGH, WorkflowConfig(method="off"), model=model()) is NO_WORKFLOW


def test_of_streams_alone_the_method_sessions_builds_none() -> None:
    assert construct(ROUNDS, WorkflowConfig(method="sessions")) is NO_WORKFLOW


def test_sessions_of_one_entry() -> None:
    found = construct([session(5)] * 20)
    assert (keys_of(found), found.sessions, found.fitness) == ([[5]], 20, 1.0)


def test_templates_and_times_are_those_of_training() -> None:
    (task,) = construct([session(1, 2, seconds=3.0)] * 20, template="step {}".format).tasks
    assert [state.template for state in task.states] == ["", "step 1", "step 2", ""]
    assert [None if edge.elapsed is None else edge.elapsed.p50 for edge in task.edges] == [None, 3.0, None]


def test_the_method_model_reads_what_the_model_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[float, int]] = []

    def grow(model: LogKeyModel, config: GrowthConfig, *, seed: int) -> tuple[Path, ...]:
        seen.append((config.certain, seed))
        return distinct_paths([[1, 2, 3]] * 20)

    monkeypatch.setattr(construction, "grow", grow)
    found = construct([], WorkflowConfig(method="model", certain=0.9), model=model(), seed=7)
    assert (found.method, keys_of(found), seen) == (Method.MODEL, [[1, 2, 3]], [(0.9, 7)])


def test_the_method_model_needs_a_model_that_knows_begin_and_end() -> None:
    config = WorkflowConfig(method="model")
    with pytest.raises(ValueError, match="needs a model"):
        construct(ENOUGH, config)
    with pytest.raises(ValueError, match="begin_end"):
        construct(ENOUGH, config, model=model(begin_end=False))


CREATE, DELETE = (1, 2, 3), (4, 5, 6)
LIFE = session(*CREATE, *DELETE, parts=(3,))


def test_parts_are_divided() -> None:
    first, second = LIFE.divided()
    assert (first.keys.tolist(), second.keys.tolist()) == ([1, 2, 3], [4, 5, 6])
    assert (first.parts, first.is_whole, len(second.elapsed_s)) == ((), True, 3)
    assert [part.keys.tolist() for part in session(1, 2).divided()] == [[1, 2]]


def test_successions_begin_and_end_with_nothing() -> None:
    assert successions([LIFE.divided(), session(*CREATE).divided()]) == {
        ((), CREATE): 2,
        (CREATE, DELETE): 1,
        (DELETE, ()): 1,
        (CREATE, ()): 1,
    }


def test_parts_of_every_session_are_tasks_that_follow_each_other() -> None:
    found = construct([LIFE] * 40)
    task_of = {found.states[place].key: found.states[place].task for place in range(len(found.states))}
    create, delete = task_of[1], task_of[4]
    assert sorted(keys_of(found)) == [[1, 2, 3], [4, 5, 6]]
    assert found.follows == {(-1, create): 40, (create, delete): 40, (delete, -1): 40}
    replay = Replay(found)
    assert replay.fits([*CREATE, *DELETE])
    assert not any(map(replay.fits, ([*DELETE, *CREATE], CREATE, DELETE)))


def test_without_parts_a_session_is_one_task() -> None:
    found = construct([session(*CREATE, *DELETE)] * 40)
    assert (keys_of(found), found.follows) == ([[1, 2, 3, 4, 5, 6]], {})


def test_one_session_with_parts_is_enough_to_tell_tasks_apart() -> None:
    found = construct([*[session(*CREATE)] * 40, *[session(*DELETE)] * 40, *[LIFE] * 4])
    replay = Replay(found)
    assert all(map(replay.fits, (CREATE, DELETE, [*CREATE, *DELETE])))
    assert not replay.fits([*DELETE, *CREATE])


def test_tasks_of_a_stream_follow_each_other_and_have_times() -> None:
    rng = np.random.default_rng(1)
    entries = [key for first in rng.integers(2, size=60).tolist() for key in ([1, 2, 3], [7, 8, 9])[first]]
    found = construct([stream(*entries)])
    assert sorted(keys_of(found)) == [[1, 2, 3], [7, 8, 9]]
    assert (found.sessions, found.fitness) == (60, 1.0)
    assert set(found.follows) == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert sum(found.follows.values()) == 59
    inner = [edge for edge in found.edges if found.states[edge.source].key > 0 and found.states[edge.target].key > 0]
    assert all(edge.elapsed is not None and edge.elapsed.p50 == 1.0 for edge in inner)


def test_the_latest_entries_of_streams_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(construction, "MAX_STREAM", 40)
    assert keys_of(construct(ROUNDS)) == [[7, 8]]
    monkeypatch.setattr(construction, "MAX_STREAM", 41)
    assert sorted(keys_of(construct(ROUNDS))) == [[1, 2, 3], [7, 8]]


def test_agreement_is_the_share_of_steps_of_grown_paths_that_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    workflow = build_workflow([sequence(Step(1), Step(2))], (), method=Method.SESSIONS)
    monkeypatch.setattr(construction, "grow", lambda *args, seed: distinct_paths([[1, 2]] * 3 + [[2, 1]]))
    assert agreement(workflow, model(), WorkflowConfig()) == 0.875
    monkeypatch.setattr(construction, "grow", lambda *args, seed: ())
    assert isnan(agreement(workflow, model(), WorkflowConfig())), "no path came to its end"


def test_where_nothing_can_be_compared_there_is_no_agreement() -> None:
    workflow = build_workflow([Step(1)], (), method=Method.SESSIONS)
    assert isnan(agreement(NO_WORKFLOW, model(), WorkflowConfig()))
    assert isnan(agreement(workflow, model(begin_end=False), WorkflowConfig()))


def test_a_configuration_is_handed_on() -> None:
    config = WorkflowConfig(
        noise=0.1, overlap=0.7, certain=0.8, least_probability=0.2, distance=5, threshold=0.6, form="printed"
    )
    assert (config.of_sessions.noise, config.of_sessions.tasks.overlap) == (0.1, 0.7)
    assert (config.of_growth.certain, config.of_growth.least_probability) == (0.8, 0.2)
    density = config.of_density
    assert (density.distance, density.threshold, density.form.value) == (5, 0.6, "printed")
