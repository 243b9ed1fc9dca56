"""What a server holds for very many sessions and applications, and that floods of names are bounded.

``SESSIONS`` sessions with some entries each are open at once; half as many more then take the place of the oldest
ones. ``APPLICATIONS`` applications are learned at once; ``MODELS`` others have a model. Memory is what no other
process shares.
"""

import asyncio
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.harness import ServerProcess, console, show_figures
from benchmarks.load import MESSAGE_ENTRIES, SCORE, entries_of, refused_count, stream, stream_requests, unary
from benchmarks.served import deeplog, trained
from deeplog_grpc.storage import load_bundle, save_bundle
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from deeplog_grpc.v1.log_entry_pb2 import LogEntry

SESSIONS = 1_000_000
MORE_SESSIONS = SESSIONS // 2
SESSION_ENTRIES = 3
AT_ONCE = 20_000
"""Sessions that are made and sent together."""
APPLICATIONS = 1_000
APPLICATION_ENTRIES = 200
MODELS = 50
FLOOD = 20_000
"""Calls of a round, each with a name of its own for itself, its session, its source and its application."""
_STEP_NS = 1_000
_BLOCK = re.compile(r"blk_-?\d+")
_ANOMALIES = pb.ScoreOptions(selection=pb.VERDICT_SELECTION_ANOMALIES)


def sessions(data: Path) -> dict[str, Any]:
    """Bytes of an open session, and whether the limit holds."""
    material = trained(data)
    template = entries_of(material.rest.read_text().splitlines()[:SESSION_ENTRIES])
    limits = ("--set", "detector.cold_start_s=0", "--set", f"detector.max_open_sessions={SESSIONS}")
    with deeplog(material.bundle, *limits, "--set", "server.tick_s=null") as server:
        _open(server, template, 0, AT_ONCE)
        _flush(server)
        before = _held(server)
        _open(server, template, AT_ONCE, AT_ONCE + SESSIONS)
        full = _held(server)
        _open(server, template, AT_ONCE + SESSIONS, AT_ONCE + SESSIONS + MORE_SESSIONS)
        beyond = _held(server)
        still_open, evicted = server.metric("deeplog_open_sessions"), server.metric("deeplog_evicted_sessions_total")
    if (still_open, evicted) != (SESSIONS, MORE_SESSIONS):
        raise RuntimeError(f"{still_open:,.0f} sessions are open and {evicted:,.0f} had to go: not what was sent")
    figures = {
        "sessions": SESSIONS,
        "session_bytes": (full - before) * 2**20 / SESSIONS,
        "sessions_mb": full,
        "evicted_sessions": MORE_SESSIONS,
        "eviction_growth_mb": beyond - full,
    }
    _show("sessions", figures)
    return figures


def _open(server: ServerProcess, template: Sequence[LogEntry], first: int, stop: int) -> None:
    """Open sessions of these numbers, some thousand after the other."""
    for begin in range(first, stop, AT_ONCE):
        entries = list(_begun(template, range(begin, min(begin + AT_ONCE, stop))))
        found = asyncio.run(stream(server.address, stream_requests(entries, MESSAGE_ENTRIES), _ANOMALIES))
        if refused := refused_count("stream", found.answers, len(entries)):
            raise RuntimeError(f"{refused} of {len(entries)} entries were not judged")


def _begun(template: Sequence[LogEntry], numbers: range) -> Iterator[LogEntry]:
    start_ns = max(entry.time_unix_nano for entry in template) + numbers.start * SESSION_ENTRIES * _STEP_NS
    for place, entry in enumerate(template):
        for number in numbers:
            time_ns = start_ns + _STEP_NS * (place * len(numbers) + number - numbers.start)
            yield LogEntry(
                body=_BLOCK.sub(f"blk_{10**9 + number}", entry.body), time_unix_nano=time_ns, source=entry.source
            )


def _flush(server: ServerProcess) -> None:
    """End all sessions."""
    request = pb.ScoreRequest(flush=pb.Flush(), options=_ANOMALIES).SerializeToString()
    asyncio.run(unary(server.address, SCORE, [request]))


