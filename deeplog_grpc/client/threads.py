"""The client for threads."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, Unpack

import grpc

from deeplog_grpc.client import requests
from deeplog_grpc.client.channel import OPTIONS, TIMEOUT_S, UPDATE_TIMEOUT_S, Stub
from deeplog_grpc.client.config import ClientConfig
from deeplog_grpc.client.connecting import channel
from deeplog_grpc.client.failures import error_of_call
from deeplog_grpc.client.requests import AdaptFields, FeedbackFields, OrderFields, WorkflowFields
from deeplog_grpc.client.watching import OnBreak, Position
from deeplog_grpc.v1 import anomaly_pb2, application_pb2, feedback_pb2, log_entry_pb2, model_pb2, workflow_pb2
from deeplog_grpc.v1 import deeplog_service_pb2 as pb


class DeepLogClient:
    """A client for threads.

    Parameters
    ----------
    address : str
        ``HOST:PORT``.
    timeout_s : float
        Seconds that one call may take, its repetitions included.
    update_timeout_s : float
        The same of ``feedback``, ``adapt`` and ``rollback_model``, which wait for a new model version.
    config : ClientConfig, optional
        Certificates and token. Default: none, in plain text.

    Examples
    --------
    >>> from deeplog_grpc.v1.log_entry_pb2 import LogEntry
    >>> with DeepLogClient("127.0.0.1:50051") as client:  # doctest: +SKIP
    ...     for verdict in client.score([LogEntry(body="disk full", session="job-1")]).verdicts:
    ...         print(verdict.kind, verdict.reason)
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
        self._closed = threading.Event()
        self._channel = channel(address, config or ClientConfig(), OPTIONS)
        self._stub = Stub(self._channel)

    def score(
        self,
        entries: Iterable[log_entry_pb2.LogEntry],
        *,
        options: pb.ScoreOptions | None = None,
        flush: pb.Flush | None = None,
        batch_id: str = "",
    ) -> pb.ScoreResponse:
        """Judge a batch of entries.

        Parameters
        ----------
        entries : iterable of LogEntry
        options : ScoreOptions, optional
            How to judge and answer them.
        flush : Flush, optional
            Sessions that end after them.
        batch_id : str
            The same one again, with the same content, is counted once. Default: the client makes one, so that its own
            repetitions are.

        Raises
        ------
        InputError
            If the request is wrong as a whole; single bad entries are in the response.
        RefusedError
            If the server cannot take it now, or cannot be reached.
        """
        request = requests.score_request(entries, options, flush, batch_id)
        response: pb.ScoreResponse = self._call(self._stub.Score, request)
        return response

    def parse(self, bodies: Iterable[str], *, application: str = "") -> pb.ParseResponse:
        """Parse bodies into log keys and parameters; raises as :meth:`score`."""
        request = pb.ParseRequest(application=application, bodies=bodies)
        response: pb.ParseResponse = self._call(self._stub.Parse, request)
        return response

    def feedback(
        self, label: feedback_pb2.FeedbackLabel, **fields: Unpack[FeedbackFields]
    ) -> feedback_pb2.FeedbackResponse:
        """Say of anomalies that they were false positives, which the models learn now, or that they are confirmed.

        Parameters
        ----------
        label : FeedbackLabel
            What is said.
        **fields
            What is meant, and more: :class:`FeedbackFields`.

        Raises
        ------
        InputError
            If the request is wrong: exactly one thing has to be meant, and the server has to know it.
        RefusedError
            If the server cannot take it now, or cannot be reached.

        Examples
        --------
        >>> with DeepLogClient("127.0.0.1:50051") as client:  # doctest: +SKIP
        ...     answer = client.feedback(feedback_pb2.FEEDBACK_LABEL_FALSE_POSITIVE, verdict_id="3-128")
        ...     print(answer.message)
        """
        response: feedback_pb2.FeedbackResponse = self._call(
            self._stub.Feedback, requests.feedback_request(label, fields), self._update_timeout_s
        )
        return response

    def adapt(self, **fields: Unpack[AdaptFields]) -> feedback_pb2.FeedbackResponse:
        """Learn what was abnormal in a range of time as normal; raises as :meth:`feedback`."""
        response: feedback_pb2.AdaptResponse = self._call(
            self._stub.Adapt, requests.adapt_request(fields), self._update_timeout_s
        )
        return response.result

    def anomalies(
        self, filter: anomaly_pb2.AnomalyFilter | None = None, *, page_size: int = 0
    ) -> Iterator[anomaly_pb2.Anomaly]:
        """Stored anomalies, the newest first, page by page as they are read; raises as :meth:`feedback`."""
        for page in self._pages(self._stub.ListAnomalies, requests.anomalies_request(filter, page_size)):
            yield from page.anomalies

    def watch_anomalies(
        self,
        filter: anomaly_pb2.AnomalyFilter | None = None,
        *,
        after_verdict_id: str = "",
        on_break: OnBreak | None = None,
    ) -> Iterator[anomaly_pb2.Anomaly]:
        """Anomalies as they are stored, until the client is closed.

        A server that cannot be reached at the beginning is an error. From then on, when the connection breaks, the
        watch connects anew, after a time that grows to 10 s, and goes on behind the last anomaly. A break before the
        first one may lose some, unless ``after_verdict_id`` was given.

        Parameters
        ----------
        filter : AnomalyFilter, optional
            Which. Default: all.
        after_verdict_id : str
            The last anomaly seen before. Default: what comes from now on.
        on_break : callable, optional
            Is told why the connection broke, each time.

        Raises
        ------
        InputError
            If the filter or the identifier is wrong.
        RefusedError
            If the server cannot be reached at the beginning.
        """
        self._call(self._stub.ListAnomalies, requests.anomalies_request(filter, 1))
        position = Position(filter, after_verdict_id, on_break)
        while not self._closed.is_set():
            failure = None
            try:
                call = self._stub.WatchAnomalies(position.request())
            except ValueError:  # closed since the look above
                return
            try:
                for response in call:
                    if (anomaly := position.passed(response)) is not None:
                        yield anomaly
            except grpc.RpcError as error:
                failure = error
            finally:
                call.cancel()
            if not self._closed.is_set():
                self._closed.wait(position.delay_s(failure))

    def anomaly_groups(
        self,
        *,
        application: str = "",
        states: Sequence[anomaly_pb2.AnomalyState] = (),
        exclude_muted: bool = False,
        page_size: int = 0,
    ) -> Iterator[anomaly_pb2.AnomalyGroup]:
        """Groups of alike anomalies, those seen last first; raises as :meth:`feedback`."""
        request = requests.groups_request(application, states, exclude_muted, page_size)
        for page in self._pages(self._stub.ListAnomalyGroups, request):
            yield from page.groups

    def mute_group(self, group_id: str, *, muted_until_unix_nano: int) -> anomaly_pb2.AnomalyGroup:
        """Mute a group until a time, 0 = no longer, and return it; raises as :meth:`feedback`."""
        request = requests.mute_request(group_id, muted_until_unix_nano)
        response: anomaly_pb2.MuteAnomalyGroupResponse = self._call(self._stub.MuteAnomalyGroup, request)
        return response.group

    def model_versions(self, *, application: str = "") -> list[model_pb2.ModelVersion]:
        """Versions of an application's models, the newest first; raises as :meth:`feedback`."""
        request = model_pb2.ListModelVersionsRequest(application=application)
        response: model_pb2.ListModelVersionsResponse = self._call(self._stub.ListModelVersions, request)
        return list(response.versions)

    def rollback_model(self, version: int, **fields: Unpack[OrderFields]) -> model_pb2.ModelVersion:
        """Put the content of an earlier version into force, as the new version returned; raises as :meth:`feedback`."""
        response: model_pb2.RollbackModelResponse = self._call(
            self._stub.RollbackModel, requests.rollback_request(version, fields), self._update_timeout_s
        )
        return response.version

    def drift(self, *, application: str = "") -> model_pb2.DriftReport:
        """Whether the application's logs have moved away from training; raises as :meth:`feedback`."""
        request = model_pb2.GetDriftRequest(application=application)
        response: model_pb2.GetDriftResponse = self._call(self._stub.GetDrift, request)
        return response.report

    def get_workflow(self, **fields: Unpack[WorkflowFields]) -> workflow_pb2.GetWorkflowResponse:
        """The application's workflow, as a message or, in another format, as a text.

        Raises
        ------
        NotFoundError
            If there is no such task, session or anomaly.
        PreconditionError
            If the application has no workflow, or the server no Graphviz for a picture.
        InputError
            If the request is wrong.
        """
        response: workflow_pb2.GetWorkflowResponse = self._call(
            self._stub.GetWorkflow, requests.workflow_request(fields)
        )
        return response

    def applications(self, application: str = "") -> list[application_pb2.Application]:
        """Where applications stand, in the order of their names; empty = all.

        Raises
        ------
        InputError
            If there is no such application.
        """
        request = application_pb2.ListApplicationsRequest(application=application)
        response: application_pb2.ListApplicationsResponse = self._call(self._stub.ListApplications, request)
        return list(response.applications)

    def train_application(self, application: str = "") -> application_pb2.Application:
        """Have an application trained now; :meth:`applications` shows how it goes on.

        Raises
        ------
        PreconditionError
            If the server does not learn.
        InputError
            If there is no such application, or too little to learn from.
        """
        request = application_pb2.TrainApplicationRequest(application=application)
        response: application_pb2.TrainApplicationResponse = self._call(self._stub.TrainApplication, request)
        return response.application

    def close(self) -> None:
        """Close the connection; a watch ends."""
        self._closed.set()
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, method: Any, request: Any, timeout_s: float | None = None) -> Any:
        try:
            return method(request, timeout=timeout_s or self._timeout_s)
        except grpc.RpcError as error:
            raise error_of_call(error) from None

    def _pages(self, method: Any, request: Any) -> Iterator[Any]:
        while True:
            page = self._call(method, request)
            yield page
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token
