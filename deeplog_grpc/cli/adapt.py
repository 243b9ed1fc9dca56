"""``deeplog-grpc adapt``: learn what was abnormal in a range of time as normal."""

import itertools
import sys
import time
from typing import Annotated

import typer

from deeplog_grpc.cli.console import JsonOption
from deeplog_grpc.cli.remote import (
    DEFAULT_SERVER,
    ActorOption,
    ApplicationOption,
    IdOption,
    NoteOption,
    ServerOption,
    actor_of,
    connected,
    named_order,
)
from deeplog_grpc.cli.times import time_ns
from deeplog_grpc.cli.update import show_update
from deeplog_grpc.client import DeepLogClient, new_feedback_id
from deeplog_grpc.v1 import anomaly_pb2

_MAX_COUNT = 10_000
"""Anomalies that are counted before the question."""


def adapt(
    since: Annotated[str, typer.Option(metavar="TIME", help="Begin: 2024-05-01T10:00:00 (UTC), or 2h before now.")],
    until: Annotated[str | None, typer.Option(metavar="TIME", help="End, exclusive. Default: none.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    actor: ActorOption = None,
    note: NoteOption = "",
    feedback_id: IdOption = "",
    application: ApplicationOption = "",
    server: ServerOption = DEFAULT_SERVER,
    json: JsonOption = False,
) -> None:
    """Learn the open anomalies of a range of time as normal, after a deployment for example.

    Confirmed anomalies, and sessions with one, are left out. On a terminal it says how much that is and asks. The exit
    code is 3 if the new model was refused: the old one stays, and the output says why.

    **Example:** `deeplog-grpc adapt --since 2h --note 'release 4.2'`
    """
    now_ns = time.time_ns()
    from_ns = time_ns(since, now_ns, "--since")
    to_ns = 0 if until is None else time_ns(until, now_ns, "--until")
    order = feedback_id or new_feedback_id()
    with connected(server) as client:
        if sys.stdin.isatty() and not yes:
            typer.confirm(f"Learn {_open_text(client, application, from_ns, to_ns)} as normal?", abort=True, err=True)
        with named_order(order):
            update = client.adapt(
                feedback_id=order,
                application=application,
                from_unix_nano=from_ns,
                to_unix_nano=to_ns,
                actor=actor_of(actor),
                note=note,
            )
    show_update(update, json=json)


def _open_text(client: DeepLogClient, application: str, from_ns: int, to_ns: int) -> str:
    """How many open anomalies there are in a range."""
    wanted = anomaly_pb2.AnomalyFilter(
        application=application,
        states=[anomaly_pb2.ANOMALY_STATE_OPEN],
        from_unix_nano=from_ns,
        to_unix_nano=to_ns,
    )
    found = itertools.islice(client.anomalies(wanted, page_size=1_000), _MAX_COUNT)
    groups = [anomaly.group_id for anomaly in found]
    more = " or more" if len(groups) == _MAX_COUNT else ""
    return f"{len(groups):,}{more} open anomalies in {len(set(groups)):,}{more} groups"
