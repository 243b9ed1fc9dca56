"""The Fluent Bit plugin built, and driven in a process of its own."""

import asyncio
import base64
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
import pytest

from tests.integration.server_harness import BOUND_S

SOURCES = Path(__file__).parents[2] / "plugins" / "fluent-bit" / "out_deeplog"
DROPPED, DELIVERED, RETRY = range(3)
"""What the plugin says of a chunk."""
START_NS = 1_714_557_600_000_000_000


def compiler() -> str:
    """A C compiler; without one the test is skipped."""
    found = shutil.which("cc")
    if found is None:
        pytest.skip("needs a C compiler")
    return found


def build(directory: Path) -> Path:
    """The library, with the shared nghttp2 of the system; the test is skipped where there is none."""
    probe = subprocess.run(
        [compiler(), "-E", "-"], input="#include <nghttp2/nghttp2.h>\n", capture_output=True, text=True, check=False
    )
    if probe.returncode != 0 or shutil.which("make") is None:
        pytest.skip("needs make and the headers of nghttp2 (package libnghttp2-dev)")
    make = subprocess.run(
        ["make", "-C", str(SOURCES), f"BUILD={directory}", "check"], capture_output=True, text=True, check=False
    )
    assert make.returncode == 0, make.stdout + make.stderr
    return directory / "out_deeplog.so"


def event(record: Mapping[str, Any], time_ns: int = START_NS) -> bytes:
    """An event as Fluent Bit has it in a chunk."""
    seconds, fraction = divmod(time_ns, 10**9)
    time = msgpack.ExtType(0, seconds.to_bytes(4, "big") + fraction.to_bytes(4, "big"))
    packed: bytes = msgpack.packb([[time, {}], record])
    return packed


def chunk(bodies: Iterable[str], **attributes: Any) -> bytes:
    """A chunk of lines, a millisecond apart."""
    lines = (event({"log": body, **attributes}, START_NS + number * 1_000_000) for number, body in enumerate(bodies))
    return b"".join(lines)


@dataclass(slots=True, kw_only=True)
class PluginHost:
    """The library in its host; see :mod:`tests.integration.plugin_host`."""

    process: asyncio.subprocess.Process
    registered: Mapping[str, int]
    log: list[str]
    """All that it wrote into Fluent Bit's log."""

    async def ask(self, *command: Any) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command).encode() + b"\n")
        return await self._answer()

    async def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), 3 * BOUND_S)
        assert line, "the host has died"
        said = json.loads(line)
        self.log += said["log"]
        return said["answer"]

    async def open(self, address: str, **properties: str) -> int:
        """A new instance; its number."""
        answer = await self.ask("init", {"address": address, "timeout": "20", "source": "node-1", **properties})
        assert answer["code"] == 1, self.log
        number: int = answer["instance"]
        return number

    async def flush(self, number: int, data: bytes, tag: str = "app.log") -> int:
        """What the plugin says of a chunk."""
        verdict: int = await self.ask("flush", number, base64.b64encode(data).decode(), tag)
        return verdict

    async def flush_together(self, number: int, chunks: Iterable[bytes], tag: str = "app.log") -> list[int]:
        """What the plugin says of chunks that several threads bring at once."""
        coded = [base64.b64encode(data).decode() for data in chunks]
        verdicts: list[int] = await self.ask("flush_together", number, coded, tag)
        return verdicts


@asynccontextmanager
async def hosted(library: Path, *wrapper: str) -> AsyncIterator[PluginHost]:
    """A host that runs meanwhile, and ends well."""
    process = await asyncio.create_subprocess_exec(
        *(*wrapper, sys.executable, str(Path(__file__).with_name("plugin_host.py")), str(library)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**20,
    )
    host = PluginHost(process=process, registered={}, log=[])
    try:
        host.registered = await host._answer()
        yield host
        assert process.stdin is not None
        process.stdin.close()
        assert await asyncio.wait_for(process.wait(), BOUND_S) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
