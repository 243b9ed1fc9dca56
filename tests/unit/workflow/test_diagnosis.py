"""Diagnoses by small workflows; a log key's template is a letter."""

from collections.abc import Sequence

import pytest

from deeplog_grpc.workflow import (
    EMPTY,
    NO_WORKFLOW,
    Choice,
    Concern,
    Copies,
    Deviation,
    Diagnoser,
    Diagnosis,
    Loop,
    OddValue,
    Parallel,
    Step,
    Workflow,
    sequence,
)
from tests.learned_workflows import workflow

A, B, C, D, E, X = range(6)
S = 1_000_000_000
LINE = workflow(sequence(Step(A), Step(B), Step(C), Step(D)), normal=[[A, B, C, D]] * 20)
FORK = workflow(
    sequence(Step(A), Parallel((sequence(Step(B), Step(C)), Step(D))), Step(E)),
    normal=[[A, B, C, D, E], [A, B, D, C, E], [A, D, B, C, E]] * 10,
)
LOOP = workflow(sequence(Step(A), Loop(sequence(Step(B), Step(C)), EMPTY), Step(D)), normal=[[A, B, C, D]] * 20)
TASKS = workflow(sequence(Step(A), Step(B)), sequence(Step(C), Step(D)), normal=[[A, B]] * 30 + [[C, D]] * 10)


def letter(key: int) -> str:
    return "ABCDEX"[key]


def found(
    by: Workflow,
    keys: Sequence[int],
    *,
    times_s: Sequence[float] | None = None,
    concern: Concern = Concern.PATH,
    begins: bool = True,
    value: OddValue | None = None,
) -> Diagnosis:
    times = [10_000 + place for place in range(len(keys))] if times_s is None else times_s
    times_ns = [int(time_s * S) for time_s in times]
    diagnosis = Diagnoser(by, letter).diagnose(keys, times_ns, begins=begins, concern=concern, value=value)
    assert diagnosis is not None
    return diagnosis


def skipped(by: Workflow, diagnosis: Diagnosis) -> list[int]:
    return [by.states[state].key for state in diagnosis.skipped]


@pytest.mark.parametrize(
    ("by", "keys", "deviation", "missing"),
    [
        (LINE, [A, X], Deviation.UNKNOWN, []),
        (LINE, [A, C], Deviation.SKIPPED, [B]),
        (LINE, [A, D], Deviation.SKIPPED, [B, C]),
        (LINE, [B], Deviation.SKIPPED, [A]),
        (LINE, [A, B, A], Deviation.REPEATED, []),
        (LINE, [A, B, B], Deviation.REPEATED, []),
        (LINE, [A, C, B], Deviation.OUT_OF_ORDER, []),
        (LINE, [A, B, C], Deviation.ALLOWED, []),
        (LINE, [A, X, B], Deviation.ALLOWED, []),
        (FORK, [A, D, C], Deviation.SKIPPED, [B]),
        (FORK, [A, B, E], Deviation.SKIPPED, [C, D]),
        (FORK, [A, D, D], Deviation.REPEATED, []),
        (LOOP, [A, B, C, B, B], Deviation.SKIPPED, [C]),
        (LOOP, [A, B, C, A], Deviation.REPEATED, []),
        (TASKS, [A, D], Deviation.OTHER_TASK, []),
        (TASKS, [A, X], Deviation.UNKNOWN, []),
    ],
)
def test_the_deviation_of_an_entry(by: Workflow, keys: list[int], deviation: Deviation, missing: list[int]) -> None:
    diagnosis = found(by, keys)
    assert (diagnosis.deviation, skipped(by, diagnosis)) == (deviation, missing)


def test_copies_come_so_many_times_and_no_more() -> None:
    by = workflow(sequence(Step(A), Copies(Step(B), 2, 2), Step(C)), normal=[[A, B, B, C]] * 20)
    assert found(by, [A, B, B, B]).deviation is Deviation.REPEATED
    assert found(by, [A, B, C]).deviation is Deviation.SKIPPED


