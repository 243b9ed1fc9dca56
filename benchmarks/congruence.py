"""Whether the same lines get the same verdicts by every route."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from benchmarks.routes import Addresses, Line, Route
from deeplog_grpc.detection import ApplicationModel, Detector, DetectorConfig, EntryBatch
from deeplog_grpc.ingest import FixedApplications, IngestConfig, RecordIngest, RoutingConfig
from deeplog_grpc.ingest.lines import LineReader
from deeplog_grpc.receivers import ForwardConfig, OtlpHttpConfig, ReceiversConfig, attach
from deeplog_grpc.serving import Server, ServerConfig


class Row(NamedTuple):
    """An entry as it was judged."""

    body: str
    time_ns: int
    session: str
    kind: int
    key: int
    score: float


class RecordingDetector(Detector):
    """A detector that remembers what it judged, and how."""

    def __init__(self, model: ApplicationModel) -> None:
        super().__init__(model, DetectorConfig(cold_start_s=0.0))
        self.rows: list[Row] = []

    def score(self, batch: EntryBatch) -> Any:
        """Judge entries."""
        scored = super().score(batch)
        columns: tuple[Sequence[Any], ...] = (
            batch.bodies,
            batch.times_ns.tolist(),
            scored.sessions,
            scored.kinds.tolist(),
            scored.keys.tolist(),
            scored.scores.tolist(),
        )
        self.rows.extend(map(Row, *columns))
        return scored


def lines_of(texts: Sequence[str]) -> list[Line]:
    """Raw lines, all with a time stamp at their head."""
    entries = LineReader(source="").read(texts)
    return [
        Line(text=texts[number], body=body, time_ns=time_ns)
        for number, body, time_ns in zip(
            entries.numbers, entries.batch.bodies, entries.batch.times_ns.tolist(), strict=True
        )
    ]


@asynccontextmanager
async def serve(detector: Detector) -> AsyncIterator[Addresses]:
    """A server with all receivers, for a client in the same process."""
    server = Server({detector.application: detector}, ServerConfig(listen="127.0.0.1:0"), IngestConfig())
    applications = FixedApplications([detector.application])
    receivers = ReceiversConfig(
        otlp_http=OtlpHttpConfig(listen="127.0.0.1:0"), forward=ForwardConfig(listen="127.0.0.1:0")
    )
    attach(server, receivers, RecordIngest(applications, IngestConfig(), RoutingConfig()))
    port = await server.start()
    yield Addresses(
        grpc=f"127.0.0.1:{port}",
        otlp_http=f"127.0.0.1:{server.ports['otlp_http']}",
        forward=f"127.0.0.1:{server.ports['forward']}",
    )
    await server.stop()


async def judged(model: ApplicationModel, lines: Sequence[Line], route: Route) -> list[Row]:
    """Every line as it was judged after it came by a route, in the order of the judging."""
    detector = RecordingDetector(model)
    async with serve(detector) as server:
        await route(server, lines)
    return detector.rows
