"""``deeplog-grpc score``: judge log files, in this process or by a server."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.table import Table
from rich.text import Text

from deeplog_grpc.cli.console import MESSAGES, ConfigOption, JsonOption, SetOption, print_json, settings_of
from deeplog_grpc.cli.remote import client_config
from deeplog_grpc.cli.rows import AnomalyRow, Places, print_head, row_of, row_of_message
from deeplog_grpc.cli.train import reference_ns
from deeplog_grpc.client import AsyncDeepLogClient, StreamItem, error_of
from deeplog_grpc.detection import Detector, EntryBatch
from deeplog_grpc.errors import InputError
from deeplog_grpc.ingest.files import expand, read_chunks
from deeplog_grpc.ingest.lines import LineReader
from deeplog_grpc.models import set_threads
from deeplog_grpc.settings import Settings
from deeplog_grpc.storage import load_bundle
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from deeplog_grpc.v1 import log_entry_pb2, verdict_pb2

BATCH_ENTRIES = 1_000
"""Entries in a message: enough that the cost of a message does not count."""


@dataclass(slots=True, kw_only=True)
class Summary:
    """What was judged."""

    entries: int = 0
    anomalies: dict[str, int] = field(default_factory=dict)
    """Kind -> count."""
    sessions: set[str] = field(default_factory=set)
    """Sessions with an anomaly."""
    errors: int = 0
    """Entries that the server refused."""
    seconds: float = 0.0
    new_keys: list[str] = field(default_factory=list)
    """Templates of new log keys that were judged as known ones (`key_model.semantic`); judged in this process only."""

    def add(self, row: AnomalyRow) -> None:
        """Count an anomaly."""
        self.anomalies[row.kind] = self.anomalies.get(row.kind, 0) + 1
        self.sessions.add(row.session)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileBatch:
    """Entries of a file with their places in it."""

    batch: EntryBatch
    applications: tuple[str, ...]
    places: Places


def score(
    files: Annotated[list[str], typer.Argument(help="Log files, quoted globs, .gz, or - for standard input.")],
    server: Annotated[str | None, typer.Option(help="HOST:PORT of a server to stream to.")] = None,
    model: Annotated[Path | None, typer.Option(help="Model bundle, to judge in this process.")] = None,
    application: Annotated[str, typer.Option(help="Application of entries that name none.")] = "",
    flush: Annotated[
        bool, typer.Option(help="After the last line all open sessions have ended, and their ends are judged.")
    ] = True,
    batch_entries: Annotated[int, typer.Option(min=1, max=10_000, help="Entries in a message.")] = BATCH_ENTRIES,
    config: ConfigOption = None,
    assignments: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Judge log lines and print what is abnormal.

    Give either --server or --model. With --json each anomaly is an object on a line of its own.

    **Example:** `deeplog-grpc score app.log --server 127.0.0.1:50051 --json | jq .reason`
    """
    if (server is None) == (model is None):
        raise InputError("give either a running server or a model bundle", field="--server, --model")
    settings = settings_of(config, assignments)
    batches = _batches(expand(files), batch_entries)
    summary = Summary()
    started = time.perf_counter()
    if not json:
        print_head()
    if model is not None:
        for row in _in_process(model, settings, batches, application, summary, flush=flush):
            _show(row, summary, json=json)
    else:
        asyncio.run(_show_served(str(server), application, batches, summary, flush=flush, json=json))
    summary.seconds = time.perf_counter() - started
    if not json:
        MESSAGES.print(summary_table(summary))


def summary_table(summary: Summary) -> Table:
    """What was judged, for people."""
    table = Table(show_header=False, title="summary", title_justify="left")
    table.add_row("entries", f"{summary.entries:,}")
    for kind, count in sorted(summary.anomalies.items()):
        table.add_row(f"anomalies: {kind}", f"{count:,}")
    table.add_row("sessions with an anomaly", f"{len(summary.sessions):,}")
    if summary.errors:
        table.add_row("entries refused", f"{summary.errors:,}")
    for template in summary.new_keys:
        table.add_row("new, taken for a known one", Text(template))
    table.add_row("entries/s", f"{summary.entries / max(summary.seconds, 1e-9):,.0f}")
    return table


