"""Learning mode on real logs of a whole system: start empty, stream, wait, and see who alarms when a fault is injected.

The data folder holds ``nezha_trainticket``: container logs of 27 services, two minutes without faults, and three
minutes around each of 14 injected faults. A real server process starts without a model; every service is an
application. The two normal minutes are streamed :data:`REPETITIONS` times, each time at other times and with other
ids, then once more when all services that have enough to learn from have their models, then the faults. Ids (UUIDs and
long hexadecimal numbers, trace and span ids among them) that both minutes have, which are of two days, name things that
last and stay; all others name what happened once, and are made distinct in each repetition.

What is counted, with the default configuration:

- A service *alarms* for a fault when, at or after the injection, an anomaly of a group appears that it had neither in
  that last normal repetition nor in the entries of the same window before the injection. That is what an operator who
  gets one alert for each new group sees.
- A fault is *found* if the injected service alarms, and found *first* if no other service alarms before it, by the
  event time of the anomaly.
- *Before*: alarms of that kind, against the last normal repetition alone, that come in the window before the
  injection: false ones.
"""

import argparse
import asyncio
import csv
import gzip
import hashlib
import itertools
import re
import sys
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from rich.table import Table

from benchmarks.harness import PROGRAM, console, server_process
from deeplog_grpc.client import AsyncDeepLogClient
from deeplog_grpc.v1 import application_pb2
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from deeplog_grpc.v1.log_entry_pb2 import LogEntry