def test_what_was_reached_and_what_comes_next() -> None:
    by = workflow(
        sequence(Step(A), Choice((Step(B), Step(C))), Step(D)), normal=[[A, B, D]] * 30 + [[A, C, D]] * 10, seconds=2.0
    )
    diagnosis = found(by, [A, X])
    assert (diagnosis.task, diagnosis.key, diagnosis.template) == (0, A, "A")
    assert by.states[diagnosis.state].key == A
    assert [(step.template, step.probability, step.p50_s) for step in diagnosis.expected] == [
        ("B", 0.75, 2.0),
        ("C", 0.25, 2.0),
    ]
    assert (
        diagnosis.text
        == "'X' is in no task of the workflow; it came after 'A', where 'B' (75 %) or 'C' (25 %) is normal"
    )


def test_of_parts_side_by_side_each_goes_on() -> None:
    diagnosis = found(FORK, [A, B, X])
    assert {step.template: step.probability for step in diagnosis.expected} == {"C": 0.5, "D": 0.5}
    assert found(FORK, [A, B, C, X]).expected[0].template == "D"
    assert found(FORK, [A, B, C, D, X]).expected[0].template == "E"


def test_after_the_last_step_the_end_is_expected() -> None:
    (step,) = found(LINE, [A, B, C, D, X]).expected
    assert (step.key, step.template, step.probability) == (-1, "<end of session>", 1.0)


def test_the_first_divergence_and_whether_the_session_came_back() -> None:
    never = found(LINE, [A, B, X])
    back = found(LINE, [A, X, B, X])
    away = found(LINE, [A, X, X])
    assert [(one.first_divergence, one.has_returned) for one in (never, back, away)] == [
        (-1, False),
        (1, True),
        (1, False),
    ]
    assert back.text.endswith("the session had left the workflow before, at 'X', and came back")


@pytest.mark.parametrize(
    ("keys", "deviation", "missing"),
    [
        ([A, B], Deviation.TRUNCATED, [C, D]),
        ([A, X, B], Deviation.TRUNCATED, [C, D]),
        ([A, B, C, D], Deviation.ALLOWED, []),
        ([A, B, X, C, D], Deviation.UNKNOWN, []),
        ([A, B, C, D, D], Deviation.REPEATED, []),
        ([A, C, B, D], Deviation.OUT_OF_ORDER, []),
        ([A, B, D], Deviation.SKIPPED, [C]),
    ],
)
def test_the_deviation_of_an_ended_session(keys: list[int], deviation: Deviation, missing: list[int]) -> None:
    diagnosis = found(LINE, keys, concern=Concern.END)
    assert (diagnosis.deviation, skipped(LINE, diagnosis)) == (deviation, missing)


def test_the_sentence_of_an_end_says_what_did_not_come() -> None:
    text = found(LINE, [A, B], concern=Concern.END).text
    assert text == "the session ended after 'B', where 'C' (100 %) normally follows within 1 s"


def test_a_slow_entry_is_told_with_the_slow_step_before_it() -> None:
    diagnosis = found(
        LINE,
        [A, B, C],
        times_s=[10_000, 10_005.5, 10_036.5],
        concern=Concern.ELAPSED,
        value=OddValue(slot=-1, observed=31.0, low=0.0, high=2.0),
    )
    assert diagnosis.deviation is Deviation.SLOW
    assert diagnosis.text == (
        "after 'B' 'C' normally follows within 1 s (99 %); 31 s passed; 'B' before it took 6 x its usual time"
    )
    assert [(step.template, step.elapsed_s, step.p50_s, step.p99_s) for step in diagnosis.slow_steps] == [
        ("C", 31.0, 1.0, 1.0),
        ("B", 5.5, 1.0, 1.0),
    ]


def test_a_fast_entry_is_told_by_what_the_detector_says() -> None:
    value = OddValue(slot=-1, observed=0.001, low=0.5, high=2.0)
    diagnosis = found(LINE, [A, B], concern=Concern.ELAPSED, value=value)
    assert diagnosis.deviation is Deviation.FAST
    assert diagnosis.text == "'B' came 0.001 s after 'A', which normally takes 0.5 s"


def test_an_odd_value_names_the_step_and_never_the_value() -> None:
    value = OddValue(slot=1, observed=4_711.0, low=0.0, high=2.0)
    diagnosis = found(LINE, [A, B], concern=Concern.VALUE, value=value)
    assert diagnosis.deviation is Deviation.VALUE
    assert diagnosis.text == "a value of 'B' at <*> 2 is odd, after 'A', where it is a normal step"


