"""The client for asyncio."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from types import TracebackType
from typing import Any, Self, Unpack

import grpc

from deeplog_grpc.client import requests
from deeplog_grpc.client.channel import OPTIONS, TIMEOUT_S, UPDATE_TIMEOUT_S, Stub
from deeplog_grpc.client.config import ClientConfig
from deeplog_grpc.client.connecting import aio_channel
from deeplog_grpc.client.failures import error_of_call, is_broken_write
from deeplog_grpc.client.requests import AdaptFields, FeedbackFields, OrderFields, WorkflowFields
from deeplog_grpc.client.streaming import StreamItem, put_before, send
from deeplog_grpc.client.watching import OnBreak, Position
from deeplog_grpc.v1 import anomaly_pb2, application_pb2, feedback_pb2, log_entry_pb2, model_pb2, workflow_pb2
from deeplog_grpc.v1 import deeplog_service_pb2 as pb

_OPENING_TRIES = 5
"""A server may refuse a stream before its first message is written, and gRPC forgets why then: it is asked again."""


class AsyncDeepLogClient:
    """A client for asyncio; make it in a running event loop.

    Parameters
    ----------
    address : str
        ``HOST:PORT``.
    timeout_s : float
        Seconds that one unary call may take, its repetitions included. Streams have no limit.
    update_timeout_s : float
        The same of ``feedback``, ``adapt`` and ``rollback_model``, which wait for a new model version.
    config : ClientConfig, optional
        Certificates and token. Default: none, in plain text.
    """

    def __init__(
        self,
        address: str,
        *,
        timeout_s: float = TIMEOUT_S,
        update_timeout_s: float = UPDATE_TIMEOUT_S,
        config: ClientConfig | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._update_timeout_s = update_timeout_s
        self._closed = asyncio.Event()
        self._channel = aio_channel(address, config or ClientConfig(), OPTIONS)
        self._stub = Stub(self._channel)

    async def score(
        self,
        entries: Iterable[log_entry_pb2.LogEntry],
        *,
        options: pb.ScoreOptions | None = None,
        flush: pb.Flush | None = None,
        batch_id: str = "",
    ) -> pb.ScoreResponse:
        """Judge a batch of entries; as :meth:`DeepLogClient.score`."""
        request = requests.score_request(entries, options, flush, batch_id)
        response: pb.ScoreResponse = await self._call(self._stub.Score, request)
        return response

    async def parse(self, bodies: Iterable[str], *, application: str = "") -> pb.ParseResponse:
        """Parse bodies into log keys and parameters; raises as :meth:`DeepLogClient.score`."""
        request = pb.ParseRequest(application=application, bodies=bodies)
        response: pb.ParseResponse = await self._call(self._stub.Parse, request)
        return response

    async def stream(
        self,
        batches: AsyncIterator[StreamItem],
        *,
        options: pb.ScoreOptions | None = None,
        window: int = 8,
        client_id: str = "",
        first_sequence: int = 0,
    ) -> AsyncIterator[pb.BatchResult]:
        """Send batches as they come and yield one result for each, in their order.

        A result's ``sequence`` is the number of its batch, from ``first_sequence``. A batch that was refused has a
        ``status`` with a code other than 0 (:func:`error_of` makes it an exception); the stream goes on. Late ends come
        with the next good result; those after the last one are left out. :meth:`responses` gives them at once.

        Parameters and errors are those of :meth:`responses`.
        """
        late = pb.ScoreResponse()
        given: dict[str, Any] = {
            "options": options,
            "window": window,
            "client_id": client_id,
            "first_sequence": first_sequence,
        }
        async for message in self.responses(batches, **given):
            if message.WhichOneof("message") == "late":
                put_before(late, message.late)
                continue
            result = message.result
            if late.session_end_count and not result.status.code:
                put_before(result.response, late)
                late = pb.ScoreResponse()
            yield result

    async def responses(
        self,
        batches: AsyncIterator[StreamItem],
        *,
        options: pb.ScoreOptions | None = None,
        window: int = 8,
        client_id: str = "",
        first_sequence: int = 0,
    ) -> AsyncIterator[pb.StreamScoreResponse]:
        """Send batches as they come and yield what the server sends, as it comes.

        That is a ``result`` for each batch, as :meth:`stream` says, and in between ``late`` ends of sessions, as soon
        as their time-out has passed.

        Parameters
        ----------
        batches : async iterator of StreamItem
            Read no faster than the server answers.
        options : ScoreOptions, optional
            How to judge and answer all of them.
        window : int
            Batches without an answer at most, > 0; the server's own limit counts too.
        client_id : str
            The caller's name for itself. A batch that is sent again under the same name and sequence is counted once.
            Default: every stream stands for itself.
        first_sequence : int
            Sequence of the first batch, >= 0. To go on after a break: that of the first batch without a result.

        Raises
        ------
        InputError
            If the options are wrong.
        RefusedError
            If the server stops or cannot be reached. Batches without a result have to be sent again.
        """
        call = await self._opened(pb.StreamConfig(options=options, client_id=client_id))
        sender: asyncio.Task[None] | None = None
        try:
            first = await call.read()
            slots = asyncio.Semaphore(min(window, first.ready.max_outstanding_batches))
            sender = asyncio.create_task(send(call, batches, slots, first_sequence))
            while (response := await call.read()) is not grpc.aio.EOF:
                if response.WhichOneof("message") == "result":
                    slots.release()
                yield response
            await sender
        except grpc.RpcError as error:
            raise error_of_call(error) from None
        except asyncio.CancelledError:
            if sender is not None and sender.done() and not sender.cancelled():
                await sender  # it cancelled the call because `batches` raised: that is the error
            raise
        finally:
            if sender is not None:
                sender.cancel()
            call.cancel()

    async def feedback(
        self, label: feedback_pb2.FeedbackLabel, **fields: Unpack[FeedbackFields]
    ) -> feedback_pb2.FeedbackResponse:
        """Say what anomalies were; as :meth:`DeepLogClient.feedback`."""
        response: feedback_pb2.FeedbackResponse = await self._call(
            self._stub.Feedback, requests.feedback_request(label, fields), self._update_timeout_s
        )
        return response

    async def adapt(self, **fields: Unpack[AdaptFields]) -> feedback_pb2.FeedbackResponse:
        """Learn what was abnormal in a range of time as normal; as :meth:`DeepLogClient.adapt`."""
        response: feedback_pb2.AdaptResponse = await self._call(
            self._stub.Adapt, requests.adapt_request(fields), self._update_timeout_s
        )
        return response.result

    async def anomalies(
        self, filter: anomaly_pb2.AnomalyFilter | None = None, *, page_size: int = 0
    ) -> AsyncIterator[anomaly_pb2.Anomaly]:
        """Stored anomalies, the newest first; as :meth:`DeepLogClient.anomalies`."""
        async for page in self._pages(self._stub.ListAnomalies, requests.anomalies_request(filter, page_size)):
            for anomaly in page.anomalies:
                yield anomaly

    async def watch_anomalies(
        self,
        filter: anomaly_pb2.AnomalyFilter | None = None,
        *,
        after_verdict_id: str = "",
        on_break: OnBreak | None = None,
    ) -> AsyncIterator[anomaly_pb2.Anomaly]:
        """Anomalies as they are stored, until the client is closed; as :meth:`DeepLogClient.watch_anomalies`."""
        await self._call(self._stub.ListAnomalies, requests.anomalies_request(filter, 1))
        position = Position(filter, after_verdict_id, on_break)
        while not self._closed.is_set():
            failure = None
            call = self._stub.WatchAnomalies(position.request())
            try:
                async for response in call:
                    if (anomaly := position.passed(response)) is not None:
                        yield anomaly
            except grpc.RpcError as error:
                failure = error
            except asyncio.CancelledError:
                if self._closed.is_set() and not _is_cancelled():
                    return  # closing the channel cancels its calls
                raise
            finally:
                call.cancel()
            if not self._closed.is_set():
                delay_s = position.delay_s(failure)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._closed.wait(), delay_s)

    async def anomaly_groups(
        self,
        *,
        application: str = "",
        states: Sequence[anomaly_pb2.AnomalyState] = (),
        exclude_muted: bool = False,
        page_size: int = 0,
    ) -> AsyncIterator[anomaly_pb2.AnomalyGroup]:
        """Groups of alike anomalies, those seen last first; as :meth:`DeepLogClient.anomaly_groups`."""
        request = requests.groups_request(application, states, exclude_muted, page_size)
        async for page in self._pages(self._stub.ListAnomalyGroups, request):
            for group in page.groups:
                yield group

    async def mute_group(self, group_id: str, *, muted_until_unix_nano: int) -> anomaly_pb2.AnomalyGroup:
        """Mute a group until a time, 0 = no longer; as :meth:`DeepLogClient.mute_group`."""
        request = requests.mute_request(group_id, muted_until_unix_nano)
        response: anomaly_pb2.MuteAnomalyGroupResponse = await self._call(self._stub.MuteAnomalyGroup, request)
        return response.group

    async def model_versions(self, *, application: str = "") -> list[model_pb2.ModelVersion]:
        """Versions of an application's models, the newest first; as :meth:`DeepLogClient.model_versions`."""
        request = model_pb2.ListModelVersionsRequest(application=application)
        response: model_pb2.ListModelVersionsResponse = await self._call(self._stub.ListModelVersions, request)
        return list(response.versions)

    async def rollback_model(self, version: int, **fields: Unpack[OrderFields]) -> model_pb2.ModelVersion:
        """Put the content of an earlier version into force; as :meth:`DeepLogClient.rollback_model`."""
        response: model_pb2.RollbackModelResponse = await self._call(
            self._stub.RollbackModel, requests.rollback_request(version, fields), self._update_timeout_s
        )
        return response.version

    async def drift(self, *, application: str = "") -> model_pb2.DriftReport:
        """Whether the application's logs have moved away from training; as :meth:`DeepLogClient.drift`."""
        request = model_pb2.GetDriftRequest(application=application)
        response: model_pb2.GetDriftResponse = await self._call(self._stub.GetDrift, request)
        return response.report

    async def get_workflow(self, **fields: Unpack[WorkflowFields]) -> workflow_pb2.GetWorkflowResponse:
        """The application's workflow, as a message or as a text; as :meth:`DeepLogClient.get_workflow`."""
        response: workflow_pb2.GetWorkflowResponse = await self._call(
            self._stub.GetWorkflow, requests.workflow_request(fields)
        )
        return response

    async def applications(self, application: str = "") -> list[application_pb2.Application]:
        """Where applications stand; as :meth:`DeepLogClient.applications`."""
        request = application_pb2.ListApplicationsRequest(application=application)
        response: application_pb2.ListApplicationsResponse = await self._call(self._stub.ListApplications, request)
        return list(response.applications)

    async def train_application(self, application: str = "") -> application_pb2.Application:
        """Have an application trained now; as :meth:`DeepLogClient.train_application`."""
        request = application_pb2.TrainApplicationRequest(application=application)
        response: application_pb2.TrainApplicationResponse = await self._call(self._stub.TrainApplication, request)
        return response.application

    async def close(self) -> None:
        """Close the connection; a watch ends."""
        self._closed.set()
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _call(self, method: Any, request: Any, timeout_s: float | None = None) -> Any:
        try:
            return await method(request, timeout=timeout_s or self._timeout_s)
        except grpc.RpcError as error:
            raise error_of_call(error) from None

    async def _opened(self, config: pb.StreamConfig) -> Any:
        """A stream of entries, with its configuration sent."""
        for tries_left in reversed(range(_OPENING_TRIES)):
            call = self._stub.StreamScore()
            try:
                await call.write(pb.StreamScoreRequest(config=config))
                break
            except grpc.RpcError as error:
                if not (tries_left and is_broken_write(error)):
                    raise error_of_call(error) from None
        return call

    async def _pages(self, method: Any, request: Any) -> AsyncIterator[Any]:
        while True:
            page = await self._call(method, request)
            yield page
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token


def _is_cancelled() -> bool:
    """Whether somebody wants the running task to end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