def applications(data: Path) -> dict[str, Any]:
    """Memory of an application that is learned, and of one that has a model."""
    material = trained(data)
    entries = entries_of(material.rest.read_text().splitlines()[:APPLICATION_ENTRIES])
    limits = ("--set", f"learning.max_applications={APPLICATIONS + 1}")
    with deeplog(material.bundle, *limits) as server:
        _learn(server, entries, 0, 1)
        before = _held(server)
        _learn(server, entries, 1, APPLICATIONS)
        learning_mb = (_held(server) - before) / (APPLICATIONS - 1)
    with tempfile.TemporaryDirectory(prefix="deeplog-grpc-models-") as folder:
        names = [f"app-{number}" for number in range(MODELS)]
        model = load_bundle(material.bundle)
        for name in names:
            save_bundle(replace(model, application=name), Path(folder) / name, report={"entries": len(entries)})
        held = [_with_models([Path(folder) / name for name in some], entries) for some in (names[:1], names)]
    figures = {
        "applications": APPLICATIONS,
        "learning_application_mb": learning_mb,
        "applications_with_models": MODELS,
        "application_mb": (held[1] - held[0]) / (MODELS - 1),
    }
    _show("applications", figures)
    return figures


def _learn(server: ServerProcess, entries: Sequence[LogEntry], first: int, stop: int) -> None:
    requests = [_of_application(entries, f"learned-{number}") for number in range(first, stop)]
    answers = asyncio.run(unary(server.address, SCORE, requests)).answers
    if refused := refused_count("unary", answers, len(requests) * len(entries)):
        raise RuntimeError(f"{refused} entries were not taken")


def _with_models(bundles: Sequence[Path], entries: Sequence[LogEntry]) -> float:
    """Memory of a server with these models, each of which has judged some entries."""
    others = [part for bundle in bundles[1:] for part in ("--model", str(bundle))]
    with deeplog(bundles[0], *others) as server:
        requests = [_of_application(entries, bundle.name) for bundle in bundles]
        answers = asyncio.run(unary(server.address, SCORE, requests)).answers
        if refused := refused_count("unary", answers, len(requests) * len(entries)):
            raise RuntimeError(f"{refused} entries were not judged")
        return _held(server)


def _of_application(entries: Sequence[LogEntry], application: str) -> bytes:
    options = pb.ScoreOptions(selection=pb.VERDICT_SELECTION_ANOMALIES, application=application)
    return pb.ScoreRequest(entries=entries, options=options).SerializeToString()


def floods(data: Path) -> dict[str, Any]:
    """Memory that a second and a third flood of names take, when the first has filled what is bounded."""
    material = trained(data)
    limits = ("deliveries.max_count=10000", "detector.max_open_sessions=10000", "learning.max_applications=20")
    with deeplog(material.bundle, *(part for limit in limits for part in ("--set", limit))) as server:
        held = [_flooded(server, number) for number in range(3)]
    figures = {"flood_names": 3 * FLOOD, "flood_growth_mb": held[2] - held[0]}
    _show("floods of names", figures)
    return figures


def _flooded(server: ServerProcess, number: int) -> float:
    requests = [
        pb.ScoreRequest(
            entries=[
                LogEntry(body="got a block", session=f"session-{place}", source=f"host-{place}"),
                LogEntry(body="got a block", application=f"application-{place}"),
            ],
            batch_id=f"delivery-{place}",
        ).SerializeToString()
        for place in range(number * FLOOD, (number + 1) * FLOOD)
    ]
    asyncio.run(unary(server.address, SCORE, requests, under_way=8))
    return _held(server)


def _held(server: ServerProcess) -> float:
    return sum(server.unique_mb().values())


def _show(title: str, figures: dict[str, Any]) -> None:
    table = Table(*figures, title=title, title_justify="left")
    table.add_row(*(f"{value:,.3f}" if isinstance(value, float) else f"{value:,}" for value in figures.values()))
    console.print(table)


def run(data: Path) -> dict[str, Any]:
    """All figures, flat."""
    return sessions(data) | applications(data) | floods(data)


if __name__ == "__main__":
    show_figures(run)
