"""GetWorkflow of a real server: formats, cuts, highlights, and what it says of wrong questions."""

import asyncio
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format

from deeplog_grpc.client.requests import workflow_request
from deeplog_grpc.drawing import dot, mermaid, svg, view
from deeplog_grpc.errors import InputError, NotFoundError, PreconditionError
from deeplog_grpc.serving import workflow_calls
from deeplog_grpc.serving.workflow_messages import highlight_of, workflow_message
from deeplog_grpc.storage import NewAnomaly, load_bundle, save_bundle, verdict_id
from deeplog_grpc.v1 import anomaly_pb2, verdict_pb2, workflow_pb2
from deeplog_grpc.workflow import Workflow
from tests.integration.served import Served, order_of, served
from tests.integration.server_harness import details, status_in
from tests.workflows import TWO_TASKS, large

NEVER = "-- never seen --"


@pytest.fixture(scope="module")
def with_workflow(small_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Workflow], Path]:
    """Bundles of the small application with a workflow that it has not learned."""

    def make(workflow: Workflow) -> Path:
        directory = tmp_path_factory.mktemp("workflow") / "model"
        save_bundle(replace(load_bundle(small_bundle), workflow=workflow), directory, report={})
        return directory

    return make


@pytest.fixture(scope="module")
def two_tasks(with_workflow: Callable[[Workflow], Path]) -> Path:
    return with_workflow(TWO_TASKS)


def diagnosis(**fields: Any) -> verdict_pb2.Diagnosis:
    """A session of the second task that took a rare step after its first."""
    return verdict_pb2.Diagnosis(
        **{
            "deviation": verdict_pb2.DEVIATION_OUT_OF_ORDER,
            "task": 1,
            "state": 5,
            "path": [5],
            "expected": [verdict_pb2.ExpectedStep(state=6, key=4, probability=0.8)],
            **fields,
        }
    )


def store(up: Served, *, session: str = "job-1", model_version: int = 3, **fields: Any) -> str:
    """Store an anomaly as the server would; its name."""
    (number,) = up.state.anomalies.reserve(1)
    verdict = verdict_pb2.Verdict(
        application="orders",
        session=session,
        kind=verdict_pb2.KIND_EXECUTION_PATH,
        key=6,
        template="step 6 of <*>",
        model_version=model_version,
        verdict_id=verdict_id(number),
        **fields,
    )
    up.state.anomalies.add(
        [
            NewAnomaly(
                number=number,
                application="orders",
                kind=3,
                key=6,
                session=session,
                group_id="g-1",
                time_ns=1,
                score=0.5,
                evidence=anomaly_pb2.Anomaly(verdict=verdict).SerializeToString(),
                template="",
                reason="",
            )
        ]
    )
    return verdict.verdict_id


def highlighted(response: workflow_pb2.GetWorkflowResponse) -> tuple[set[int], set[tuple[int, int]]]:
    tasks = response.workflow.tasks
    return (
        {state.number for task in tasks for state in task.states if state.is_highlighted},
        {(edge.source, edge.target) for task in tasks for edge in task.edges if edge.is_highlighted},
    )


async def test_the_workflow_comes_in_every_language(two_tasks: Path, tmp_path: Path) -> None:
    async with served(two_tasks, tmp_path) as up:
        whole = await up.client.get_workflow()
        texts = {
            name: await up.client.get_workflow(application="orders", format=name)
            for name in (
                workflow_pb2.WORKFLOW_FORMAT_DOT,
                workflow_pb2.WORKFLOW_FORMAT_MERMAID,
                workflow_pb2.WORKFLOW_FORMAT_JSON,
            )
        }
    assert (whole.application, whole.model_version, whole.text) == ("orders", 3, "")
    assert whole.workflow == workflow_message(view(TWO_TASKS))
    assert (whole.workflow.suggested_history, whole.workflow.suggested_candidates) == (2, 2)
    assert not whole.workflow.HasField("fitness")
    assert texts[workflow_pb2.WORKFLOW_FORMAT_DOT].text == dot(view(TWO_TASKS))
    assert texts[workflow_pb2.WORKFLOW_FORMAT_MERMAID].text == mermaid(view(TWO_TASKS))
    told = texts[workflow_pb2.WORKFLOW_FORMAT_JSON].text
    assert json_format.Parse(told, workflow_pb2.Workflow()) == whole.workflow
    assert '"number": 0' in told
    assert not any(response.HasField("workflow") for response in texts.values())


