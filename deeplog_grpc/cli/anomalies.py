"""``deeplog-grpc anomalies``: the anomalies that a server has stored, and their groups."""

import itertools
import time
from collections.abc import Iterator
from queue import Empty, Queue
from threading import Thread
from typing import Annotated

import typer

from deeplog_grpc.cli.anomaly_rows import (
    show_anomalies_head,
    show_anomaly,
    show_evidence,
    show_group,
    show_groups_head,
)
from deeplog_grpc.cli.console import MESSAGES, OUTPUT, JsonOption, print_json
from deeplog_grpc.cli.messages import numbers_of, plain, plain_anomaly
from deeplog_grpc.cli.remote import DEFAULT_SERVER, ServerOption, connected
from deeplog_grpc.cli.times import second, span_ns, time_ns
from deeplog_grpc.errors import DeepLogError, InputError
from deeplog_grpc.v1 import anomaly_pb2, verdict_pb2

anomalies = typer.Typer(help="See the anomalies of a server and their groups; mute groups.", no_args_is_help=True)

_MAX_PAGE = 1_000
LOOK_S = 0.2
READ_AHEAD = 1_000
"""Anomalies of a watch that are read and not printed yet, at most."""

AllApplicationsOption = Annotated[str, typer.Option("--application", help="Only those of an application.")]
KindOption = Annotated[list[str] | None, typer.Option("--kind", help="Only this kind, e.g. unseen_key; repeat it.")]
StateOption = Annotated[
    list[str] | None, typer.Option("--state", help="open, false_positive, confirmed or explained; repeat it.")
]
SessionOption = Annotated[str, typer.Option("--session", help="Only those of a session.")]
GroupOption = Annotated[str, typer.Option("--group", help="Only those of a group.")]
ScoreOption = Annotated[float, typer.Option("--min-score", min=0.0, max=1.0, help="Least score.")]
NoMutedOption = Annotated[bool, typer.Option("--no-muted", help="Leave muted groups out.")]
LimitOption = Annotated[int, typer.Option(min=1, help="At most so many.")]
SinceOption = Annotated[
    str | None, typer.Option(metavar="TIME", help="Least event time: 2024-05-01T10:00:00 (UTC), or 2h before now.")
]
UntilOption = Annotated[str | None, typer.Option(metavar="TIME", help="Greatest event time, exclusive.")]
GroupArgument = Annotated[str, typer.Argument(metavar="GROUP", help="The group's id.")]


@anomalies.command(name="list")
def list_(
    application: AllApplicationsOption = "",
    kind: KindOption = None,
    state: StateOption = None,
    session: SessionOption = "",
    group: GroupOption = "",
    since: SinceOption = None,
    until: UntilOption = None,
    min_score: ScoreOption = 0.0,
    no_muted: NoMutedOption = False,
    limit: LimitOption = 50,
    server: ServerOption = DEFAULT_SERVER,
    json: JsonOption = False,
) -> None:
    """Show stored anomalies, the newest first.

    **Example:** `deeplog-grpc anomalies list --state open --since 2h --no-muted`
    """
    wanted = _filter(application, kind, state, session, group, since, until, min_score, no_muted=no_muted)
    with connected(server) as client:
        read = client.anomalies(wanted, page_size=min(limit + 1, _MAX_PAGE))
        found = list(itertools.islice(read, limit + 1))
    if not json:
        show_anomalies_head()
    for anomaly in found[:limit]:
        print_json(plain_anomaly(anomaly)) if json else show_anomaly(anomaly)
    _tell_rest(len(found), limit, "anomaly", json=json)


@anomalies.command()
def watch(
    application: AllApplicationsOption = "",
    kind: KindOption = None,
    state: StateOption = None,
    session: SessionOption = "",
    group: GroupOption = "",
    min_score: ScoreOption = 0.0,
    no_muted: NoMutedOption = False,
    after: Annotated[str, typer.Option(metavar="ID", help="Begin behind this anomaly. Default: now.")] = "",
    server: ServerOption = DEFAULT_SERVER,
    json: JsonOption = False,
) -> None:
    """Show anomalies as they come, until Ctrl-C; when the connection breaks, it goes on by itself.

    **Example:** `deeplog-grpc anomalies watch --no-muted --json | jq .reason`
    """
    wanted = _filter(application, kind, state, session, group, None, None, min_score, no_muted=no_muted)
    last = after
    with connected(server) as client:
        if not json:
            show_anomalies_head()
        try:
            for anomaly in _interruptible(client.watch_anomalies(wanted, after_verdict_id=after, on_break=_tell_break)):
                print_json(plain_anomaly(anomaly)) if json else show_anomaly(anomaly)
                last = anomaly.verdict.verdict_id
        finally:
            if last and not json:
                MESSAGES.print(f"to go on from here: --after {last}", markup=False, highlight=False)


