"""A simulator of an application's log, with known faults.

The simulated application takes orders: each order is a session named by a request id, sessions overlap in time, the
workflow has a choice, a loop and two steps that run side by side.
"""

import heapq
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

EPOCH_S = 1_700_000_000.0
"""Event time at which a simulated log begins by default: 2023-11-14 22:13:20 UTC."""


class Fault(StrEnum):
    """What goes wrong in a session."""

    UNSEEN_KEY = "unseen_key"
    """A message appears that a normal log never holds."""
    WRONG_ORDER = "wrong_order"
    """A step comes where it never comes."""
    TRUNCATED = "truncated"
    """The session stops half-way."""
    SLOW = "slow"
    """A step says that it took hundreds of times as long as ever; else nothing is odd."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedLog:
    """A raw log and what is true of it."""

    lines: list[str]
    faults: dict[str, Fault | None]
    """Session -> its fault, None = normal."""

    def text(self) -> str:
        """The lines as a file's content."""
        return "".join(f"{line}\n" for line in self.lines)


def simulate_log(
    sessions: int, *, seed: int, fault_rate: float = 0.0, start_s: float = EPOCH_S, orders_per_s: float = 5.0
) -> SimulatedLog:
    """Write the log of an application that takes orders.

    Parameters
    ----------
    sessions : int
        Orders, > 0; each gives 9 to 17 lines.
    seed : int
        The same seed gives the same log.
    fault_rate : float
        Share of the sessions with a fault, in [0, 1].
    start_s : float
        Time of the first order, seconds since 1970 UTC.
    orders_per_s : float
        Mean rate of new orders; an order takes some seconds, so that they overlap.

    Examples
    --------
    >>> log = simulate_log(3, seed=1)
    >>> log.lines[0]
    '2023-11-14 22:13:20.000 INFO gateway [req-...] order received from 10.1.7.195 with 3 items'
    """
    rng = random.Random(seed)
    kinds = list(Fault)
    faults: dict[str, Fault | None] = {}
    events: list[tuple[float, int, str]] = []
    begin_s = start_s
    for number in range(sessions):
        fault = kinds[number % len(kinds)] if rng.random() < fault_rate else None
        session = f"req-{uuid.UUID(int=rng.getrandbits(128), version=4)}"
        faults[session] = fault
        time_s = begin_s
        for component, message in _faulty(list(_order(rng)), fault, rng):
            events.append((time_s, len(events), f"{component} [{session}] {message}"))
            time_s += rng.expovariate(1.0) * 0.4 + 0.002
        begin_s += rng.expovariate(orders_per_s)
    heapq.heapify(events)
    lines = [f"{_stamp(time_s)} {text}" for time_s, _, text in (heapq.heappop(events) for _ in range(len(events)))]
    return SimulatedLog(lines=lines, faults=faults)


Step = tuple[str, str]


def _order(rng: random.Random) -> Iterator[Step]:
    """The messages of one normal order."""
    items = rng.randint(1, 4)
    yield (
        "INFO gateway",
        f"order received from 10.{rng.randint(0, 9)}.{rng.randint(0, 9)}.{rng.randint(1, 250)} with {items} items",
    )
    yield "INFO session", f"customer {rng.randint(10_000, 99_999)} signed in"
    for _ in range(items):  # a loop
        yield (
            "INFO stock",
            f"reserved {rng.randint(1, 3)} pieces of article A-{rng.randint(100, 999)} in {rng.randint(2, 30)} ms",
        )
    yield "INFO payment", f"charging {rng.randint(5, 300)}.{rng.randint(10, 99)} EUR"
    if rng.random() < 0.1:  # a choice
        yield "WARN payment", f"provider busy, retry after {rng.randint(100, 900)} ms"
        yield "INFO payment", f"charging {rng.randint(5, 300)}.{rng.randint(10, 99)} EUR"
    yield "INFO payment", f"payment accepted, reference {rng.randint(10**9, 10**10 - 1)}"
    side_by_side: list[Step] = [
        ("INFO mail", f"confirmation queued, {rng.randint(900, 4000)} bytes"),
        ("INFO parcel", f"label printed on printer {rng.randint(1, 6)}"),
    ]
    rng.shuffle(side_by_side)
    yield from side_by_side
    yield "INFO parcel", f"handed over to carrier, weight {rng.randint(100, 5000)} g"
    yield "INFO gateway", f"order closed after {rng.randint(200, 9000)} ms"


def _faulty(steps: list[Step], fault: Fault | None, rng: random.Random) -> list[Step]:
    """The steps with a fault put in."""
    match fault:
        case Fault.UNSEEN_KEY:
            place = rng.randint(2, len(steps) - 1)
            error: Step = ("ERROR stock", f"database connection lost: timeout after {rng.randint(1000, 9000)} ms")
            return [*steps[:place], error, *steps[place:]]
        case Fault.WRONG_ORDER:  # handed over before it was paid
            place = next(place for place, (_, message) in enumerate(steps) if message.startswith("charging"))
            return [*steps[:place], steps[-2], *steps[place:-2], steps[-1]]
        case Fault.TRUNCATED:
            return steps[: rng.randint(3, len(steps) - 3)]
        case Fault.SLOW:
            place = next(place for place, (_, message) in enumerate(steps) if message.startswith("reserved"))
            component, message = steps[place]
            slow: Step = (component, f"{message.rpartition(' in ')[0]} in {rng.randint(4000, 9000)} ms")
            return [*steps[:place], slow, *steps[place + 1 :]]
        case None:
            return steps


def _stamp(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
