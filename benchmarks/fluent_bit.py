"""Fluent Bit itself, with the project's own configurations: how many lines are lost or doubled, and how fast it is.

The binary is named by ``FLUENT_BIT``. Each route is run twice: undisturbed, for its speed, and with the server killed
in the middle and started again.
"""

import argparse
import os
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypedDict

PLUGINS = Path(__file__).parents[1] / "plugins" / "fluent-bit"
ROUTES = {"otlp_grpc": "grpc", "otlp_http": "http", "forward": "forward", "deeplog": "grpc"}
"""Route -> the port that it goes to."""
FORMS = ("yaml", "conf")
LINES = 100_000
AWAY_S = 3.0
LIMIT_S = 120.0
QUIET_S = 3.0
"""How long nothing more may come before all is taken to have come that will."""


class Measured(TypedDict):
    """What became of the lines of a route."""

    lost: int
    doubled: int
    lines_per_s: float


class Counted:
    """A counting server that can be killed, on ports that stay; see :mod:`benchmarks.counting`."""

    def __init__(self, directory: Path) -> None:
        self._numbers = directory / "numbers"
        self._log = directory / "server.log"
        self.ports = dict(zip(("grpc", "http", "forward"), _free_ports(3), strict=True))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until all ports answer."""
        listen = [f"--{name}=127.0.0.1:{port}" for name, port in self.ports.items()]
        command = [sys.executable, "-m", "benchmarks.counting", f"--numbers={self._numbers}", *listen]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        for port in self.ports.values():
            _wait(partial(self._is_decided, port), f"a server on port {port}")
        if self._has_ended():
            raise RuntimeError(f"the server has ended: {self._log.read_text()[-2_000:]}")

    def kill(self) -> None:
        """Kill it without warning."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _is_decided(self, port: int) -> bool:
        return _answers(port) or self._has_ended()

    def _has_ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    @property
    def scored(self) -> int:
        """Lines so far, repetitions among them."""
        return self._numbers.read_bytes().count(b";") if self._numbers.exists() else 0

    def numbers(self) -> Counter[int]:
        """Number of a line -> how often it was scored."""
        found = self._numbers.read_text() if self._numbers.exists() else ""
        return Counter(int(number) for number in re.findall(r"^(\d+);$", found, re.MULTILINE))


@contextmanager
def fluent_bit(
    binary: str, configuration: Path, directory: Path, port: int, *, plugin: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run Fluent Bit with a configuration of the project on ``directory/*.log``; it logs to ``directory/flb.txt``."""
    environment = {
        **os.environ,
        "DEEPLOG_HOST": "127.0.0.1",
        "DEEPLOG_PORT": str(port),
        "LOG_PATH": str(directory / "*.log"),
        "STATE_PATH": str(directory / "state"),
        "HOSTNAME": "node-1",
    }
    (directory / "state").mkdir(exist_ok=True)
    options = ["-e", str(plugin)] if plugin is not None else []
    with (directory / "flb.txt").open("ab") as log:
        process = subprocess.Popen(
            [binary, *options, "-c", str(configuration)], env=environment, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def write_lines(path: Path, count: int) -> None:
    """Lines as a storage cluster writes them, each with its number at the end."""
    with path.open("w") as file:
        for number in range(count):
            block, host = number * 2_654_435_761 % 2**40, number % 251
            file.write(
                f"INFO dfs.DataNode$DataXceiver: Receiving block blk_{block} src: /10.250.{host}.102:54106 "
                f"dest: /10.250.{host}.102:50010 #{number}\n"
            )


def measure(
    route: str, binary: str, lines: int = LINES, *, plugin: Path | None = None, form: str = "yaml", kill: bool = True
) -> Measured:
    """Ship lines over a route, undisturbed and then with a kill, and count them.

    Parameters
    ----------
    route : str
        One of ``ROUTES``.
    binary : str
        Path of Fluent Bit.
    lines : int
        How many.
    plugin : Path, optional
        The native plugin; needed by the route ``deeplog``.
    form : str
        ``yaml`` or ``conf``: which form of the configuration.
    kill : bool
        Whether there is a second run, with a kill.

    Returns
    -------
    Measured
        Lines that were never scored, and repetitions, both runs together; lines a second from the first line scored to
        the last, undisturbed.
    """
    runs = [_run(route, binary, lines, plugin, form, kill_at) for kill_at in ((None, 0.4) if kill else (None,))]
    return {
        "lost": sum(run["lost"] for run in runs),
        "doubled": sum(run["doubled"] for run in runs),
        "lines_per_s": runs[0]["lines_per_s"],
    }


def _run(route: str, binary: str, lines: int, plugin: Path | None, form: str, kill_at: float | None) -> Measured:
    configuration = PLUGINS / f"{route.replace('_', '-')}.{form}"
    with TemporaryDirectory() as name, ExitStack() as stack:
        directory = Path(name)
        server = Counted(directory)
        server.start()
        stack.callback(server.kill)
        write_lines(directory / "in.log", lines)
        began = time.monotonic()
        with fluent_bit(binary, configuration, directory, server.ports[ROUTES[route]], plugin=plugin):
            if kill_at is not None:
                _wait(lambda: server.scored >= lines * kill_at, "lines to be scored", every_s=0.002)
                server.kill()
                time.sleep(AWAY_S)
                server.start()
            is_complete = _until_complete(server, lines)
            took_s = time.monotonic() - began
            if is_complete:
                _until_quiet(server)
        found = server.numbers()
    return {
        "lost": lines - sum(1 for number in found if 0 <= number < lines),
        "doubled": found.total() - len(found),
        "lines_per_s": lines / took_s,
    }


def _until_complete(server: Counted, lines: int) -> bool:
    """Wait until every line was scored; False = some never are. A retry may be half a minute away."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        if server.scored >= lines and len(server.numbers()) >= lines:
            return True
        time.sleep(0.02)
    return False


def _until_quiet(server: Counted) -> None:
    """Wait for repetitions that are still under way."""
    before, since = server.scored, time.monotonic()
    while time.monotonic() < since + QUIET_S:
        time.sleep(0.1)
        if server.scored != before:
            before, since = server.scored, time.monotonic()


def _wait(condition: Callable[[], bool], what: str, *, every_s: float = 0.02) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {LIMIT_S:.0f} s for {what}")
        time.sleep(every_s)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _free_ports(count: int) -> list[int]:
    """Ports that nobody has now; all are held until all are found."""
    with ExitStack() as stack:
        found = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [held.getsockname()[1] for held in found]


def version(binary: str) -> str:
    """Of Fluent Bit."""
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    match = re.search(r"v(\d+\.\d+\.\d+)", said)
    return match[1] if match else ""


def main() -> None:
    """Measure the routes and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default=os.environ.get("FLUENT_BIT"), help="Fluent Bit [FLUENT_BIT]")
    parser.add_argument("--plugin", type=Path, help="out_deeplog.so, for the route deeplog")
    parser.add_argument("--lines", type=int, default=LINES)
    parser.add_argument("--form", choices=FORMS, default="yaml")
    parser.add_argument("routes", nargs="*", default=list(ROUTES), choices=[*ROUTES, []])
    given = parser.parse_args()
    if given.binary is None:
        parser.error("name a binary by --binary or FLUENT_BIT")
    for route in given.routes:
        found = measure(route, given.binary, given.lines, plugin=given.plugin, form=given.form)
        print(route, found, flush=True)


if __name__ == "__main__":
    main()
