"""Whether the same lines get the same verdicts by every route."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple

from benchmarks.routes import Addresses, Line, Route
from deeplog_grpc.detection import ApplicationModel, Detector, DetectorConfig, EntryBatch
from deeplog_grpc.ingest.lines import LineReader


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


Serve = Callable[[Detector], AbstractAsyncContextManager[Addresses]]
"""Runs a server of a detector meanwhile."""


async def judged(model: ApplicationModel, lines: Sequence[Line], route: Route, serve: Serve) -> list[Row]:
    """Every line as it was judged after it came by a route, in the order of the judging."""
    detector = RecordingDetector(model)
    async with serve(detector) as server:
        await route(server, lines)
    return detector.rows
