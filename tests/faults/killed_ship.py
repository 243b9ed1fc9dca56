"""Ships a log that is written and rotated, while shipper and server are killed with SIGKILL at random moments.

A process of its own, because it forks: nothing of gRPC is started before. Arguments: the folder, the number of kills, a
seed. Prints how often each was killed.
"""

import asyncio
import json
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from deeplog_grpc.ingest import IngestConfig
from deeplog_grpc.serving import Server, ServerConfig
from deeplog_grpc.shipping import ShipConfig, ship
from tests.unit.serving.fake_detector import FakeDetector

ROTATED_AT = 700
PAUSE_S = 0.002


def line_of(number: int) -> str:
    return f"order {number} is paid"


def forked(work: Callable[[], None]) -> int:
    """Do something in a child; its process."""
    child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(0)
    except BaseException as error:
        os.write(2, f"{error!r}\n".encode())
        os._exit(1)


def kill(child: int) -> None:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def wait_for_handler(child: int) -> None:
    """A child that was forked just now would die of SIGTERM instead of stopping."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        status = Path(f"/proc/{child}/status").read_text()
        caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
        if int(caught, 16) >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.01)


def serve(port: int) -> None:
    async def run() -> None:
        config = ServerConfig(listen=f"127.0.0.1:{port}")
        server = Server({"app": FakeDetector("app")}, config, IngestConfig())
        await server.start()
        await asyncio.Event().wait()

    asyncio.run(run())


def write(log: Path, seed: int, is_over: Path) -> None:
    """Numbered lines until told to stop, in pieces that need not end with a line; rotated by renaming."""
    chance = random.Random(seed)
    file = log.open("ab", buffering=0)
    number = 0
    while not is_over.exists() or number % ROTATED_AT:
        content = b"".join(line_of(place).encode() + b"\n" for place in range(number, number + 20))
        cut = chance.randrange(len(content))
        file.write(content[:cut])
        time.sleep(chance.uniform(0, PAUSE_S))
        file.write(content[cut:])
        number += 20
        if number % ROTATED_AT == 0:
            places = sorted((int(path.suffix[1:]) for path in log.parent.glob("app.log.*")), reverse=True)
            for place in places:
                log.with_name(f"app.log.{place}").rename(log.with_name(f"app.log.{place + 1}"))
            log.rename(log.with_name("app.log.1"))
            file.close()
            file = log.open("ab", buffering=0)
    (log.parent / "written").write_text(str(number))


def shipped(directory: Path, port: int, *, is_once: bool) -> None:
    config = ShipConfig(
        files=(str(directory / "app.log*"),),
        server=f"127.0.0.1:{port}",
        spool=directory / "ship.spool",
        annotate=str(directory / "out.jsonl"),
        batch_entries=50,
        poll_s=0.005,
        max_backoff_s=0.2,
    )
    sys.stderr = (directory / "ship.err").open("a")
    if not asyncio.run(ship(config, is_once=is_once)) and is_once:
        os._exit(1)


def free_port(chance: random.Random) -> int:
    """A port that stays free while no server holds it: none that the system gives to outgoing connections."""
    while True:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port := chance.randrange(20_000, 30_000)))
            return port


def main(directory: Path, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    port = free_port(random.Random(os.getpid()))
    log, is_over = directory / "app.log", directory / "over"
    log.touch()
    server = forked(lambda: serve(port))
    writer = forked(lambda: write(log, seed, is_over))
    shipper = forked(lambda: shipped(directory, port, is_once=False))
    killed = {"shipper": 0, "server": 0}
    for _ in range(kills):
        time.sleep(chance.uniform(0.1, 1.2))
        if chance.random() < 0.75:
            kill(shipper)
            shipper = forked(lambda: shipped(directory, port, is_once=False))
            killed["shipper"] += 1
        else:
            kill(server)
            time.sleep(chance.uniform(0, 0.2))
            server = forked(lambda: serve(port))
            killed["server"] += 1
    is_over.touch()
    os.waitpid(writer, 0)
    wait_for_handler(shipper)
    os.kill(shipper, signal.SIGTERM)
    stopped = os.waitstatus_to_exitcode(os.waitpid(shipper, 0)[1])
    last = forked(lambda: shipped(directory, port, is_once=True))
    finished = os.waitstatus_to_exitcode(os.waitpid(last, 0)[1])
    kill(server)
    lines = int((directory / "written").read_text())
    print(json.dumps({"killed": killed, "stopped": stopped, "finished": finished, "lines": lines}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
