"""Both clients against a server with prepared answers."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc
import pytest

from deeplog_grpc.client import AsyncDeepLogClient, DeepLogClient
from deeplog_grpc.client.watching import MAX_DELAY_S, Position
from deeplog_grpc.errors import DeepLogError, DrainingError, InputError, RefusedError
from deeplog_grpc.v1 import anomaly_pb2, feedback_pb2, model_pb2, verdict_pb2, workflow_pb2
from tests.integration.fake_servicer import BOUND_S, FakeService, Quiet, anomaly, pages, until, watched

FALSE_POSITIVE = feedback_pb2.FEEDBACK_LABEL_FALSE_POSITIVE
BUSY = DrainingError("the server is about to stop", retry_after_s=0.001)


def by_threads(address: str, do: Callable[[Any], Any]) -> Any:
    with DeepLogClient(address) as client:
        answer = do(client)
        return list(answer) if isinstance(answer, Iterator) else answer


def by_asyncio(address: str, do: Callable[[Any], Any]) -> Any:
    async def run() -> Any:
        async with AsyncDeepLogClient(address) as client:
            answer = do(client)
            if isinstance(answer, AsyncIterator):
                return [item async for item in answer]
            return await answer

    return asyncio.run(run())


@pytest.fixture(params=[by_threads, by_asyncio])
def ask(request: pytest.FixtureRequest, fake: FakeService) -> Any:
    """Call a method of either client and return its whole answer."""
    return lambda do: request.param(fake.address, do)


def test_feedback_says_what_is_meant_and_names_itself(ask: Any, fake: FakeService) -> None:
    fake.answer("Feedback", feedback_pb2.FeedbackResponse(model_version=4))
    answer = ask(lambda client: client.feedback(FALSE_POSITIVE, verdict_id="3-128", session="", note="a deployment"))
    assert answer.model_version == 4
    (request,) = fake.asked("Feedback")
    assert (request.WhichOneof("target"), request.verdict_id) == ("verdict_id", "3-128")
    assert (request.label, request.note, len(request.feedback_id)) == (FALSE_POSITIVE, "a deployment", 36)


def test_a_step_and_values_are_sent_as_they_are(ask: Any, fake: FakeService) -> None:
    step = feedback_pb2.LabelledStep(window=[-1, 4], key=-1)
    vector = verdict_pb2.ValueVector(key=4, numbers=[verdict_pb2.ValueNumber(slot=0, number=12.5)])
    ask(lambda client: client.feedback(FALSE_POSITIVE, step=step))
    ask(lambda client: client.feedback(FALSE_POSITIVE, vector=vector))
    assert [request.WhichOneof("target") for request in fake.asked("Feedback")] == ["step", "vector"]
    assert (fake.asked("Feedback")[0].step, fake.asked("Feedback")[1].vector) == (step, vector)


@pytest.mark.parametrize("fields", [{}, {"verdict_id": "3-1", "session": "s"}, {"group_id": ""}])
def test_feedback_on_nothing_or_on_two_things_is_not_sent(ask: Any, fake: FakeService, fields: dict[str, str]) -> None:
    with pytest.raises(InputError, match="exactly one of"):
        ask(lambda client: client.feedback(FALSE_POSITIVE, **fields))
    assert fake.requests == []


@pytest.mark.parametrize(
    ("method", "do"),
    [
        ("Feedback", lambda client: client.feedback(FALSE_POSITIVE, group_id="g-7")),
        ("Adapt", lambda client: client.adapt(from_unix_nano=5)),
        ("RollbackModel", lambda client: client.rollback_model(3, actor="ann")),
    ],
)
def test_what_is_sent_again_has_the_same_name_and_another_order_another(
    ask: Any, fake: FakeService, method: str, do: Any
) -> None:
    fake.answer(method, BUSY, BUSY, lambda request: _empty(method))
    ask(do)
    names = [request.feedback_id for request in fake.asked(method)]
    assert len(names) == 3
    assert len(set(names)) == 1
    ask(do)
    assert fake.asked(method)[-1].feedback_id != names[0]
    ask(lambda client: client.rollback_model(3, feedback_id="mine"))
    assert fake.asked("RollbackModel")[-1].feedback_id == "mine"


def _empty(method: str) -> Any:
    return getattr(model_pb2 if method == "RollbackModel" else feedback_pb2, f"{method}Response")()


def test_the_other_answers_are_unwrapped(ask: Any, fake: FakeService) -> None:
    result = feedback_pb2.FeedbackResponse(explained=37)
    version = model_pb2.ModelVersion(version=5)
    group = anomaly_pb2.AnomalyGroup(group_id="g-7", muted_until_unix_nano=9)
    report = model_pb2.DriftReport(is_drifting=True)
    fake.answer("Adapt", feedback_pb2.AdaptResponse(result=result))
    fake.answer("RollbackModel", model_pb2.RollbackModelResponse(version=version))
    fake.answer("ListModelVersions", model_pb2.ListModelVersionsResponse(versions=[version]))
    fake.answer("MuteAnomalyGroup", anomaly_pb2.MuteAnomalyGroupResponse(group=group))
    fake.answer("GetDrift", model_pb2.GetDriftResponse(report=report))
    assert ask(lambda client: client.adapt(from_unix_nano=5, to_unix_nano=7)) == result
    assert ask(lambda client: client.rollback_model(4)) == version
    assert ask(lambda client: client.model_versions(application="orders")) == [version]
    assert ask(lambda client: client.mute_group("g-7", muted_until_unix_nano=9)) == group
    assert ask(lambda client: client.drift(application="orders")) == report
    drawn = workflow_pb2.GetWorkflowResponse(application="orders", text="flowchart TD")
    fake.answer("GetWorkflow", drawn)
    form = workflow_pb2.WORKFLOW_FORMAT_MERMAID
    assert ask(lambda client: client.get_workflow(task=0, format=form, session="", verdict_id="3-128")) == drawn
    asked = dict(fake.requests)
    assert (asked["Adapt"].from_unix_nano, asked["Adapt"].to_unix_nano) == (5, 7)
    assert asked["RollbackModel"].version == 4
    assert {asked[name].application for name in ("ListModelVersions", "GetDrift")} == {"orders"}
    assert asked["GetWorkflow"] == workflow_pb2.GetWorkflowRequest(task=0, format=form, verdict_id="3-128")
    assert asked["MuteAnomalyGroup"] == anomaly_pb2.MuteAnomalyGroupRequest(group_id="g-7", muted_until_unix_nano=9)


def test_all_pages_are_read(ask: Any, fake: FakeService) -> None:
    rows = [anomaly(f"3-{number}") for number in range(25)]
    groups = [anomaly_pb2.AnomalyGroup(group_id=f"g-{number}") for number in range(5)]
    fake.answer("ListAnomalies", pages(anomaly_pb2.ListAnomaliesResponse, "anomalies", rows, 10))
    fake.answer("ListAnomalyGroups", pages(anomaly_pb2.ListAnomalyGroupsResponse, "groups", groups, 2))
    wanted = anomaly_pb2.AnomalyFilter(session="job-1")
    assert ask(lambda client: client.anomalies(wanted)) == rows
    assert [request.page_token for request in fake.asked("ListAnomalies")] == ["", "10", "20"]
    assert all(request.filter == wanted for request in fake.asked("ListAnomalies"))
    states = [anomaly_pb2.ANOMALY_STATE_OPEN]
    assert ask(lambda client: client.anomaly_groups(states=states, exclude_muted=True, page_size=2)) == groups
    assert all(request.exclude_muted for request in fake.asked("ListAnomalyGroups"))


def first(watch: Any, count: int) -> Any:
    """The first anomalies of a watch, by either client; the watch is ended."""
    if isinstance(watch, Iterator):
        return iter([next(watch).verdict.verdict_id for _ in range(count)])

    async def read() -> list[str]:
        return [(await anext(watch)).verdict.verdict_id for _ in range(count)]

    return read()


def test_a_watch_goes_on_behind_its_last_anomaly(ask: Any, fake: FakeService) -> None:
    breaks: list[DeepLogError] = []
    fake.answer("WatchAnomalies", [*watched("3-1", "3-2"), BUSY], [], [*watched("3-3"), Quiet()])
    wanted = anomaly_pb2.AnomalyFilter(application="orders")
    found = ask(lambda client: first(client.watch_anomalies(wanted, after_verdict_id="3-0", on_break=breaks.append), 3))
    assert found == ["3-1", "3-2", "3-3"]
    asked = fake.asked("WatchAnomalies")
    assert [request.after_verdict_id for request in asked] == ["3-0", "3-2", "3-2"]
    assert all(request.filter == wanted for request in asked)
    assert [str(error) for error in breaks] == ["the server is about to stop", "the server has ended the watch"]


def test_a_watch_that_is_wrong_is_not_repeated(ask: Any, fake: FakeService) -> None:
    fake.answer("WatchAnomalies", [InputError("there is no anomaly 3-9", field="after_verdict_id")])
    with pytest.raises(InputError, match="there is no anomaly 3-9"):
        ask(lambda client: first(client.watch_anomalies(after_verdict_id="3-9"), 1))
    assert len(fake.asked("WatchAnomalies")) == 1


def test_a_watch_of_a_server_that_is_not_there_is_an_error() -> None:
    with pytest.raises(RefusedError, match="cannot reach the server"):
        by_threads("127.0.0.1:1", lambda client: client.watch_anomalies())


@pytest.mark.parametrize("answers", [[Quiet()], [BUSY]])
def test_closing_the_client_ends_a_watch_of_another_thread(fake: FakeService, answers: list[Any]) -> None:
    fake.answer("WatchAnomalies", [*watched("3-1"), *answers])
    client, over = DeepLogClient(fake.address), threading.Event()
    seen: list[anomaly_pb2.Anomaly] = []

    def watch() -> None:
        seen.extend(client.watch_anomalies())
        over.set()

    thread = threading.Thread(target=watch)
    thread.start()
    until(lambda: bool(fake.asked("WatchAnomalies")))
    assert not over.wait(0.05)
    client.close()
    assert over.wait(BOUND_S)
    thread.join(BOUND_S)
    assert len(seen) <= 1


async def test_closing_the_client_ends_a_watch_of_another_task(fake: FakeService) -> None:
    fake.answer("WatchAnomalies", [*watched("3-1"), Quiet()])
    client = AsyncDeepLogClient(fake.address)
    seen = asyncio.Event()

    async def watch() -> int:
        count = 0
        async for _ in client.watch_anomalies():
            count += 1
            seen.set()
        return count

    task = asyncio.create_task(watch())
    await asyncio.wait_for(seen.wait(), BOUND_S)
    await client.close()
    assert await asyncio.wait_for(task, BOUND_S) == 1


async def test_a_cancelled_task_that_watches_is_cancelled(fake: FakeService) -> None:
    fake.answer("WatchAnomalies", [Quiet()])
    async with AsyncDeepLogClient(fake.address) as client:
        watch = client.watch_anomalies()

        async def read() -> None:
            await anext(watch)

        task = asyncio.create_task(read())
        await asyncio.to_thread(until, lambda: bool(fake.asked("WatchAnomalies")))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, BOUND_S)


class Broken(grpc.RpcError):
    """A failure of the transport."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE

    def details(self) -> str:
        return "connection refused"

    def trailing_metadata(self) -> tuple[Any, ...]:
        return ()


def test_the_wait_of_a_watch_grows_to_its_bound_and_starts_anew_with_an_anomaly() -> None:
    position = Position(None, "", None)
    waits = [position.delay_s(Broken()) for _ in range(2_000)]
    assert waits[:5] == [1.0, 2.0, 4.0, 8.0, MAX_DELAY_S]
    assert set(waits[4:]) == {MAX_DELAY_S}
    position.passed(watched("3-1")[0])
    assert position.delay_s(None) == 1.0
    assert position.request().after_verdict_id == "3-1"
