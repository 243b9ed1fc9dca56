"""A server in a process of its own, that is killed, stopped and frozen, and started again on the same state."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from tests.faults.delivery import serving_process
from tests.faults.delivery.oracle import Judged

START_S = 60.0
_LOG_BYTES = 1 << 22
PORTS = {"grpc": "port", "otlp_http": "otlp_http_port", "forward": "forward_port", "metrics": "metrics_port"}
"""Name of an address -> that of its port in the log."""


class ServerProcesses:
    """Servers one after the other; see :func:`server_processes`."""

    def __init__(self, launcher: asyncio.subprocess.Process, arguments: list[str], folder: Path) -> None:
        self._launcher = launcher
        self._arguments = arguments
        self._folder = folder
        self._ports: asyncio.Queue[dict[str, int]] = asyncio.Queue()
        self._reader = asyncio.create_task(self._read_log())
        self.process_id = 0
        """Of the server."""
        self.errors: list[dict[str, Any]] = []
        """What servers have logged as an error."""
        self.noise: list[str] = []
        """What they have written to standard error and is not of their log."""

    async def launch(self, *more: str) -> None:
        """Begin to start a server, with more arguments if there are any."""
        assert self._launcher.stdin is not None
        self._launcher.stdin.write(f"{json.dumps([*self._arguments, *more])}\n".encode())
        self.process_id = await self._told()
        self._ports = asyncio.Queue()

    async def ports(self) -> dict[str, int]:
        """Where the server listens, once it does."""
        async with asyncio.timeout(START_S):
            return await self._ports.get()

    def signal(self, number: signal.Signals) -> None:
        """Send the server a signal; one that has ended has gone by itself."""
        os.kill(self.process_id, number)

    async def ended(self) -> int:
        """Wait for the server's end; its exit code, or minus the signal that ended it."""
        async with asyncio.timeout(START_S):
            return await self._told()

    async def close(self) -> None:
        """End the processes, also in the middle of a failure."""
        if self._launcher.stdin is not None:
            self._launcher.stdin.close()
        if self.process_id and self._launcher.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.process_id, signal.SIGKILL)
        await self._launcher.wait()
        await self._reader

    async def _told(self) -> int:
        assert self._launcher.stdout is not None
        return int(await self._launcher.stdout.readline())

    async def _read_log(self) -> None:
        assert self._launcher.stderr is not None
        while line := await self._launcher.stderr.readline():
            try:
                event = json.loads(line)
            except ValueError:
                self.noise.append(line.decode(errors="replace"))
                continue
            if event.get("event") == "serving":
                self._ports.put_nowait({name: event[key] for name, key in PORTS.items()})
            elif event.get("level") in ("error", "critical"):
                self.errors.append(event)

    @property
    def record(self) -> list[Judged]:
        """What was judged, in order; the last line before a kill may be torn, and was not answered then."""
        return [Judged(*row) for row in _json_lines(self._folder / "judged.jsonl")]

    @property
    def passed_through(self) -> list[Judged]:
        """The records of foreign protocols that came out again with a verdict."""
        found = []
        for record in _json_lines(self._folder / "scored.jsonl"):
            attributes = record["attributes"]
            if "deeplog.kind" in attributes:
                host = attributes.get("host") or record["resource"]["host.name"]
                found.append(Judged(record["body"], attributes["request_id"], host))
        return found


@asynccontextmanager
async def server_processes(
    bundle: Path,
    folder: Path,
    *,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    first: Sequence[str] = (),
) -> AsyncIterator[ServerProcesses]:
    """Servers of a bundle with all receivers, and a file to which scored records go.

    Parameters
    ----------
    bundle : Path
    folder : Path
        Of all that they write.
    settings : mapping, optional
        Section -> settings that differ.
    first : sequence of str
        What :mod:`tests.faults.delivery.serving_process` is told beside.
    """
    usual: dict[str, dict[str, Any]] = {
        "server": {"listen": "127.0.0.1:0", "grace_s": 10},
        "receivers": {"otlp_http": {"listen": "127.0.0.1:0"}, "forward": {"listen": "127.0.0.1:0"}},
        "outputs": {"scored": {"type": "file", "path": str(folder / "scored.jsonl"), "what": "records"}},
        "detector": {"cold_start_s": 0},
        "metrics": {"listen": "127.0.0.1:0"},
    }
    for section, own in (settings or {}).items():
        usual[section] = {**usual.get(section, {}), **own}
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(usual))
    launcher = await asyncio.create_subprocess_exec(
        sys.executable,
        *(serving_process.__file__, str(folder / "judged.jsonl")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=_LOG_BYTES,
    )
    places = ["--state", str(folder / "state"), "--config", str(config)]
    arguments = [*first, "serve", "--model", str(bundle), *places]
    servers = ServerProcesses(launcher, arguments, folder)
    try:
        yield servers
    finally:
        await servers.close()


def _json_lines(path: Path) -> list[Any]:
    found = []
    for line in path.read_text().splitlines():
        with suppress(ValueError):
            found.append(json.loads(line))
    return found
