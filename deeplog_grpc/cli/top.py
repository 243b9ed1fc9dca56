"""``deeplog-grpc top``: how a server is doing, live."""

import itertools
import os
import select
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Annotated

import typer
from rich.live import Live

from deeplog_grpc.cli.console import OUTPUT, JsonOption, print_json
from deeplog_grpc.cli.looks import Look, look_at
from deeplog_grpc.cli.messages import plain
from deeplog_grpc.cli.top_figures import figures_of, plain_figures
from deeplog_grpc.cli.top_view import TopView
from deeplog_grpc.client import DeepLogClient
from deeplog_grpc.errors import DeepLogError, RefusedError
from deeplog_grpc.v1 import anomaly_pb2

DEFAULT_METRICS = "127.0.0.1:9464"
_GROUPS = 50
"""More than fit on a terminal."""
_ASK_S = 2.0
_HINT = "--server HOST:PORT shows them"

Groups = Sequence[anomaly_pb2.AnomalyGroup] | str


def top(
    metrics: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where the server's metrics are (metrics.listen).")
    ] = DEFAULT_METRICS,
    server: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="The server, for its newest alarms. Default: without them.")
    ] = None,
    every: Annotated[
        float, typer.Option(min=0.2, help="Seconds between two looks; rates are those of this time.")
    ] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Print one view, and stop.")] = False,
    json: JsonOption = False,
) -> None:
    """Show how a server is doing: rates, latencies, queue, memory, applications, alarms; q or Ctrl-C ends it.

    A server that does not answer is asked again. With `--json`, one object for each look.

    **Example:** `deeplog-grpc top --metrics 127.0.0.1:9464 --server 127.0.0.1:50051`
    """
    with nullcontext() if server is None else DeepLogClient(server, timeout_s=_ASK_S) as client:

        def groups() -> Groups:
            return _HINT if client is None else _groups(client)

        if once:
            before = look_at(metrics)
            time.sleep(every)
            _print_once(metrics, before, groups, json=json)
        elif json:
            _follow_json(metrics, every, groups)
        else:
            _follow(metrics, every, groups)


def _print_once(address: str, before: Look, groups: Callable[[], Groups], *, json: bool) -> None:
    figures = figures_of(look_at(address), before)
    if json:
        print_json({**plain_figures(figures), "alarms": _plain_groups(groups())})
    else:
        OUTPUT.print(TopView(address, figures, groups=groups()))


def _follow(address: str, every: float, groups: Callable[[], Groups]) -> None:
    before: Look | None = None
    with ExitStack() as stack:
        waits_for_q = stack.enter_context(_keys())
        live = stack.enter_context(Live(console=OUTPUT, screen=OUTPUT.is_terminal, auto_refresh=False))
        while True:
            try:
                now = look_at(address)
            except RefusedError as error:
                before, view = None, TopView(address, None, trouble=str(error))
            else:
                view = TopView(address, figures_of(now, before), groups=groups())
                before = now
            live.update(view, refresh=True)
            if waits_for_q(every):
                return


def _follow_json(address: str, every: float, groups: Callable[[], Groups]) -> None:
    before: Look | None = None
    while True:
        try:
            now = look_at(address)
        except RefusedError as error:
            before = None
            print_json({"error": str(error)})
        else:
            print_json({**plain_figures(figures_of(now, before)), "alarms": _plain_groups(groups())})
            before = now
        time.sleep(every)


def _groups(client: DeepLogClient) -> Groups:
    """The groups of anomalies seen last, or why there are none."""
    try:
        found = client.anomaly_groups(exclude_muted=True, page_size=_GROUPS)
        return list(itertools.islice(found, _GROUPS))
    except DeepLogError as error:
        return str(error)


def _plain_groups(groups: Groups) -> object:
    return None if isinstance(groups, str) else [plain(group) for group in groups]


@contextmanager
def _keys() -> Iterator[Callable[[float], bool]]:
    """Waits so many seconds for the key q; without a terminal it only waits."""
    if not sys.stdin.isatty():
        yield _no_key
        return
    import termios  # not on all systems
    import tty

    descriptor = sys.stdin.fileno()
    as_it_was = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield lambda seconds: _is_q(descriptor, seconds)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, as_it_was)


def _no_key(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def _is_q(descriptor: int, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        readable, _, _ = select.select([descriptor], [], [], left)
        if readable and os.read(descriptor, 1) in (b"q", b"Q", b""):
            return True
    return False