FOLDER = "nezha_trainticket"
REPETITIONS = 40
"""The least talkative of the injected services then has 2,000 entries, which is what the default asks for."""
PAUSE_S = 30
"""Between two repetitions, and at most so far is a record's time believed to be from those of its file."""
BELIEVED_S = 3_600
BATCH = 1_000
LEARNED_S = 2_400
NS = 10**9
ID = re.compile(r"(?<![0-9a-zA-Z])(?:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{16,32})(?![0-9a-zA-Z])")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRecord:
    """A record of a container's log."""

    time_ns: int
    service: str
    trace: str
    text: str
    day: str
    """The file that it is from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectedFault:
    """A fault and the records around it."""

    injected_ns: int
    service: str
    kind: str
    records: tuple[LogRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """The first anomaly of a group that a service had not had."""

    time_ns: int
    service: str
    group_id: str


def measure(data: Path) -> dict[str, Any]:
    """Figures of learning mode; prints a table by fault."""
    csv.field_size_limit(1 << 30)
    folder = data / FOLDER
    normal, faults = normal_records(folder), injected_faults(folder)
    with tempfile.TemporaryDirectory() as work:
        command = [PROGRAM, "serve", "--listen", "127.0.0.1:0", "--state", str(Path(work) / "state")]
        with server_process(command) as server:
            return asyncio.run(_measured(server.address, normal, faults))


async def _measured(address: str, normal: Sequence[LogRecord], faults: Sequence[InjectedFault]) -> dict[str, Any]:
    period_ns = normal[-1].time_ns - normal[0].time_ns + PAUSE_S * NS
    first_ns = min(fault.records[0].time_ns for fault in faults) - (REPETITIONS + 2) * period_ns
    async with AsyncDeepLogClient(address) as client:
        for number in range(REPETITIONS):
            await _send(client, repeated(normal, number, first_ns + number * period_ns))
        standings = await _learned(client)
        usual = await _alarms(client, repeated(normal, REPETITIONS, first_ns + REPETITIONS * period_ns), set())
        seen = {(alarm.service, alarm.group_id) for alarm in usual}
        rows = [judged(fault, await _alarms(client, fault.records, seen)) for fault in faults]
    _show(rows)
    return {
        "faults_total": len(rows),
        "faults_found": sum(row["found"] for row in rows),
        "faults_found_first": sum(row["first"] for row in rows),
        "faults_alarms_before": sum(row["before"] for row in rows),
        "faults_silent_before": sum(not row["before"] for row in rows),
        "learned_applications": sum(bool(one.model_version) for one in standings),
        "learned_total": len(standings),
        "learned_normal_groups": len(seen),
    }


def judged(fault: InjectedFault, alarms: Sequence[Alarm]) -> dict[str, Any]:
    """What the alarms of a window come to; alarms are the first ones of their groups, in the order of time."""
    before = [alarm for alarm in alarms if alarm.time_ns < fault.injected_ns]
    after = [alarm for alarm in alarms if alarm.time_ns >= fault.injected_ns]
    own = next((alarm for alarm in after if alarm.service == fault.service), None)
    return {
        "fault": fault,
        "found": own is not None,
        "first": bool(after) and after[0].service == fault.service,
        "own_s": None if own is None else (own.time_ns - fault.injected_ns) / NS,
        "order": list(dict.fromkeys(alarm.service for alarm in after)),
        "before": len(before),
    }


def repeated(records: Sequence[LogRecord], number: int, first_ns: int) -> list[LogRecord]:
    """Records that begin at another time, with ids that no other repetition has."""
    shift_ns, lasting = first_ns - records[0].time_ns, _lasting(records)
    return [_renamed(replace(record, time_ns=record.time_ns + shift_ns), number, lasting) for record in records]


def _lasting(records: Sequence[LogRecord]) -> frozenset[str]:
    """Ids that all days of the records have."""
    days: defaultdict[str, set[str]] = defaultdict(set)
    for record in records:
        days[record.day].update(ID.findall(record.text))
    return frozenset(set.intersection(*days.values()))


def normal_records(folder: Path) -> list[LogRecord]:
    """The minutes without faults, one after the other."""
    joined: list[LogRecord] = []
    for path in sorted((folder / "normal").glob("*.csv")):
        records = _records([path])
        if joined:
            shift_ns = joined[-1].time_ns + PAUSE_S * NS - records[0].time_ns
            records = [replace(record, time_ns=record.time_ns + shift_ns) for record in records]
        joined += records
    return joined


def injected_faults(folder: Path) -> list[InjectedFault]:
    """All faults that the data names, in the order of time."""
    files: defaultdict[tuple[str, str, str], list[Path]] = defaultdict(list)
    with (folder / "windows.csv").open() as file:
        for row in csv.DictReader(file):
            named = (row["inject_time_utc"], row["inject_pod"], row["inject_type"])
            files[named].append(folder / f"{row['day']}_{row['minute_file']}_log.csv.gz")
    return [
        InjectedFault(
            injected_ns=int(datetime.fromisoformat(time).replace(tzinfo=UTC).timestamp()) * NS,
            service=service_of(pod),
            kind=kind,
            records=tuple(_records(paths)),
        )
        for (time, pod, kind), paths in sorted(files.items())
    ]


def service_of(pod: str) -> str:
    """The workload of a pod: its name without the two hashes at its end."""
    return pod.rsplit("-", 2)[0]


def _records(paths: Sequence[Path]) -> list[LogRecord]:
    """The records of files, in the order of time; those with a time far from all others are left out."""
    found = sorted((record for path in paths for record in _read(path)), key=lambda record: record.time_ns)
    middle_ns = found[len(found) // 2].time_ns
    return [record for record in found if abs(record.time_ns - middle_ns) < BELIEVED_S * NS]


def _read(path: Path) -> Iterator[LogRecord]:
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        for row in csv.DictReader(file):
            text = _text(row["Log"])
            if text and row["TimeUnixNano"].isdecimal():
                yield LogRecord(
                    time_ns=int(row["TimeUnixNano"]),
                    service=service_of(row["PodName"]),
                    trace=row["TraceID"],
                    text=text,
                    day=path.name,
                )


def _text(line: str) -> str:
    """The message in a container's line; a few are cut, and stand for themselves."""
    try:
        return str(orjson.loads(line)["log"]).rstrip("\n")
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return line


