"""A real gRPC server with prepared answers, for what stands on the client's side: it records what it is asked."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

from deeplog_grpc.errors import DeepLogError
from deeplog_grpc.serving.status import DETAILS_KEY, PUSHBACK_KEY, status_of
from deeplog_grpc.v1 import (
    anomaly_pb2,
    application_pb2,
    deeplog_service_pb2,
    feedback_pb2,
    model_pb2,
    verdict_pb2,
    workflow_pb2,
)

SERVICE = "deeplog_grpc.v1.DeepLogService"
BOUND_S = 20.0
"""No wait of a test takes longer; a sound run needs milliseconds."""
TIME_NS = 1_714_557_600_000_000_000
"""2024-05-01T10:00:00Z"""
_MODULES = (deeplog_service_pb2, feedback_pb2, anomaly_pb2, application_pb2, model_pb2, workflow_pb2)
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class Quiet:
    """Ends a prepared watch: nothing more comes, and the call stays open."""


Answer = Any
"""A message; a list of messages of a stream; an error; or what makes one of them from the request."""


@dataclass(slots=True, kw_only=True)
class FakeService:
    """What a fake server is asked, and what it answers: the answers of a method in turn, the last one for good."""

    address: str = ""
    requests: list[tuple[str, Any]] = field(default_factory=list)
    answers: dict[str, list[Answer]] = field(default_factory=lambda: defaultdict(list))
    stopping: threading.Event = field(default_factory=threading.Event)

    def answer(self, method: str, *answers: Answer) -> None:
        """Prepare the answers of a method."""
        self.answers[method] = list(answers)

    def asked(self, method: str) -> list[Any]:
        """The requests of a method so far."""
        return [request for name, request in self.requests if name == method]

    def unary(self, method: str, request: Any, context: Any) -> Any:
        answer = self._next(method, request)
        if isinstance(answer, DeepLogError):
            _abort(context, answer)
        return answer

    def stream(self, method: str, request: Any, context: Any) -> Iterator[Any]:
        for answer in self._next(method, request):
            if isinstance(answer, DeepLogError):
                _abort(context, answer)
            if isinstance(answer, Quiet):
                over = threading.Event()
                context.add_callback(over.set)
                while not over.wait(0.01) and not self.stopping.is_set():
                    pass
                return
            yield answer

    def _next(self, method: str, request: Any) -> Any:
        self.requests.append((method, request))
        prepared = self.answers[method]
        if not prepared:
            return _types(method)[1]()
        answer = prepared.pop(0) if len(prepared) > 1 else prepared[0]
        return answer(request) if callable(answer) else answer


@contextmanager
def fake_service() -> Iterator[FakeService]:
    """A server on a free port."""
    service = FakeService()
    server = grpc.server(ThreadPoolExecutor(8))
    methods = deeplog_service_pb2.DESCRIPTOR.services_by_name["DeepLogService"].methods
    handlers = {method.name: _handler(service, method.name) for method in methods if not method.client_streaming}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    service.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield service
    finally:
        service.stopping.set()
        server.stop(None).wait(BOUND_S)


def _handler(service: FakeService, name: str) -> Any:
    request, response = _types(name)
    forms: dict[str, Any] = {
        "request_deserializer": request.FromString,
        "response_serializer": response.SerializeToString,
    }
    if name == "WatchAnomalies":
        return grpc.unary_stream_rpc_method_handler(lambda r, c: service.stream(name, r, c), **forms)
    return grpc.unary_unary_rpc_method_handler(lambda r, c: service.unary(name, r, c), **forms)


def _types(method: str) -> tuple[Any, Any]:
    """Classes of a method's request and response."""
    named = {name: getattr(module, name) for module in _MODULES for name in module.DESCRIPTOR.message_types_by_name}
    return named[f"{method}Request"], named[f"{method}Response"]


def _abort(context: Any, error: DeepLogError) -> None:
    """End a call as the server does, but ask for a repetition at once."""
    status = status_of(error)
    metadata = [(DETAILS_KEY, status.SerializeToString()), (PUSHBACK_KEY, "1")]
    context.set_trailing_metadata(metadata[: 2 if status.code == grpc.StatusCode.UNAVAILABLE.value[0] else 1])
    context.abort(_CODES[status.code], status.message)


def watched(*verdict_ids: str) -> list[Any]:
    """What a watch sends of these anomalies."""
    return [anomaly_pb2.WatchAnomaliesResponse(anomaly=anomaly(verdict_id)) for verdict_id in verdict_ids]


def anomaly(verdict_id: str = "3-128", **fields: Any) -> anomaly_pb2.Anomaly:
    """A stored anomaly: an unseen log key."""
    verdict = verdict_pb2.Verdict(
        verdict_id=verdict_id,
        kind=verdict_pb2.KIND_UNSEEN_KEY,
        key=12,
        template="disk <*> is full",
        parameters=["sda"],
        score=1.0,
        candidates=[verdict_pb2.Candidate(key=4, template="disk <*> mounted", probability=0.75)],
        window=[-1, 4, 9],
        session="job-1",
        reason="this log key was not seen in training",
        model_version=3,
        application="orders",
        time_unix_nano=TIME_NS,
    )
    given: dict[str, Any] = {
        "group_id": "g-7",
        "state": anomaly_pb2.ANOMALY_STATE_OPEN,
        "body": "disk sda is full",
        "stored_unix_nano": TIME_NS + 1_000_000,
        **fields,
    }
    return anomaly_pb2.Anomaly(verdict=verdict, **given)


def pages(response: Any, field_name: str, rows: Sequence[Any], size: int) -> Callable[[Any], Any]:
    """Answers a question page by page; a page's token is the number of its first row."""

    def page(request: Any) -> Any:
        first = int(request.page_token or 0)
        last = first + min(size, request.page_size or size)
        token = str(last) if last < len(rows) else ""
        return response(**{field_name: rows[first:last], "next_page_token": token})

    return page


def until(condition: Callable[[], bool]) -> None:
    """Wait, within the bound, for something that happens elsewhere."""
    deadline = time.monotonic() + BOUND_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)
