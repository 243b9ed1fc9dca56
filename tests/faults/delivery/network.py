"""A server's three ports behind proxies, and clients of all routes that send through them."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from deeplog_grpc.testing import Conditions, FaultPlan, FaultyProxy, play
from tests.faults.delivery.clients import ROUTES, Addresses, run
from tests.faults.delivery.feed import Feed, Habits
from tests.faults.delivery.oracle import Oracle

BOUND_S = 60.0
"""In which a client must have delivered all when faults are over."""
BUFFER_BYTES = 8_192


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What lies between clients and a server."""

    proxies: Mapping[str, FaultyProxy]
    """By the name of a port in :class:`Addresses`."""
    played: Counter[str] = field(default_factory=Counter)
    """Faults that were in force, by name."""

    @property
    def addresses(self) -> Addresses:
        """What clients connect to."""
        return Addresses(**{name: proxy.address for name, proxy in self.proxies.items()})

    def lead_to(self, ports: Mapping[str, int]) -> None:
        """Pass connections on to other ports from now on."""
        for name, proxy in self.proxies.items():
            proxy.upstream = ("127.0.0.1", ports[name])

    async def play(self, plan: FaultPlan) -> None:
        """Have faults in force, others at each port."""
        for played in await asyncio.gather(
            *(
                play(proxy, replace(plan, seed=plan.seed + 1000 * place))
                for place, proxy in enumerate(self.proxies.values())
            )
        ):
            self.played.update(played)

    def repair(self) -> None:
        """End all faults."""
        for proxy in self.proxies.values():
            proxy.set(Conditions())

    @property
    def cuts(self) -> int:
        """Connections that were cut or refused."""
        return sum(proxy.counts.cut + proxy.counts.refused for proxy in self.proxies.values())

    @property
    def swallowed_bytes(self) -> int:
        """Of answers that never arrived."""
        return sum(proxy.counts.swallowed_bytes for proxy in self.proxies.values())


@asynccontextmanager
async def network(ports: Mapping[str, int]) -> AsyncIterator[Network]:
    async with (
        FaultyProxy("127.0.0.1", ports["grpc"], buffer_bytes=BUFFER_BYTES) as grpc_proxy,
        FaultyProxy("127.0.0.1", ports["otlp_http"], buffer_bytes=BUFFER_BYTES) as http_proxy,
        FaultyProxy("127.0.0.1", ports["forward"], buffer_bytes=BUFFER_BYTES) as forward_proxy,
    ):
        yield Network(proxies={"grpc": grpc_proxy, "otlp_http": http_proxy, "forward": forward_proxy})


def feeds(
    oracle: Oracle, habits: Habits, *, seed: int, stopping: asyncio.Event | None = None, clients: int = 1
) -> list[tuple[str, Feed]]:
    """So many clients of each route, with the route's name."""
    made = []
    for name, route in ROUTES.items():
        own = habits if route.tells_rejected else replace(habits, bad=0.0)
        for _ in range(clients):
            source = oracle.source(is_ordered=route.is_ordered)
            made.append((name, Feed(oracle, source, own, seed=seed, stopping=stopping)))
    return made


async def send_all(network: Network, clients: list[tuple[str, Feed]]) -> None:
    """Run clients until all that they had was taken."""
    async with asyncio.TaskGroup() as group:
        for name, feed in clients:
            group.create_task(run(ROUTES[name], network.addresses, feed), name=name)


async def probe(network: Network, oracle: Oracle) -> None:
    """See that fresh lines pass on each route at once, now that there are no faults."""
    async with asyncio.timeout(BOUND_S):
        await send_all(network, feeds(oracle, Habits(batches=1), seed=0))