def _interruptible(watched: Iterator[anomaly_pb2.Anomaly]) -> Iterator[anomaly_pb2.Anomaly]:
    """The same, read in a thread of its own: inside of gRPC's waits a Ctrl-C may be lost."""
    found: Queue[anomaly_pb2.Anomaly | Exception | None] = Queue(maxsize=READ_AHEAD)

    def read() -> None:
        try:
            for anomaly in watched:
                found.put(anomaly)
            found.put(None)
        except Exception as error:  # raised where the others are printed
            found.put(error)

    Thread(target=read, name="watch", daemon=True).start()
    while True:
        try:
            item = found.get(timeout=LOOK_S)  # a wait without an end may begin just after the Ctrl-C
        except Empty:
            continue
        if item is None:
            return
        if isinstance(item, Exception):
            raise item
        yield item


@anomalies.command(no_args_is_help=True)
def show(
    verdict: Annotated[str, typer.Argument(metavar="VERDICT", help="The anomaly's verdict id.")],
    server: ServerOption = DEFAULT_SERVER,
    json: JsonOption = False,
) -> None:
    """Show one anomaly with all its evidence: the entries before it, what was expected, its values.

    **Example:** `deeplog-grpc anomalies show 3-128`
    """
    with connected(server) as client:
        found = next(client.anomalies(anomaly_pb2.AnomalyFilter(verdict_ids=[verdict])), None)
    if found is None:
        raise InputError(f"there is no stored anomaly '{verdict}'", field="VERDICT")
    print_json(plain_anomaly(found)) if json else show_evidence(found)


@anomalies.command()
def groups(
    application: AllApplicationsOption = "",
    state: StateOption = None,
    no_muted: NoMutedOption = False,
    limit: LimitOption = 50,
    server: ServerOption = DEFAULT_SERVER,
    json: JsonOption = False,
) -> None:
    """Show groups of alike anomalies, those seen last first.

    **Example:** `deeplog-grpc anomalies groups --state open --no-muted`
    """
    states = numbers_of(anomaly_pb2.AnomalyState.DESCRIPTOR, state or [], "--state")
    with connected(server) as client:
        size = min(limit + 1, _MAX_PAGE)
        read = client.anomaly_groups(application=application, states=states, exclude_muted=no_muted, page_size=size)
        found = list(itertools.islice(read, limit + 1))
    if not json:
        show_groups_head()
    for group in found[:limit]:
        print_json(plain(group)) if json else show_group(group)
    _tell_rest(len(found), limit, "group", json=json)


@anomalies.command(no_args_is_help=True)
def mute(
    group: GroupArgument,
    span: Annotated[str | None, typer.Option("--for", metavar="SPAN", help="How long: 15m, 2h, 3d.")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Until when: 2024-05-01T10:00:00 (UTC).")] = None,
    server: ServerOption = DEFAULT_SERVER,
    json: JsonOption = False,
) -> None:
    """Mute a group for a while: its anomalies are judged and stored all the same, and marked as muted.

    **Example:** `deeplog-grpc anomalies mute g-7 --for 2h`
    """
    now_ns = time.time_ns()
    if (span is None) == (until is None):
        raise InputError("give exactly one of them", field="--for, --until")
    end_ns = now_ns + span_ns(span, "--for") if span is not None else time_ns(str(until), now_ns, "--until")
    if end_ns <= now_ns:
        raise InputError("is not after now", field="--for" if until is None else "--until")
    _set_mute(server, group, end_ns, json=json)


@anomalies.command(no_args_is_help=True)
def unmute(group: GroupArgument, server: ServerOption = DEFAULT_SERVER, json: JsonOption = False) -> None:
    """End the mute of a group.

    **Example:** `deeplog-grpc anomalies unmute g-7`
    """
    _set_mute(server, group, 0, json=json)


def _set_mute(server: str, group_id: str, until_ns: int, *, json: bool) -> None:
    with connected(server) as client:
        group = client.mute_group(group_id, muted_until_unix_nano=until_ns)
    if json:
        print_json(plain(group))
        return
    muted = group.muted_until_unix_nano
    text = f"muted until {second(muted)} UTC" if muted else "no longer muted"
    OUTPUT.print(f"group {group.group_id} is {text}", markup=False, highlight=False)


def _filter(
    application: str,
    kinds: list[str] | None,
    states: list[str] | None,
    session: str,
    group: str,
    since: str | None,
    until: str | None,
    min_score: float,
    *,
    no_muted: bool,
) -> anomaly_pb2.AnomalyFilter:
    now_ns = time.time_ns()
    return anomaly_pb2.AnomalyFilter(
        application=application,
        kinds=numbers_of(verdict_pb2.Kind.DESCRIPTOR, kinds or [], "--kind"),
        states=numbers_of(anomaly_pb2.AnomalyState.DESCRIPTOR, states or [], "--state"),
        session=session,
        group_id=group,
        from_unix_nano=0 if since is None else time_ns(since, now_ns, "--since"),
        to_unix_nano=0 if until is None else time_ns(until, now_ns, "--until"),
        min_score=min_score,
        exclude_muted=no_muted,
    )


def _tell_rest(found: int, limit: int, what: str, *, json: bool) -> None:
    """Say that there is nothing, or that there is more."""
    if found > limit:
        MESSAGES.print(f"there are more: --limit {limit * 10}", markup=False, highlight=False)
    elif not found and not json:
        MESSAGES.print(f"no {what}", markup=False, highlight=False)


def _tell_break(error: DeepLogError) -> None:
    MESSAGES.print(f"connection lost ({error}): trying again", style="yellow", markup=False, highlight=False)
