"""Every record back, with what was said of it: taken in with the answer, kept on disk, sent on by a task.

Invariant: a record whose batch was answered is in the queue of each output that wants it, or counted as dropped. Where
the queue is full and must not drop, the batch is refused instead, and its sender sends it again.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from deeplog_grpc.errors import SpoolFullError
from deeplog_grpc.ingest.own import OUTPUT_ATTRIBUTE, which_are_own
from deeplog_grpc.ingest.records import Records
from deeplog_grpc.outputs.config import RecordOutput
from deeplog_grpc.outputs.dead_letters import DeadLetters
from deeplog_grpc.outputs.encoding import pack, plain_record, unpack
from deeplog_grpc.outputs.filters import Filter
from deeplog_grpc.outputs.runner import OutputRunner
from deeplog_grpc.outputs.senders import Sender
from deeplog_grpc.outputs.shapes import OutRecord, redacted_record, scored_record
from deeplog_grpc.storage import Spool
from deeplog_grpc.storage.redaction import Redactor
from deeplog_grpc.v1 import deeplog_service_pb2, verdict_pb2

_MIB = 1 << 20
_FULL_SHARE = 0.9
"""From here on nothing new is let in; what is being scored already still finds room, as a rule."""

_log = structlog.get_logger("deeplog_grpc.outputs")


class RecordQueue:
    """The scored records of an output that wait, on disk.

    Parameters
    ----------
    name : str
        Of the output.
    config : RecordOutput
    path : Path
        The file.
    redactor : Redactor, optional
        Takes secrets out where only anomalies are passed on. Where all is, it is the log itself that goes on.

    Raises
    ------
    StateError
        If another process has it, or it is damaged.
    """

    def __init__(self, name: str, config: RecordOutput, path: Path, *, redactor: Redactor | None = None) -> None:
        self.name = name
        self.may_drop = config.when_full == "drop"
        self.dropped = 0
        """Records that were not kept, for there was no room."""
        self._max_bytes = config.queue_mb * _MIB
        self.spool = Spool(path, max_bytes=self._max_bytes, sync="normal")
        self._batch = config.batch
        self._only_anomalies = config.only == "anomalies"
        self._filter = Filter(config)
        self._redactor = redactor if self._only_anomalies else None
        self._is_full = False

    def check(self) -> None:
        """Make sure that there is room for more, unless it may be dropped.

        Raises
        ------
        SpoolFullError
            If the queue is nearly full.
        """
        if not self.may_drop and self.spool.backlog_bytes > _FULL_SHARE * self._max_bytes:
            raise SpoolFullError(f"the queue of the output '{self.name}' is full")

    def add(self, records: Records, verdicts: Mapping[int, verdict_pb2.Verdict]) -> None:
        """Keep the records that the output wants; none that was sent out before, which would go round for ever.

        Parameters
        ----------
        verdicts : mapping of int to Verdict
            By position in the records; a record may have none.

        Raises
        ------
        SpoolFullError
            If there is no room, and nothing may be dropped; nothing was kept.
        """
        resources = {id(origin): {**origin.resource, OUTPUT_ATTRIBUTE: self.name} for origin in records.origins}
        own = which_are_own(records)
        wanted = [
            scored_record(records, place, verdicts.get(place), self.name, resources[id(origin)])
            for place, origin in enumerate(records.origins)
            if not own[place] and self._wants(verdicts.get(place))
        ]
        if self._redactor is not None:
            wanted = [redacted_record(record, self._redactor) for record in wanted]
        payloads = [pack(wanted[first : first + self._batch]) for first in range(0, len(wanted), self._batch)]
        try:
            self.spool.append(payloads)
        except SpoolFullError:
            if not self.may_drop:
                raise
            self.dropped += len(wanted)
            if not self._is_full:
                _log.error("queue of an output is full: records are dropped", output=self.name)
            self._is_full = True
        else:
            self._is_full = False

    def _wants(self, verdict: verdict_pb2.Verdict | None) -> bool:
        if verdict is None:
            return not self._only_anomalies
        if not self._only_anomalies:
            return self._filter.has_application(verdict.application)
        return verdict.kind != verdict_pb2.KIND_NORMAL and self._filter.has_anomaly(
            verdict.application, kind=verdict.kind, score=verdict.score
        )


class Passthrough:
    """Takes records with their answers, for all outputs that want them. A ``RecordSink``.

    Parameters
    ----------
    queues : sequence of RecordQueue
    """

    def __init__(self, queues: Sequence[RecordQueue]) -> None:
        # Those that may refuse come first: what was kept by others before would be kept twice.
        self._queues = sorted(queues, key=lambda queue: queue.may_drop)

    def add(self, records: Records, response: deeplog_service_pb2.ScoreResponse) -> None:
        """Keep records with what was said of them.

        Parameters
        ----------
        records : Records
        response : ScoreResponse
            With the verdicts on all of them.

        Raises
        ------
        SpoolFullError
            If there is no room: refuse the records.
        """
        verdicts = {verdict.index: verdict for verdict in response.verdicts}
        for queue in self._queues:  # first: what one has kept would be kept twice if another refused
            queue.check()
        for queue in self._queues:
            queue.add(records, verdicts)


class QueueRunner(OutputRunner[OutRecord]):
    """Sends on what waits in a queue.

    Parameters
    ----------
    queue : RecordQueue
    config : RecordOutput
    sender : Sender
    """

    def __init__(
        self,
        queue: RecordQueue,
        config: RecordOutput,
        sender: Sender[OutRecord],
        *,
        thread: ThreadPoolExecutor,
        dead_letters: DeadLetters,
    ) -> None:
        super().__init__(
            queue.name, config, sender, thread=thread, dead_letters=dead_letters, max_per_s=config.max_per_s
        )
        self._spool = queue.spool

    @property
    def waiting(self) -> int:
        """Batches on the disk that are not sent."""
        return self._spool.backlog_count

    async def step(self) -> bool:
        """See :class:`OutputRunner`."""
        if not self._spool.backlog_count:
            return False
        found = await self.in_thread(lambda: self._spool.read(0, max_count=1, max_bytes=1))
        for sequence, payload in found:
            await self.deliver(unpack(payload))
            await self.in_thread(partial(self._spool.acknowledge, sequence))
        return bool(found)

    def letter(self, item: OutRecord) -> dict[str, Any]:
        """See :class:`OutputRunner`."""
        return plain_record(item)
