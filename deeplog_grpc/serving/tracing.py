"""OpenTelemetry traces of gRPC calls: a server interceptor, and what it makes of the times that the queue knows.

A call that is traced has a span of the kind SERVER, under that of the client (W3C ``traceparent``), with children ::

    decode        from the call's arrival until the queue is offered its entries
    queue wait    until the run with its entries begins
    scoring run   the run; linked to the span of the first call of the same run
    answer        from the end of the run to the end of the call

A ``StreamScore`` call is one span with a ``queue wait`` and a ``scoring run`` for each message. Nothing of a log entry
is in a span. A call that is not traced costs a look at its metadata.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import grpc
import structlog
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Link, Span, SpanKind, StatusCode, Tracer, format_span_id, format_trace_id
from opentelemetry.trace import set_span_in_context as within
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from deeplog_grpc import __version__
from deeplog_grpc.serving.call_metrics import Answer, Request, code_of, is_unary, wrapped
from deeplog_grpc.serving.scarce_log import ScarceLog
from deeplog_grpc.serving.traces import CURRENT_TRACE, Run

if TYPE_CHECKING:  # generic in the stubs only
    from deeplog_grpc.serving.call_metrics import Continuation

_FLUSH_MS = 5_000
"""For the spans that are left when the server stops."""
_EXPORT_S = 5
_UNTRACED = ("/grpc.health.", "/grpc.reflection.", "/vector.Vector/HealthCheck")
"""Asked all the time, of no interest."""
_CARRIED = ("traceparent", "tracestate")
_ERRORS = ("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS")
"""The statuses by which a server says that the fault is its own."""

_propagator = TraceContextTextMapPropagator()
_log = structlog.get_logger("deeplog_grpc.serving")


class Tracing(grpc.aio.ServerInterceptor):
    """Traces the calls of a server.

    Parameters
    ----------
    exporter : SpanExporter
        Takes the spans, in batches, in a thread of its own.
    sample_share : float
        Share of the calls that are traced of those whose client does not say, in [0, 1].
    """

    def __init__(self, exporter: SpanExporter, *, sample_share: float) -> None:
        _quieten()
        resource = Resource.create({"service.name": "deeplog-grpc", "service.version": __version__})
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(sample_share)), resource=resource, shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("deeplog_grpc", __version__)

    async def intercept_service(
        self, continuation: "Continuation[Request, Answer]", handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[Request, Answer] | None":
        """See :class:`grpc.aio.ServerInterceptor`."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method.startswith(_UNTRACED):
            return handler
        metadata = handler_call_details.invocation_metadata or ()
        carrier = {key: value for key, value in metadata if key in _CARRIED and isinstance(value, str)}
        unary = is_unary(handler)
        return wrapped(handler, lambda _, context: _TracedCall(self._tracer, method, carrier, context, is_unary=unary))

    def close(self) -> None:
        """Export what is left, within a few seconds; blocks."""
        self._provider.force_flush(_FLUSH_MS)
        self._provider.shutdown()


class _TracedCall:
    """One call, as a context manager around its method; a :class:`~deeplog_grpc.serving.traces.Trace`."""

    def __init__(
        self, tracer: Tracer, method: str, carrier: Mapping[str, str], context: Any, *, is_unary: bool
    ) -> None:
        self._tracer, self._context, self._is_unary = tracer, context, is_unary
        _, service, name = method.split("/", 2)
        self._began_at = asyncio.get_running_loop().time()
        self._epoch_ns = time.time_ns() - round(self._began_at * 1e9)
        self._span = tracer.start_span(
            f"{service}/{name}",
            context=_propagator.extract(carrier),
            kind=SpanKind.SERVER,
            attributes={"rpc.system": "grpc", "rpc.service": service, "rpc.method": name},
            start_time=self._ns(self._began_at),
        )
        self._parent = within(self._span)
        self._answer_at: float | None = None
        self._stack = ExitStack()

    def __enter__(self) -> None:
        own = self._span.get_span_context()
        if own.is_valid:
            ids = {"trace_id": format_trace_id(own.trace_id), "span_id": format_span_id(own.span_id)}
            self._stack.enter_context(structlog.contextvars.bound_contextvars(**ids))
        if self._span.is_recording():
            token = CURRENT_TRACE.set(self)
            self._stack.callback(CURRENT_TRACE.reset, token)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._stack.close()
        ended_at = asyncio.get_running_loop().time()
        code = code_of(self._context, error)
        self._span.set_attribute("rpc.grpc.status_code", grpc.StatusCode[code].value[0])
        if code in _ERRORS:
            self._span.set_status(StatusCode.ERROR)
        if self._answer_at is not None and self._is_unary:
            self._child("answer", self._answer_at, ended_at)
        self._span.end(self._ns(ended_at))

    def scored(self, run: Run, *, accepted_at: float) -> None:
        """See :class:`~deeplog_grpc.serving.traces.Trace`."""
        if self._is_unary and self._answer_at is None:
            self._child("decode", self._began_at, accepted_at)
        self._child("queue wait", accepted_at, run.started_at)
        links = [] if run.span is None else [Link(run.span.get_span_context())]
        span = self._child(
            "scoring run", run.started_at, run.ended_at, links, {"entries": run.entries, "jobs": run.jobs}
        )
        run.span = run.span or span
        self._answer_at = run.ended_at

    def _child(
        self,
        name: str,
        start_at: float,
        end_at: float,
        links: list[Link] | None = None,
        attributes: Mapping[str, int] | None = None,
    ) -> Span:
        span = self._tracer.start_span(
            name, context=self._parent, links=links, attributes=attributes, start_time=self._ns(start_at)
        )
        span.end(self._ns(end_at))
        return span

    def _ns(self, at: float) -> int:
        """Event loop time in seconds -> nanoseconds since 1970 UTC."""
        return self._epoch_ns + round(at * 1e9)


def otlp_exporter(endpoint: str, headers: Mapping[str, str]) -> SpanExporter:
    """What sends spans by OTLP over gRPC.

    Parameters
    ----------
    endpoint : str
        A URL.
    headers : mapping of str to str
        Sent along.
    """
    return OTLPSpanExporter(
        endpoint=endpoint,
        insecure=endpoint.startswith("http://"),
        headers=tuple(headers.items()),
        timeout=_EXPORT_S,
    )


class _Scarce(logging.Handler):
    """Says once in a while that OpenTelemetry has something to complain about; its texts may hold what it was given."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._complaints = ScarceLog(_log)

    def emit(self, record: logging.LogRecord) -> None:
        self._complaints.warning("traces are not exported as they should be", where=record.name)


def _quieten() -> None:
    logger = logging.getLogger("opentelemetry")
    logger.handlers = [_Scarce()]
    logger.propagate = False