def _renamed(record: LogRecord, number: int, lasting: frozenset[str]) -> LogRecord:
    def other(id: str) -> str:
        return id if not id or id in lasting else _like(id, hashlib.md5(f"{id} {number}".encode()).hexdigest())

    return replace(record, trace=other(record.trace), text=ID.sub(lambda found: other(found[0]), record.text))


def _like(id: str, digits: str) -> str:
    """Digits in the shape of an id.

    Examples
    --------
    >>> _like("ab12-f", "0123456789")
    '0123-4'
    """
    source = itertools.cycle(digits)
    return "".join(letter if letter == "-" else next(source) for letter in id)


async def _send(client: AsyncDeepLogClient, records: Sequence[LogRecord]) -> None:
    async def batches() -> AsyncIterator[list[LogEntry]]:
        for begin in range(0, len(records), BATCH):
            yield [_entry(record) for record in records[begin : begin + BATCH]]

    async for result in client.stream(
        batches(), options=pb.ScoreOptions(selection=pb.VERDICT_SELECTION_ANOMALIES), window=8
    ):
        if result.status.code or result.response.errors:
            raise RuntimeError(f"{result.status.message} {list(result.response.errors[:1])}")


def _entry(record: LogRecord) -> LogEntry:
    attributes = {"trace_id": record.trace} if record.trace else {}
    return LogEntry(body=record.text, time_unix_nano=record.time_ns, application=record.service, attributes=attributes)


async def _learned(client: AsyncDeepLogClient) -> list[application_pb2.Application]:
    """Wait until nobody trains or is about to."""
    under_way = (application_pb2.APPLICATION_STATE_TRAINING, application_pb2.APPLICATION_STATE_RETRAINING)
    async with asyncio.timeout(LEARNED_S):
        while True:
            found = await client.applications()
            if not any(
                one.state in under_way
                or (
                    one.state == application_pb2.APPLICATION_STATE_LEARNING
                    and one.progress == 1
                    and not one.last_refusal
                )
                for one in found
            ):
                break
            await asyncio.sleep(1)
    table = Table("application", "entries", "sessions", "log keys", "version", "message", title="learned")
    for one in found:
        table.add_row(
            one.application,
            f"{one.entry_count:,}",
            f"{one.session_count:,}",
            f"{one.log_key_count:,}",
            str(one.model_version),
            one.message,
        )
    console.print(table)
    return found


async def _alarms(client: AsyncDeepLogClient, records: Sequence[LogRecord], seen: set[tuple[str, str]]) -> list[Alarm]:
    """Send records; the first anomaly of each group in their time that was not seen before, in the order of time."""
    await _send(client, records)
    first_ns, last_ns = records[0].time_ns, records[-1].time_ns
    found: dict[tuple[str, str], Alarm] = {}
    async for anomaly in client.anomalies(page_size=1_000):
        verdict = anomaly.verdict
        named = (verdict.application, anomaly.group_id)
        time_ns = verdict.time_unix_nano
        if (
            first_ns <= time_ns <= last_ns
            and named not in seen
            and (named not in found or time_ns < found[named].time_ns)
        ):
            found[named] = Alarm(time_ns=time_ns, service=named[0], group_id=named[1])
    return sorted(found.values(), key=lambda alarm: alarm.time_ns)


def _show(rows: Sequence[dict[str, Any]]) -> None:
    table = Table("injected", "kind", "service", "alarms before", "after (s)", "first", "who alarmed, in order")
    for row in rows:
        fault: InjectedFault = row["fault"]
        when = datetime.fromtimestamp(fault.injected_ns / NS, UTC)
        order = ", ".join(row["order"][:4]) + (f" and {len(row['order']) - 4} more" if len(row["order"]) > 4 else "")
        own = "-" if row["own_s"] is None else f"{row['own_s']:.1f}"
        table.add_row(
            f"{when:%H:%M:%S}", fault.kind, fault.service, str(row["before"]), own, "yes" if row["first"] else "", order
        )
    console.print(table)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--data", type=Path, required=True)
    sys.stdout.write(f"{measure(parser.parse_args().data)}\n")


if __name__ == "__main__":
    main()
