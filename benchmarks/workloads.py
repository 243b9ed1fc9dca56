"""Fixed small workloads, whose instructions are counted; see :mod:`benchmarks.instructions`.

As a program it prepares one, says so, and runs it when it is told to::

    python -m benchmarks.workloads NAME FOLDER

What it needs lies in the folder, written by :func:`prepare`.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeplog_grpc.detection.entries import EntryBatch
from deeplog_grpc.ingest.applications import FixedApplications
from deeplog_grpc.ingest.config import IngestConfig
from deeplog_grpc.ingest.lines import LineReader
from deeplog_grpc.ingest.routing import RoutingConfig
from deeplog_grpc.testing.simulated_log import EPOCH_S, simulate_log

if TYPE_CHECKING:  # most workloads need not import torch, which takes long where instructions are counted
    from deeplog_grpc.detection import Detector

TRAIN_SESSIONS, SESSIONS = 600, 500
FAULT_RATE = 0.01
DAY_S = 86_400.0
BATCH = 1_000
SINGLE_ENTRIES = 200
ARRIVAL_NS = 1_700_000_000_000_000_000
MODEL, WARM, MEASURED = "model", "warm.log", "measured.log"

Work = Callable[[], object]


def prepare(folder: Path) -> Path:
    """Write the logs; returns the one to train on, for whose model ``MODEL`` is to be the folder."""
    train = folder / "train.log"
    train.write_text(simulate_log(TRAIN_SESSIONS, seed=1).text())
    for number, name in enumerate((WARM, MEASURED)):
        log = simulate_log(SESSIONS, seed=2 + number, fault_rate=FAULT_RATE, start_s=EPOCH_S + (1 + number) * DAY_S)
        (folder / name).write_text(log.text())
    return train


def parse(folder: Path) -> tuple[Work, int]:
    """Parse lines of known kinds, in batches."""
    from deeplog_grpc.parsing.parser import Parser

    parser = Parser()
    for batch in _batches(folder, WARM):
        parser.parse(batch.bodies)
    return _each(parser.parse, [batch.bodies for batch in _batches(folder, MEASURED)])


def raw_lines(folder: Path) -> tuple[Work, int]:
    """Take the time stamps off raw lines."""
    reader = LineReader(source="")
    reader.read(_lines(folder, WARM))
    lines = _lines(folder, MEASURED)
    return _each(reader.read, [lines[at : at + BATCH] for at in range(0, len(lines), BATCH)])


def ingest(folder: Path) -> tuple[Work, int]:
    """Decode requests of the own contract and read their entries."""
    from deeplog_grpc.serving.requests import RequestReader

    reader = RequestReader(FixedApplications(["app"]), IngestConfig(), RoutingConfig())
    requests = [_request(batch) for batch in _batches(folder, MEASURED)]
    reader.score_job(requests[0])
    return _each(reader.score_job, requests, entries=BATCH * len(requests))


def otlp(folder: Path) -> tuple[Work, int]:
    """Decode OTLP requests and read their records."""
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    from deeplog_grpc.ingest.otlp import decode_logs
    from deeplog_grpc.ingest.record_ingest import RecordIngest

    records = RecordIngest(FixedApplications(["app"]), IngestConfig(), RoutingConfig())
    requests = []
    for batch in _batches(folder, MEASURED):
        request = ExportLogsServiceRequest()
        added = request.resource_logs.add().scope_logs.add().log_records
        for body, time_ns in zip(batch.bodies, batch.times_ns.tolist(), strict=True):
            added.add(time_unix_nano=time_ns).body.string_value = body
        requests.append(request.SerializeToString())

    def read(raw: bytes) -> object:
        return records.ingest(decode_logs(raw, {}), arrival_ns=ARRIVAL_NS)

    read(requests[0])
    return _each(read, requests, entries=BATCH * len(requests))


def detect(folder: Path) -> tuple[Work, int]:
    """Score entries in batches; one session in a hundred has a fault."""
    detector = _detector(folder)
    return _each(detector.score, list(_batches(folder, MEASURED)))


def detect_one(folder: Path) -> tuple[Work, int]:
    """Score entries one by one."""
    detector = _detector(folder)
    batch = next(_batches(folder, MEASURED))
    return _each(detector.score, [batch.slice(at, at + 1) for at in range(SINGLE_ENTRIES)])


WORKLOADS = {work.__name__: work for work in (parse, raw_lines, ingest, otlp, detect, detect_one)}


def _detector(folder: Path) -> "Detector":
    from deeplog_grpc.detection import Detector
    from deeplog_grpc.models import set_threads
    from deeplog_grpc.storage import load_bundle

    set_threads(1)
    detector = Detector(load_bundle(folder / MODEL))
    for batch in _batches(folder, WARM):
        detector.score(batch)
    return detector


def _each(do: Callable[[Any], object], items: Sequence[Any], entries: int = 0) -> tuple[Work, int]:
    def work() -> None:
        for item in items:
            do(item)

    return work, entries or sum(map(len, items))


def _lines(folder: Path, name: str) -> list[str]:
    return (folder / name).read_text().splitlines()


def _batches(folder: Path, name: str) -> Iterator[EntryBatch]:
    """Whole batches of a log's entries."""
    batch = LineReader(source="").read(_lines(folder, name)).batch
    for at in range(0, len(batch) - BATCH + 1, BATCH):
        yield batch.slice(at, at + BATCH)


def _request(batch: EntryBatch) -> bytes:
    from deeplog_grpc.v1 import deeplog_service_pb2 as pb

    request = pb.ScoreRequest()
    for body, time_ns in zip(batch.bodies, batch.times_ns.tolist(), strict=True):
        request.entries.add(body=body, time_unix_nano=time_ns)
    return request.SerializeToString()


def main() -> None:
    """Prepare, print the entries, wait for a line; run, print a line, wait for the end of input."""
    name, folder = sys.argv[1:]
    work, entries = WORKLOADS[name](Path(folder))
    print(entries, flush=True)
    sys.stdin.readline()
    work()
    print("done", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
