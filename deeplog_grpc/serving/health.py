"""How a server does: whether it is alive, whether it takes entries, and which applications it judges.

Three notions, for three kinds of asker::

    alive       restart the process if not     ""                                        GET /healthz
    ready       send no entries while not      deeplog_grpc.v1.DeepLogService            GET /readyz
    detecting   an application has a model     deeplog_grpc.v1.DeepLogService/NAME

The names are those of ``grpc.health.v1``. A server that drains is alive until it is gone.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio as health_aio

LOOK_S = 0.5
"""Seconds between two looks at what the health service should say."""

Check = Callable[[], str]
"""What is wrong, in a few words for whoever looks after the server; empty = nothing is. No secrets: anyone may ask."""


class Health:
    """Knows the state of a server, and keeps ``grpc.health.v1`` up to date.

    Parameters
    ----------
    ready_service : str
        The service that says whether the server takes entries.
    run_s : callable
        Seconds that the run of the scoring thread under way has lasted; 0 = there is none.
    stall_s : float
        Seconds after which a run is taken for one that stands still: not ready.
    dead_s : float
        Seconds after which it is taken for one that will not end: not alive.
    detecting : callable
        Application -> whether it is judged by a model.
    """

    def __init__(
        self,
        ready_service: str,
        *,
        run_s: Callable[[], float],
        stall_s: float,
        dead_s: float,
        detecting: Callable[[], Mapping[str, bool]],
    ) -> None:
        self.service = health_aio.HealthServicer()
        """To be added to the gRPC server."""
        self.run_s = run_s
        self._stall_s, self._dead_s = stall_s, dead_s
        self._detecting = detecting
        self._ready_service = ready_service
        self._others: list[str] = []
        self._checks: dict[str, Check] = {"serving": self._not_serving, "scoring": self._stalled}
        self._standing = "starting"
        self._said: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None

    def add_check(self, name: str, check: Check) -> None:
        """Have another thing looked at before the server is called ready; ``name`` is a label of a metric."""
        self._checks[name] = check

    def add_services(self, names: Sequence[str]) -> None:
        """More services that are served while the server is ready."""
        self._others += names

    @property
    def is_alive(self) -> bool:
        """Whether the process does its work, or may yet."""
        return self.run_s() < self._dead_s

    @property
    def is_ready(self) -> bool:
        """Whether entries are taken."""
        return not any(self.problems().values())

    def problems(self) -> dict[str, str]:
        """What is wrong, by the name of the check; empty texts where nothing is."""
        return {name: check() for name, check in self._checks.items()}

    async def start(self) -> None:
        """Say that nothing is served yet; needs a running event loop."""
        await self._tell()

    async def serving(self) -> None:
        """Entries are taken from now on."""
        self._standing = ""
        await self._tell()
        self._task = asyncio.create_task(self._watch(), name="health")

    async def draining(self) -> None:
        """No more entries are taken, for good."""
        self._standing = "draining"
        await self._tell()

    def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _not_serving(self) -> str:
        return self._standing

    def _stalled(self) -> str:
        return f"a run lasts longer than {self._stall_s:g} s" if self.run_s() >= self._stall_s else ""

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            await self._tell()

    async def _tell(self) -> None:
        """Bring the health service up to date; whoever watches it is told of changes only."""
        ready = self.is_ready
        found = {"": self.is_alive, **dict.fromkeys((self._ready_service, *self._others), ready)}
        for name, detects in self._detecting().items():
            found[f"{self._ready_service}/{name}"] = ready and detects
        for name, serves in found.items():
            status = health_pb2.HealthCheckResponse.SERVING if serves else health_pb2.HealthCheckResponse.NOT_SERVING
            if self._said.get(name) != status:
                self._said[name] = status
                await self.service.set(name, status)