async def test_a_task_and_what_is_not_rare(two_tasks: Path, tmp_path: Path) -> None:
    async with served(two_tasks, tmp_path) as up:
        first = await up.client.get_workflow(task=0)
        usual = await up.client.get_workflow(task=1, min_probability=0.3)
        exact = await up.client.get_workflow(task=1, min_probability=0.2)
    assert [task.number for task in first.workflow.tasks] == [0]
    assert [state.number for state in usual.workflow.tasks[0].states] == [4, 5, 6, 8, 9]
    assert len(exact.workflow.tasks[0].states) == 6  # the rarer branch has just this share


async def test_the_way_of_an_anomaly_is_marked(two_tasks: Path, tmp_path: Path) -> None:
    async with served(two_tasks, tmp_path) as up:
        name = store(up, diagnosis=diagnosis())
        found = await up.client.get_workflow(verdict_id=name)
        text = (await up.client.get_workflow(verdict_id=name, format=workflow_pb2.WORKFLOW_FORMAT_DOT)).text
    assert highlighted(found) == ({4, 5}, {(4, 5)})
    assert "comes at another place" in text
    assert "s5 -> anomaly" in text
    assert 's5 -> s6 [label="  80 %\\l' in text


async def test_the_latest_anomaly_of_a_session_that_has_a_diagnosis_counts(two_tasks: Path, tmp_path: Path) -> None:
    async with served(two_tasks, tmp_path) as up:
        store(up, diagnosis=diagnosis(path=[5]))
        store(up, diagnosis=diagnosis(path=[5, 7], state=7))
        store(up)
        store(up, session="job-2", diagnosis=diagnosis(path=[1], task=0))
        found = await up.client.get_workflow(session="job-1")
    assert highlighted(found) == ({4, 5, 7}, {(4, 5), (5, 7)})


