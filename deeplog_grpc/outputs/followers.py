"""Outputs that follow the stored anomalies: as log records, and as alerts of their groups."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import structlog

from deeplog_grpc.outputs.alert_shapes import plain_notice
from deeplog_grpc.outputs.alerts import AlertBook, AlertRules, Notice, Sighting
from deeplog_grpc.outputs.config import AlertmanagerOutput, AlertOutput, Output, RecordOutput, kind_name
from deeplog_grpc.outputs.dead_letters import DeadLetters
from deeplog_grpc.outputs.encoding import plain_record
from deeplog_grpc.outputs.filters import Filter
from deeplog_grpc.outputs.gaps import count_missing
from deeplog_grpc.outputs.positions import Positions
from deeplog_grpc.outputs.runner import OutputRunner
from deeplog_grpc.outputs.senders import Sender
from deeplog_grpc.outputs.shapes import OutRecord, anomaly_record
from deeplog_grpc.serving.evidence import evidence_of
from deeplog_grpc.storage import AnomalyFilter, AnomalyState, AnomalyStore, StoredAnomaly, verdict_id

DUE_S = 1.0
"""Seconds between two looks for what is due by the clock alone."""
_PAGE = 500

T = TypeVar("T")

_log = structlog.get_logger("deeplog_grpc.outputs")


class Follower(OutputRunner[T]):
    """An output that goes through the stored anomalies in their order.

    Parameters
    ----------
    store : AnomalyStore
    positions : Positions
    newest : callable
        Number of the latest anomaly stored; any thread may change it.
    """

    def __init__(
        self,
        name: str,
        config: Output,
        sender: Sender[T],
        *,
        store: AnomalyStore,
        positions: Positions,
        newest: Callable[[], int],
        thread: ThreadPoolExecutor,
        dead_letters: DeadLetters,
        max_per_s: float | None = None,
    ) -> None:
        super().__init__(name, config, sender, thread=thread, dead_letters=dead_letters, max_per_s=max_per_s)
        self.missed = 0
        """Anomalies that retention removed, or that could not be stored, before the output came to them."""
        self._store = store
        self._positions = positions
        self._newest = newest
        self._filter = Filter(config)
        kept = positions.get(name)
        self._position = kept if kept is not None else 0 if config.start == "beginning" else newest()
        self._is_new = kept is None and config.start == "beginning"
        if kept is None:
            positions.put(name, self._position)

    @property
    def waiting(self) -> int:
        """Anomalies after the position. Of those stored before the last start, one stands for all."""
        newest = self._newest()
        return count_missing(self._position, newest + 1, ()) if newest > self._position else 0

    async def next_page(self, limit: int) -> list[StoredAnomaly]:
        """The next anomalies, wanted or not; empty = there are none. What is missing before them is counted."""
        newest = self._newest()
        if newest <= self._position:
            return []
        position = self._position
        page = await self.in_thread(lambda: self._store.since(position, AnomalyFilter(), limit=limit))
        first = page[0].number if page else newest + 1
        if not self._is_new:  # to a new one, what is gone is not missing
            self._note_missing(count_missing(position, first, self._positions.ends))
        self._is_new = False
        if not page:
            self._position = newest
        return page

    def wants(self, stored: StoredAnomaly) -> bool:
        """Whether an anomaly passes the filter of the output."""
        return self._filter.has_anomaly(stored.application, kind=stored.kind, score=stored.score)

    def _note_missing(self, count: int) -> None:
        if count:
            self.missed += count
            _log.error("anomalies went before they were sent", output=self.name, count=count)


class RecordFollower(Follower[OutRecord]):
    """Each anomaly as a log record."""

    def __init__(self, name: str, config: RecordOutput, sender: Sender[OutRecord], **places: Any) -> None:
        super().__init__(name, config, sender, max_per_s=config.max_per_s, **places)
        self._batch = config.batch

    async def step(self) -> bool:
        """See :class:`OutputRunner`."""
        page = await self.next_page(self._batch)
        if not page:
            return False
        await self.deliver([anomaly_record(stored, self.name) for stored in page if self.wants(stored)])
        last = page[-1].number
        await self.in_thread(lambda: self._positions.put(self.name, last))
        self._position = last
        return True

    def letter(self, item: OutRecord) -> dict[str, Any]:
        """See :class:`OutputRunner`."""
        return plain_record(item)


class AlertFollower(Follower[Notice]):
    """One alert for each group of anomalies."""

    def __init__(self, name: str, config: AlertOutput, sender: Sender[Notice], **places: Any) -> None:
        super().__init__(name, config, sender, **places)
        rules = AlertRules(
            repeat_s=config.repeat_s,
            resolve_s=config.resolve_s,
            max_per_minute=config.max_per_minute,
            resend_s=config.resend_s if isinstance(config, AlertmanagerOutput) else None,
        )
        self._book = AlertBook(rules, self._positions.alerts(name))
        self._looked = 0.0
        self._kept_position = self._position

    async def step(self) -> bool:
        """See :class:`OutputRunner`."""
        is_new = await self._count()
        if not is_new and time.monotonic() - self._looked < DUE_S:
            return False
        await self._settle()
        notices = self._book.due(time.time())[: self._sender.batch]
        await self._keep()
        if not notices:
            self._looked = time.monotonic()
            return False
        await self.deliver(notices)
        self._book.told(notices, now=time.time())
        await self._keep()
        self._looked = 0.0  # there may be more
        return True

    def letter(self, item: Notice) -> dict[str, Any]:
        """See :class:`OutputRunner`."""
        return plain_notice(item, self.name)

    async def _count(self) -> bool:
        """Count new anomalies in their alerts; whether there were any."""
        is_new = False
        while page := await self.next_page(_PAGE):
            self._book.see([_sighting(stored) for stored in page if self._tells(stored)], now=time.time())
            self._position = page[-1].number
            await self._keep()
            is_new = True
        return is_new

    def _tells(self, stored: StoredAnomaly) -> bool:
        is_said = stored.state in (AnomalyState.FALSE_POSITIVE, AnomalyState.EXPLAINED)
        return not is_said and not stored.is_muted and self.wants(stored)

    async def _settle(self) -> None:
        groups = self._book.group_ids
        if groups:
            self._book.settle(await self.in_thread(lambda: self._store.settled(groups)))

    async def _keep(self) -> None:
        """Bring the disk up to date: position and alerts together."""
        changed, gone = self._book.take_changes()
        position = self._position
        if changed or gone or position != self._kept_position:
            try:
                await self.in_thread(lambda: self._positions.put(self.name, position, changed, gone))
            except BaseException:
                self._book.put_back([*(alert.group_id for alert in changed), *gone])
                raise
            self._kept_position = position


def _sighting(stored: StoredAnomaly) -> Sighting:
    verdict = evidence_of(stored).verdict
    return Sighting(
        group_id=stored.group_id,
        at_s=stored.stored_ns / 1e9,
        application=stored.application,
        kind=kind_name(stored.kind),
        key=stored.key,
        template=verdict.template,
        reason=verdict.reason,
        diagnosis=verdict.diagnosis.text,
        session=stored.session,
        verdict_id=verdict_id(stored.number),
        score=stored.score,
    )