def test_a_slow_step_is_measured_on_its_own_path() -> None:
    """C follows B, not D, which came between them."""
    diagnosis = found(FORK, [A, B, D, C, X], times_s=[10_000.5, 10_001.5, 10_050.5, 10_051.5, 10_052])
    slow = {step.template: step.elapsed_s for step in diagnosis.slow_steps}
    assert slow == {"C": 50.0, "D": 50.0}


def test_the_resolution_of_a_log_makes_no_step_slow() -> None:
    by = workflow(sequence(Step(A), Step(B)), normal=[[A, B]] * 20, seconds=0.0)
    assert found(by, [A, B, X], times_s=[10_000, 10_001, 10_002]).slow_steps == ()
    assert found(by, [A, B, X], times_s=[10_000.001, 10_001, 10_002]).slow_steps != ()


def test_times_that_are_not_known_are_not_slow() -> None:
    assert found(LINE, [A, B, X], times_s=[0, 10_000, 0]).slow_steps == ()


def test_a_session_met_in_its_middle() -> None:
    met = found(LINE, [B, C, B], begins=False)
    assert (met.deviation, met.first_divergence) == (Deviation.REPEATED, -1)
    assert found(LINE, [C], begins=False).deviation is Deviation.ALLOWED
    alone = found(LINE, [X], begins=False)
    assert (alone.deviation, alone.state, alone.expected) == (Deviation.UNKNOWN, -1, ())


def test_a_session_of_several_tasks() -> None:
    by = workflow(
        sequence(Step(A), Step(B)),
        sequence(Step(C), Step(D)),
        normal=[[A, B, C, D]] * 20,
        follows={(-1, 0): 20, (0, 1): 20, (1, -1): 20},
    )
    diagnosis = found(by, [A, B, X])
    assert [step.template for step in diagnosis.expected] == ["C"]
    assert found(by, [A, B, C, X]).task == 1
    assert found(by, [A, B], concern=Concern.END).deviation is not Deviation.UNKNOWN


def test_without_a_task_there_is_no_diagnosis() -> None:
    diagnoser = Diagnoser(NO_WORKFLOW, letter)
    assert diagnoser.diagnose([A], [0], begins=True, concern=Concern.PATH) is None
    assert diagnoser.diagnose_session([A], [0]) == ()
    assert diagnoser.path([A], begins=True) == ()


def of_session(by: Workflow, keys: Sequence[int], *, ended: bool = True) -> list[tuple[Deviation, int, bool]]:
    times_ns = [(10_000 + place) * S for place in range(len(keys))]
    diagnoses = Diagnoser(by, letter).diagnose_session(keys, times_ns, ended=ended)
    return [(one.deviation, one.first_divergence, one.has_returned) for one in diagnoses]


def test_a_whole_session_with_what_came_after_in_view() -> None:
    assert of_session(LINE, [A, B, C, D]) == []
    assert of_session(LINE, [A, C, B, D]) == [(Deviation.OUT_OF_ORDER, 1, True)]
    assert of_session(LINE, [A, X, B, D]) == [(Deviation.UNKNOWN, 1, True), (Deviation.SKIPPED, 3, False)]
    assert of_session(LINE, [A, B, B, C, D]) == [(Deviation.REPEATED, 2, True)]
    assert of_session(LINE, [A, B]) == [(Deviation.TRUNCATED, 2, False)]
    assert of_session(LINE, [A, B], ended=False) == []


def test_a_whole_session_tells_its_slow_steps() -> None:
    times_ns = [10_000 * S, 10_001 * S, 10_061 * S, 10_062 * S]
    (diagnosis,) = Diagnoser(LINE, letter).diagnose_session([A, B, C, D], times_ns)
    assert (diagnosis.deviation, diagnosis.first_divergence) == (Deviation.SLOW, 2)
    assert diagnosis.text == "'C' took 60 s, where 1 s is usual and 99 % take 1 s at most"


def test_templates_are_shortened_to_one_line() -> None:
    text = Diagnoser(LINE, lambda key: "word\n" * 40).diagnose([A, X], [0, 0], begins=True, concern=Concern.PATH)
    assert text is not None
    assert "\n" not in text.text
    assert max(map(len, text.text.split("'")[1::2])) == 60


def test_asking_again_says_the_same() -> None:
    diagnoser = Diagnoser(FORK, letter)
    keys = [A, D, C]
    first, again = (diagnoser.diagnose(keys, [S] * 3, begins=True, concern=Concern.PATH) for _ in range(2))
    assert first == again == found(FORK, keys, times_s=[1, 1, 1])
