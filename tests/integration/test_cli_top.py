"""``deeplog-grpc top`` beside a real server."""

import asyncio
import json
import os
import pty
import sys
from collections.abc import Callable

import pytest

from deeplog_grpc.cli.looks import look_at
from deeplog_grpc.errors import RefusedError
from tests.integration.metrics_harness import listening
from tests.integration.server_harness import BOUND_S, request, running

PROGRAM = "from deeplog_grpc.cli import main; main()"


async def called(*arguments: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, "top", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_one_look_for_machines() -> None:
    async with running("app") as up, listening(up.server) as url:
        await up.score(request(["open", "write"]))
        code, out, _ = await called("--once", "--json", "--every", "0.2", "--metrics", url.removeprefix("http://"))
        found = json.loads(out)
        assert (code, found["is_ready"], found["alarms"]) == (0, True, None)
        assert [one["application"] for one in found["applications"]] == ["app"]


async def test_no_answer_is_one_line() -> None:
    code, out, err = await called("--once", "--metrics", "127.0.0.1:1")
    assert (code, out) == (2, "")
    assert err.startswith("deeplog-grpc: no answer from 127.0.0.1:1: ")
    assert err.count("\n") == 1


async def test_what_is_no_server_of_metrics_is_no_answer() -> None:
    async with running("app") as up, listening(up.server) as url:
        with pytest.raises(RefusedError, match="no answer from"):
            await asyncio.to_thread(look_at, f"{url}/nothing")


@pytest.mark.parametrize(("key", "code"), [(b"q", 0), (b"\x03", 130)])
async def test_the_live_view_outlives_the_server_and_ends_with_a_key(key: bytes, code: int) -> None:
    own, other = pty.openpty()
    async with running("app") as up, listening(up.server) as url:
        arguments = ("top", "--every", "0.2", "--metrics", url.removeprefix("http://"))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", PROGRAM, *arguments),
            stdin=other,
            stdout=other,
            stderr=other,
            start_new_session=True,
            preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),  # makes it the terminal of the process
        )
        os.close(other)
        await _shows(own, lambda text: "entries/s" in text)
    await _shows(own, lambda text: "no answer" in text)
    os.write(own, key)
    async with asyncio.timeout(BOUND_S):
        draining = asyncio.create_task(asyncio.to_thread(_drain, own))
        assert await process.wait() == code
        await draining
    os.close(own)


async def _shows(descriptor: int, wanted: Callable[[str], bool]) -> None:
    text = ""
    async with asyncio.timeout(BOUND_S):
        while not wanted(text):
            text += (await asyncio.to_thread(os.read, descriptor, 65_536)).decode(errors="replace")


def _drain(descriptor: int) -> None:
    try:
        while os.read(descriptor, 65_536):
            pass
    except OSError:  # the other side is closed
        return
