"""The container's own start command, run here with the container's environment: what the image and the chart say works.

There is no container engine in the tests, so the paths of the container are folders here, and its addresses any free
ports of loopback. The rest is as it is written.
"""

import asyncio
import json
import os
import re
import sys
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from deeplog_grpc.client import AsyncDeepLogClient
from deeplog_grpc.errors import ConfigError
from deeplog_grpc.settings import load_settings
from deeplog_grpc.v1.log_entry_pb2 import LogEntry
from tests.deploy.test_image import environment, last_stage
from tests.deploy.tools import ROOT, Object, configuration, rendered, the

PROGRAM = "from deeplog_grpc.cli import main; main()"
"""What the installed script runs."""
START_BOUND_S = 100.0
"""For a start, a stop with its five seconds of draining, and two health checks; a sound run needs twelve."""
INHERITED = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH")
"""Of this machine's environment, what leads to the sources under test."""


@asynccontextmanager
async def started(objects: list[Object], folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """The server's container as a process, in folders of its own."""
    (container,) = the(objects, "StatefulSet")["spec"]["template"]["spec"]["containers"]
    folders = {mount["mountPath"]: folder / mount["name"] for mount in container["volumeMounts"]}
    for place in folders.values():
        place.mkdir()
    listening = json.dumps(configuration(objects))
    for port in container["ports"]:
        listening = listening.replace(f"0.0.0.0:{port['containerPort']}", "127.0.0.1:0")
    (folders["/etc/deeplog-grpc/config"] / "config.yaml").write_text(yaml.safe_dump(_mapped(listening, folders)))
    given = environment() | {one["name"]: one["value"] for one in container["env"]}
    variables = {name: str(_mapped(json.dumps(value), folders)) for name, value in given.items() if name != "PATH"}
    empty = folder / "elsewhere"
    empty.mkdir()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, *container["args"]),
        cwd=empty,
        env={name: os.environ[name] for name in INHERITED if name in os.environ} | variables,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_it_serves_says_so_and_stops_when_told(helm: Path, tmp_path: Path) -> None:
    # The base of kustomize is the same: see test_kustomize.
    async with asyncio.timeout(START_BOUND_S), started(rendered(helm), tmp_path) as process:
        assert process.stderr is not None
        said = await _until_serving(process.stderr)
        reading = asyncio.create_task(process.stderr.read())  # so that it is never held up by its own words
        address = f"127.0.0.1:{said['port']}"
        assert await _health(address) == (0, "SERVING")
        assert {"otlp_http_port", "forward_port", "metrics_port"} <= said.keys()
        async with AsyncDeepLogClient(address) as client:
            scored = await client.score([LogEntry(body=f"order {number} taken", session="s") for number in range(100)])
            assert len(scored.verdicts) == 100
            assert [one.application for one in await client.applications()] == ["default"]
        process.terminate()
        assert await process.wait() == 0, await reading
        code, message = await _health(address)
        assert (code, "cannot reach the server" in message) == (1, True), message
    written = {file.relative_to(tmp_path).parts[0] for file in _files(tmp_path)}
    assert written <= {"state", "tmp", "config"}
    assert tmp_path / "state" / "journal.sqlite" in _files(tmp_path)
    assert _files(tmp_path / "config") == {tmp_path / "config" / "config.yaml"}


def test_variables_of_services_would_stop_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # What Kubernetes gives each pod of the namespace for a service `deeplog-grpc`, unless enableServiceLinks is false.
    monkeypatch.setenv("DEEPLOG_GRPC_SERVICE_HOST", "10.0.0.1")
    with pytest.raises(ConfigError, match="DEEPLOG_GRPC_SERVICE_HOST"):
        load_settings()


def test_the_script_of_the_image_is_the_program_that_is_run_here() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    (name,) = json.loads(dict(last_stage())["ENTRYPOINT"])
    module, _, function = scripts[name].partition(":")
    assert f"from {module} import {function}; {function}()" == PROGRAM


async def _until_serving(log: asyncio.StreamReader) -> dict[str, Any]:
    lines = []
    while line := await log.readline():
        lines.append(line)
        event: dict[str, Any] = json.loads(line)
        if event["event"] == "serving":
            return event
    raise AssertionError(b"".join(lines).decode())


async def _health(address: str) -> tuple[int, str]:
    """The health check of the image, asked of another port."""
    words = json.loads(dict(last_stage())["HEALTHCHECK"].partition("CMD ")[2])
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, *words[1:], "--server", address),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode().strip()


def _files(folder: Path) -> set[Path]:
    return {place for place in folder.rglob("*") if place.is_file()}


def _mapped(text: str, folders: dict[str, Path]) -> Any:
    """JSON in which the container's paths are folders here."""
    places = "|".join(map(re.escape, folders))
    # At once: folders here may lie in /tmp, which is one of the places.
    return json.loads(re.sub(f'(?<=")({places})(?=["/])', lambda found: str(folders[found[1]]), text))