async def served_rows(
    address: str, options: pb.ScoreOptions, batches: Iterator[FileBatch], summary: Summary, *, flush: bool
) -> AsyncIterator[AnomalyRow]:
    """Stream batches to a server and yield its anomalies.

    Raises
    ------
    InputError, RefusedError
        As :meth:`AsyncDeepLogClient.stream`; also if the server refuses a whole batch.
    """
    sent: list[Places] = []
    named: set[str] = set()

    async def items() -> AsyncIterator[StreamItem]:
        for part in batches:
            sent.append(part.places)
            named.update(part.applications)
            summary.entries += len(part.batch)
            yield messages(part)
        for name in sorted(named) if flush else ():
            sent.append(sent[-1].last())
            yield pb.Flush(application=name or options.application)

    async with AsyncDeepLogClient(address, config=client_config()) as client:
        async for message in client.responses(items(), options=options):
            if message.WhichOneof("message") == "late":
                for end in message.late.session_ends:
                    yield row_of_message(end, _late_place(end, sent[-1]))
                continue
            result = message.result
            if result.status.code:
                raise error_of(result.status)
            response, places, ends = result.response, sent[result.sequence], []
            for error in response.errors:
                summary.errors += 1
                MESSAGES.print(f"line {places.lines[error.index]}: {error.field}: {error.message}", markup=False)
            for number, end in enumerate(response.session_ends):
                late = number < response.late_end_count
                ends.append(row_of_message(end, _late_place(end, places) if late else places))
            for row in (*(row_of_message(verdict, places) for verdict in response.verdicts), *ends):
                yield row


def _late_place(end: verdict_pb2.Verdict, near: Places) -> Places:
    """The place of an end that no line brought about: beside the last line sent, at a time of its own."""
    return Places(path=near.path, lines=near.lines[-1:], times_ns=np.array([end.time_unix_nano], np.int64))


def messages(part: FileBatch) -> list[log_entry_pb2.LogEntry]:
    """Entries as messages of the contract."""
    batch = part.batch
    return [
        log_entry_pb2.LogEntry(body=body, time_unix_nano=time_ns, session=session, source=source, application=name)
        for body, time_ns, session, source, name in zip(
            batch.bodies, batch.times_ns.tolist(), batch.sessions, batch.sources, part.applications, strict=True
        )
    ]


def file_batch(reader: LineReader, path: str, first_line: int, lines: list[str]) -> FileBatch:
    """Read lines of a file as entries."""
    read = reader.read(lines)
    places = Places(path=path, lines=[first_line + number for number in read.numbers], times_ns=read.batch.times_ns)
    return FileBatch(batch=read.batch, applications=read.applications, places=places)


def _batches(paths: list[str], size: int) -> Iterator[FileBatch]:
    for path in paths:
        reader = LineReader(source=path, reference_ns=reference_ns(path))
        for chunk in read_chunks(path):
            for start in range(0, len(chunk.lines), size):
                part = file_batch(reader, path, chunk.first_line + start, chunk.lines[start : start + size])
                if len(part.batch):
                    yield part


def _in_process(
    model: Path, settings: Settings, batches: Iterator[FileBatch], application: str, summary: Summary, *, flush: bool
) -> Iterator[AnomalyRow]:
    set_threads(settings.server.torch_threads)
    detector = Detector(load_bundle(model), settings.detector)
    places = None
    for part in batches:
        _check_applications(part, detector.application, application)
        summary.entries += len(part.batch)
        places = part.places
        verdicts = detector.score(part.batch)
        found = [verdicts.verdict(index) for index in verdicts.anomalies()]
        yield from (row_of(verdict, detector.application, places) for verdict in found)
        ends = (end for end in verdicts.session_ends if end.is_anomaly)
        yield from (row_of(end, detector.application, places) for end in ends)
    summary.new_keys = [detector.template(key) for key in detector.stand_ins]
    if flush and places is not None:
        ends = (end for end in detector.flush().session_ends if end.is_anomaly)
        yield from (row_of(end, detector.application, places.last()) for end in ends)


def _check_applications(part: FileBatch, served: str, default: str) -> None:
    """An entry of another application must not be judged by this one's model in silence."""
    for name, line in zip(part.applications, part.places.lines, strict=True):
        if (name or default or served) != served:
            raise InputError(f"application '{name or default}' is not '{served}', the bundle's", field=f"line {line}")


async def _show_served(
    address: str, application: str, batches: Iterator[FileBatch], summary: Summary, *, flush: bool, json: bool
) -> None:
    options = pb.ScoreOptions(selection=pb.VERDICT_SELECTION_ANOMALIES, application=application)
    async for row in served_rows(address, options, batches, summary, flush=flush):
        _show(row, summary, json=json)


def _show(row: AnomalyRow, summary: Summary, *, json: bool) -> None:
    summary.add(row)
    if json:
        print_json(asdict(row))
    else:
        row.show()
