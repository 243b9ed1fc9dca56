"""Nothing is dropped silently: what the metrics of a server say was received is what became of it.

A server counts the entries of each delivery at its door, but not those of one that it has had before. Each of them is
scored, rejected (it can never be judged: its sender is told), refused (not taken now: its sender is to send it again)
or still in the queue.
"""

import asyncio
from dataclasses import dataclass

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

QUEUED = "deeplog_queue_entries"
RECEIVED = "deeplog_received_entries_total"
BECAME = ("deeplog_scored_entries_total", "deeplog_rejected_entries_total", "deeplog_refused_entries_total")
_BOUND_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """Entries, by what became of them.

    Examples
    --------
    >>> text = '''
    ... deeplog_received_entries_total 9.0
    ... deeplog_scored_entries_total{application="a"} 4.0
    ... deeplog_scored_entries_total{application="b"} 2.0
    ... deeplog_refused_entries_total{reason="draining"} 2.0
    ... deeplog_queue_entries 1.0'''
    >>> balance = Balance.of(text)
    >>> balance.received, balance.became, balance.queued, balance.is_even
    (9, 8, 1, True)
    """

    received: int
    became: int
    """Scored, rejected or refused."""
    queued: int
    is_counted: bool
    """Whether the server counts what it receives."""

    @classmethod
    def of(cls, exposition: str) -> "Balance":
        """What an exposition for Prometheus says."""
        sums: dict[str, float] = {}
        for family in text_string_to_metric_families(exposition):
            for sample in family.samples:
                sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
        became = sum(sums.get(name, 0.0) for name in BECAME)
        return cls(
            received=int(sums.get(RECEIVED, 0.0)),
            became=int(became),
            queued=int(sums.get(QUEUED, 0.0)),
            is_counted=RECEIVED in sums,
        )

    @property
    def is_even(self) -> bool:
        """Whether every entry is accounted for."""
        return self.received == self.became + self.queued


def assert_conserved(balance: Balance) -> None:
    """Every entry that a server at rest had received became something, and there were some."""
    assert not balance.queued, balance
    assert balance.is_even, balance
    assert balance.received or not balance.is_counted, balance


async def balance_at(port: int) -> Balance:
    """The balance of a server at rest, by its admin port; waits until its queue is empty."""
    async with asyncio.timeout(_BOUND_S), aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"http://127.0.0.1:{port}/metrics") as answer:
                balance = Balance.of(await answer.text())
            if not balance.queued:
                return balance
            await asyncio.sleep(0.01)