async def test_an_open_session_is_marked_as_far_as_it_has_come(
    two_tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(two_tasks, tmp_path) as up:
        entries = order_of(None, session="job-7")
        await up.score(entries[:2])
        open_session = await up.client.get_workflow(session="job-7")
        monkeypatch.setattr(up.state.detectors["orders"], "workflow_path", lambda session: (1, 2))
        on_its_way = await up.client.get_workflow(session="job-7")
        monkeypatch.undo()
        with pytest.raises(NotFoundError, match=r"^session: '-- never seen --' is neither an open session nor one"):
            await up.client.get_workflow(session=NEVER)
    assert open_session.workflow.tasks
    assert highlighted(on_its_way) == ({0, 1, 2}, {(0, 1), (1, 2)})


WRONG: dict[str, tuple[dict[str, Any], grpc.StatusCode, str]] = {
    "an application that is not served": ({"application": "x"}, grpc.StatusCode.INVALID_ARGUMENT, "application"),
    "a task that is not there": ({"task": 2}, grpc.StatusCode.NOT_FOUND, "task"),
    "a share above 1": ({"min_probability": 1.5}, grpc.StatusCode.INVALID_ARGUMENT, "min_probability"),
    "a share below 0": ({"min_probability": -0.5}, grpc.StatusCode.INVALID_ARGUMENT, "min_probability"),
    "no share": ({"min_probability": float("nan")}, grpc.StatusCode.INVALID_ARGUMENT, "min_probability"),
    "a format that is none": ({"format": 77}, grpc.StatusCode.INVALID_ARGUMENT, "format"),
    "an anomaly that is not stored": ({"verdict_id": "9-9"}, grpc.StatusCode.NOT_FOUND, "verdict_id"),
    "a name that no anomaly has": ({"verdict_id": "job"}, grpc.StatusCode.INVALID_ARGUMENT, "verdict_id"),
    "an empty name": ({"verdict_id": ""}, grpc.StatusCode.INVALID_ARGUMENT, "verdict_id"),
    "a session that is not there": ({"session": NEVER}, grpc.StatusCode.NOT_FOUND, "session"),
    "an empty session": ({"session": ""}, grpc.StatusCode.NOT_FOUND, "session"),
}


async def test_every_bad_request_has_its_code_and_names_its_field(two_tasks: Path, tmp_path: Path) -> None:
    async with served(two_tasks, tmp_path) as up:
        for name, (fields, code, field) in WRONG.items():
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await up.ask("GetWorkflow", workflow_pb2.GetWorkflowRequest(**fields))
            assert caught.value.code() is code, name
            violations = details(status_in(caught.value))["BadRequest"].field_violations
            assert [violation.field for violation in violations] == [field], name


async def test_an_anomaly_without_a_place_in_this_workflow_is_said_so(two_tasks: Path, tmp_path: Path) -> None:
    async with served(two_tasks, tmp_path) as up:
        for name in (store(up), store(up, diagnosis=diagnosis(), model_version=2)):
            with pytest.raises(PreconditionError, match=r"^verdict_id: .* has no place in this workflow"):
                await up.client.get_workflow(verdict_id=name)


async def test_a_model_without_a_workflow_says_how_to_come_by_one(
    with_workflow: Callable[[Workflow], Path], tmp_path: Path
) -> None:
    nothing = replace(TWO_TASKS, tasks=())
    async with served(with_workflow(nothing), tmp_path) as up:
        with pytest.raises(PreconditionError, match=r"^application: 'orders' has no workflow: train it anew"):
            await up.client.get_workflow()


async def test_without_graphviz_the_other_languages_stay(
    two_tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    async with served(two_tasks, tmp_path / "state") as up:
        with pytest.raises(PreconditionError, match=r"^format: Graphviz is not installed here: install Graphviz, or"):
            await up.client.get_workflow(format=workflow_pb2.WORKFLOW_FORMAT_SVG)
        assert (await up.client.get_workflow(format=workflow_pb2.WORKFLOW_FORMAT_MERMAID)).text


async def test_a_picture_that_takes_long_holds_up_nobody(
    two_tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "dot"
    program.write_text(f"#!{sys.executable}\nimport time\ntime.sleep(1)\nprint('<svg/>')\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    async with served(two_tasks, tmp_path / "state") as up:
        picture = asyncio.create_task(up.client.get_workflow(format=workflow_pb2.WORKFLOW_FORMAT_SVG))
        await asyncio.sleep(0.2)
        started = time.monotonic()
        await up.score(order_of(None))
        await up.client.get_workflow()
        assert time.monotonic() - started < 0.7
        assert not picture.done()
        assert (await picture).text == "<svg/>\n"


async def test_a_picture_that_takes_too_long_is_refused(
    two_tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "dot"
    program.write_text(f"#!{sys.executable}\nimport time\ntime.sleep(60)\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(workflow_calls, "svg", partial(svg, limit_s=0.2))
    async with served(two_tasks, tmp_path / "state") as up:
        with pytest.raises(PreconditionError, match=r"^format: Graphviz needs more than"):
            await up.client.get_workflow(format=workflow_pb2.WORKFLOW_FORMAT_SVG)


async def test_a_large_workflow_is_there_within_a_second(
    with_workflow: Callable[[Workflow], Path], tmp_path: Path
) -> None:
    async with served(with_workflow(large(500)), tmp_path) as up:
        started = time.perf_counter()
        found = await up.client.get_workflow()
        took_s = time.perf_counter() - started
    assert len(found.workflow.tasks[0].states) > 450
    assert took_s < 1.0


def test_what_is_marked_of_an_anomaly() -> None:
    expected = [verdict_pb2.ExpectedStep(state=6), verdict_pb2.ExpectedStep(state=7)]
    slow = [verdict_pb2.SlowStep(state=5, elapsed_s=90, p50_s=0.5, p99_s=2)]
    usual = highlight_of(
        verdict_pb2.Verdict(
            diagnosis=diagnosis(deviation=verdict_pb2.DEVIATION_SLOW, expected=expected, slow_steps=slow)
        )
    )
    assert (usual.missing, usual.notes) == ((), {5: "took 1.5 min, usually ≤ 2 s"})
    gone = highlight_of(verdict_pb2.Verdict(diagnosis=diagnosis(expected=expected)))
    assert gone.missing == (6, 7)
    skipped = highlight_of(verdict_pb2.Verdict(diagnosis=diagnosis(expected=expected, skipped=[7])))
    assert skipped.missing == (7,)


def test_two_marks_are_one_too_many() -> None:
    with pytest.raises(InputError, match=r"^highlight: give at most one"):
        workflow_request({"session": "a", "verdict_id": "3-1"})
