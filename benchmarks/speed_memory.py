"""Memory of a server: after its start, and with 100,000 open sessions of the HDFS model.

The sessions are beginnings of those of the scored log, a few entries each, under names of their own and within seconds
of event time, so that none of them ends; that the first and the last ones were open is checked afterwards. In MiB;
``peak_mb`` is the most that the process ever held (VmHWM), start and loading of the model included.

With ``serve --workers 2``, where there is such an option, the figures are sums over all processes of the server; what
these share is then counted more than once in ``workers2_peak_mb`` and not at all in ``workers2_session_bytes``.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.harness import ServerProcess, console, show_figures
from benchmarks.hdfs import block_of
from benchmarks.load import (
    MESSAGE_ENTRIES,
    SCORE,
    entries_of,
    refused_count,
    stream,
    stream_requests,
    unary,
)
from benchmarks.served import deeplog, has_workers, trained
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from deeplog_grpc.v1.log_entry_pb2 import LogEntry

SESSIONS = 100_000
SESSION_ENTRIES = 5
WARM_SESSIONS = 1_000
"""Opened and ended first: what a first entry loads is no session's."""
STEP_NS = 10_000
"""Event time between two entries."""
PAUSE_NS = 30_000_000_000
CHECKED_ENTRIES = 1_000
"""The sessions of so many first and last entries are ended afterwards: they must have been open."""
JUDGED_SHARE = 0.99
"""Ends that are counted, at least: the first sessions of a server may have begun before it did."""
_ANOMALIES = pb.ScoreOptions(selection=pb.VERDICT_SELECTION_ANOMALIES)


def run(data: Path) -> dict[str, Any]:
    """All figures, flat."""
    material = trained(data)
    lines = material.rest.read_text().splitlines()
    figures = _measured(material.bundle, lines)
    if has_workers():
        found = _measured(material.bundle, lines, "--workers", "2")
        figures |= {f"workers2_{name}": value for name, value in found.items()}
    else:
        console.print("memory with --workers 2 is left out: serve has no such option")
    return figures


def _measured(bundle: Path, lines: Sequence[str], *options: str) -> dict[str, float]:
    # From the first entry on sessions are known from their beginnings, and judged as a whole.
    limits = ("--set", "detector.cold_start_s=0", "--set", f"detector.max_open_sessions={SESSIONS}")
    warm_up, entries = (begun_sessions(lines, many, number=n) for n, many in enumerate((WARM_SESSIONS, SESSIONS)))
    with deeplog(bundle, *limits, *options) as server:
        idle_mb = server.held_mb()
        _open(server, warm_up)
        _end(server, warm_up)
        before_mb = sum(server.unique_mb().values())
        _open(server, entries)
        after_mb, held_mb, peak_mb = sum(server.unique_mb().values()), server.held_mb(), server.family_peak_mb()
        _end(server, entries[:CHECKED_ENTRIES])
        _end(server, entries[-CHECKED_ENTRIES:])
    figures = {
        "idle_mb": idle_mb,
        "open_mb": held_mb,
        "peak_mb": peak_mb,
        "session_bytes": (after_mb - before_mb) * 2**20 / SESSIONS,
    }
    table = Table(*figures, title=f"{SESSIONS:,} open sessions {' '.join(options)}", title_justify="left")
    table.add_row(*(f"{value:,.0f}" for value in figures.values()))
    console.print(table)
    return figures


def begun_sessions(lines: Sequence[str], sessions: int, *, number: int) -> list[LogEntry]:
    """Beginnings of sessions: those of the lines over and over, each under a name of its own.

    Parameters
    ----------
    lines : sequence of str
        Raw lines that hold at least one session of ``SESSION_ENTRIES`` lines.
    sessions : int
        How many, > 0.
    number : int
        In 0..9. Sessions of another number have other names, and come some seconds later.

    Returns
    -------
    list of LogEntry
        ``SESSION_ENTRIES`` of each, many sessions in turn; ``STEP_NS`` of event time from one to the next.
    """
    beginnings = _beginnings(lines)
    start_ns = max(own[-1].time_unix_nano for own in beginnings.values()) + number * PAUSE_NS
    found: list[LogEntry] = []
    for at in range(0, sessions, len(beginnings)):
        begun = list(beginnings.items())[: sessions - at]
        for place in range(SESSION_ENTRIES):
            for block, own in begun:
                body = own[place].body.replace(block, f"{block}{number}{at}")
                time_ns = start_ns + STEP_NS * len(found)
                found.append(LogEntry(body=body, time_unix_nano=time_ns, source=own[place].source))
    return found


def _beginnings(lines: Sequence[str]) -> dict[str, list[LogEntry]]:
    """The first entries of each block that has enough."""
    blocks: defaultdict[str, list[LogEntry]] = defaultdict(list)
    for line, entry in zip(lines, entries_of(lines), strict=True):
        if len(own := blocks[block_of(line)]) < SESSION_ENTRIES:
            own.append(entry)
    return {block: own for block, own in blocks.items() if len(own) == SESSION_ENTRIES}


def _open(server: ServerProcess, entries: Sequence[LogEntry]) -> None:
    requests = stream_requests(entries, MESSAGE_ENTRIES)
    found = asyncio.run(stream(server.address, requests, _ANOMALIES))
    if refused := refused_count("stream", found.answers, len(entries)):
        raise RuntimeError(f"{refused} of {len(entries)} entries were not judged")


def _end(server: ServerProcess, entries: Sequence[LogEntry]) -> None:
    """End the sessions of some entries, which must have been open but for a few that cannot be judged."""
    sessions = sorted({block_of(entry.body) for entry in entries})
    request = pb.ScoreRequest(flush=pb.Flush(sessions=sessions), options=_ANOMALIES).SerializeToString()
    (answer,) = asyncio.run(unary(server.address, SCORE, [request])).answers
    if (ended := pb.ScoreResponse.FromString(answer).session_end_count) < JUDGED_SHARE * len(sessions):
        raise RuntimeError(f"of {len(sessions)} sessions only {ended} were still open")


if __name__ == "__main__":
    show_figures(run)
