"""A real server whose detector only counts: it appends the number at the end of each body to a file.

What it has written survives a kill, so that a benchmark can say of each line how often it was scored.
"""

import argparse
import asyncio
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.detection import Judges
from deeplog_grpc.detection.entries import EntryBatch
from deeplog_grpc.detection.verdicts import Kind, Verdict
from deeplog_grpc.ingest import FixedApplications, IngestConfig, RecordIngest, RoutingConfig
from deeplog_grpc.parsing import Parameter
from deeplog_grpc.receivers import ForwardConfig, OtlpHttpConfig, ReceiversConfig, attach
from deeplog_grpc.serving import Server, ServerConfig

APPLICATION = "counted"
_NUMBER = re.compile(r"#(\d+)\s*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """All normal."""

    sessions: Sequence[str]
    session_ends: tuple[Verdict, ...] = ()
    stands_for: dict[int, int] = field(default_factory=dict)

    @property
    def kinds(self) -> NDArray[np.int8]:
        """Normal."""
        return np.full(len(self.sessions), Kind.NORMAL, np.int8)

    @property
    def keys(self) -> NDArray[np.int32]:
        """Zero."""
        return np.zeros(len(self.sessions), np.int32)

    @property
    def ranks(self) -> NDArray[np.int32]:
        """One."""
        return np.ones(len(self.sessions), np.int32)

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """One."""
        return np.ones(len(self.sessions), np.float32)

    @property
    def scores(self) -> NDArray[np.float32]:
        """Zero."""
        return np.zeros(len(self.sessions), np.float32)

    def verdict(self, i: int) -> Verdict:
        """Never asked for."""
        raise AssertionError("nothing is abnormal here, and shippers ask for anomalies only")


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedBodies:
    """One log key for all."""

    bodies: Sequence[str]

    @property
    def keys(self) -> NDArray[np.int32]:
        """Zero."""
        return np.zeros(len(self.bodies), np.int32)

    @property
    def is_new(self) -> NDArray[np.bool_]:
        """Never."""
        return np.zeros(len(self.bodies), np.bool_)

    @property
    def is_changed(self) -> NDArray[np.bool_]:
        """Never."""
        return np.zeros(len(self.bodies), np.bool_)

    def typed_parameters(self, i: int) -> tuple[Parameter, ...]:
        """None."""
        return ()


class CountingDetector:
    """Writes down what it scores, before it answers."""

    application = APPLICATION
    model_version = 1
    event_time_ns = 0
    next_deadline_ns = 2**63 - 1

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def score(self, batch: EntryBatch) -> Counted:
        """Write the numbers; one that a kill cuts off has no end, and what follows begins a new line."""
        found = [match[1] if (match := _NUMBER.search(body)) else "none" for body in batch.bodies]
        os.write(self._file, ("\n" + "".join(f"{number};\n" for number in found)).encode())
        return Counted(sessions=[""] * len(batch))

    def advance(self, now_ns: int) -> Counted:
        """No session ends."""
        return Counted(sessions=())

    def flush(self, sessions: Sequence[str] | None = None) -> Counted:
        """No session ends."""
        return Counted(sessions=())

    def parse(self, bodies: Sequence[str]) -> CountedBodies:
        """One log key for all."""
        return CountedBodies(bodies=bodies)

    def template(self, key: int) -> str:
        """All of it is a parameter."""
        return "<*>"

    def adopt(self, judges: Judges) -> None:
        """Nothing is learned."""

    def workflow_path(self, session: str) -> tuple[int, ...] | None:
        """There is no workflow."""
        return None

    def parser_state(self) -> dict[str, Any]:
        """There is no parser."""
        return {}


async def _serve(path: str, grpc: str, http: str, forward: str) -> None:
    config, ingest = ServerConfig(listen=grpc), IngestConfig()
    server = Server({APPLICATION: CountingDetector(path)}, config, ingest)
    receivers = ReceiversConfig(otlp_http=OtlpHttpConfig(listen=http), forward=ForwardConfig(listen=forward))
    attach(server, receivers, RecordIngest(FixedApplications([APPLICATION]), ingest, RoutingConfig()))
    await server.start()
    await asyncio.Event().wait()


def main() -> None:
    """Serve until terminated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--numbers", required=True, help="file for the numbers")
    for name in ("grpc", "http", "forward"):
        parser.add_argument(f"--{name}", required=True, help="HOST:PORT")
    given = parser.parse_args()
    asyncio.run(_serve(given.numbers, given.grpc, given.http, given.forward))


if __name__ == "__main__":
    main()
