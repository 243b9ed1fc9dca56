"""Feedback while scoring goes on: one update of an application at a time, in a thread of its own, then swapped in.

The scoring thread is asked twice for a moment between two batches: for the parser's state, and to adopt the new
version. All else (gradient steps, gate, disk) is done beside it.
"""

import asyncio
import contextvars
import hashlib
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast

import orjson
import structlog

from deeplog_grpc.errors import DeepLogError, DrainingError, InputError, RefusedError
from deeplog_grpc.parsing.templates import WILDCARD, match_pieces
from deeplog_grpc.serving.feedback_answers import response_of
from deeplog_grpc.serving.queue import ScoringQueue
from deeplog_grpc.serving.right_of_way import be_nice, prefer_scoring
from deeplog_grpc.serving.scoring import AdoptJob, DoneReply, InspectJob, Job, Reply
from deeplog_grpc.serving.status import log_unexpected
from deeplog_grpc.serving.updates import Applied, Updater
from deeplog_grpc.storage import Accepted, AnomalyStore, Journal, NewRecord, Record, RecordKind
from deeplog_grpc.v1 import feedback_pb2

SAVE_PARSER_S = 60.0
"""Seconds after which the parser's state is saved though nothing was learned. After a kill, log keys newer than that
are numbered anew."""

PRUNED_AT_ONCE = 1_000
"""Old anomalies that go each time, beside those that make room for new ones."""

Result = TypeVar("Result")

_log = structlog.get_logger("deeplog_grpc.serving")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a client asks for."""

    application: str
    feedback_id: str
    kind: RecordKind
    actor: str
    note: str
    asked: Mapping[str, Any]
    """The request as plain data: the same again is a repetition."""

    @property
    def digest(self) -> str:
        """Tells a repetition from another use of the same name."""
        return hashlib.sha256(orjson.dumps(self.asked, option=orjson.OPT_SORT_KEYS)).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What an order means, as it was looked up."""

    content: Mapping[str, Any]
    """For the journal."""
    templates: Mapping[int, str]
    """The log keys that it speaks of, with the template that each had when it was stored; empty = not known."""


class Learning:
    """Takes feedback for all applications of a server.

    Parameters
    ----------
    updaters : mapping of str to Updater
        By application; looked at anew each time, for there may be others later.
    journal : Journal
    store : AnomalyStore
    queue : ScoringQueue
        Of the detectors.
    """

    def __init__(
        self,
        updaters: Mapping[str, Updater],
        journal: Journal,
        store: AnomalyStore,
        queue: ScoringQueue[Job, Reply],
    ) -> None:
        self._updaters = updaters
        self._journal = journal
        self._store = store
        self._queue = queue
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="learning", initializer=be_nice)
        self._looks = ThreadPoolExecutor(1, thread_name_prefix="looks")
        """Who looks at what is stored does not wait for an update."""
        self._orders: set[asyncio.Task[feedback_pb2.FeedbackResponse]] = set()
        self._under_way: dict[int, asyncio.Task[feedback_pb2.FeedbackResponse]] = {}
        self._saved: dict[str, tuple[str, bytes]] = {}
        """Application -> bundle, and the parser's state that was saved last."""
        self._saver: asyncio.Task[None] | None = None
        self._is_closing = False
        self.outcomes: Counter[tuple[RecordKind, int]] = Counter()
        """What became of feedback, by its kind and :class:`~deeplog_grpc.v1.feedback_pb2.FeedbackOutcome`."""
        self.on_update: Callable[[float], None] = lambda seconds: None
        """Told how long each update took."""

    async def take(self, order: Order, find: Callable[[], Found]) -> feedback_pb2.FeedbackResponse:
        """Do what is asked, once.

        Parameters
        ----------
        find : callable
            Looks up what the order means; called in the learning thread, and not at all for a repetition.

        Raises
        ------
        InputError
            If the name was used for something else, the target is not there, or its log keys are not known.
        RefusedError
            If the server is about to stop.
        """
        if self._is_closing:
            raise DrainingError("the server is stopping: send the feedback to another, or again when it is back")
        # A task of its own: a client that goes away must leave no record that nobody works on, and no half update.
        task = asyncio.create_task(self._take(order, find), name=f"order {order.feedback_id}")
        self._orders.add(task)
        task.add_done_callback(self._orders.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_log_failure)
            raise

    async def _take(self, order: Order, find: Callable[[], Found]) -> feedback_pb2.FeedbackResponse:
        accepted = await self._accepted(order, find)
        record, is_repeat = accepted.record, accepted.is_repeat
        if record.outcome is not None:
            return response_of(record)
        task = self._under_way.get(record.sequence)
        if task is None:
            task = asyncio.create_task(self._apply(record), name=f"feedback {record.sequence}")
            self._under_way[record.sequence] = task
            task.add_done_callback(lambda _: self._under_way.pop(record.sequence, None))
        response = await task
        if is_repeat:
            response = feedback_pb2.FeedbackResponse.FromString(response.SerializeToString())
            response.is_repeat = True
        return response

    async def inspect(self, application: str, keys: Collection[int] = (), *, session: str = "") -> DoneReply:
        """What only the scoring thread may look at: parser's state, templates, drift, a session's way."""
        job = InspectJob(application=application, keys=tuple(keys), session=session)
        return cast(DoneReply, await self._queue.add(job))

    def exclusive(self, application: str) -> asyncio.Lock:
        """Held while an application is updated; who puts another updater in its place must hold it too."""
        return self._locks[application]

    async def in_update_thread(self, work: Callable[[], Result]) -> Result:
        """Run what makes a version where all versions are made: one after the other, beside the scoring."""
        return await self._in_thread(work)

    async def in_thread(self, work: Callable[[], Result]) -> Result:
        """Run a look at the journal or the store beside the event loop, and beside updates.

        It knows what the caller may see, which is a matter of the context.
        """
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._looks, lambda: context.run(work))

    def start(self) -> None:
        """Begin to save the parsers' states now and then; needs a running event loop."""
        self._saver = asyncio.create_task(self._save_now_and_then(), name="parser states")

    async def close(self) -> None:
        """Finish what was accepted, and save the parsers' states; new feedback is refused."""
        self._is_closing = True
        if self._saver is not None:
            self._saver.cancel()
        while self._orders:
            await asyncio.wait(list(self._orders))
        try:
            await self._save_parsers()
        except Exception as error:  # a full disk, say: what else there is to finish must not suffer
            log_unexpected(error)
        self._thread.shutdown(wait=True)

    def end(self) -> None:
        """After the last call."""
        self._looks.shutdown(wait=True, cancel_futures=True)

    async def _save_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(SAVE_PARSER_S)
            try:
                await self._save_parsers()
                await self._in_thread(lambda: self._store.prune(PRUNED_AT_ONCE))  # where nothing comes, age counts too
            except Exception as error:  # a full disk, say: the next time may do better
                log_unexpected(error)

    async def _save_parsers(self) -> None:
        """Save the parsers' states where they have changed."""
        for application in list(self._updaters):
            state = (await self.inspect(application)).parser_state
            # Looked up after the answer: it is the updater of the detector that gave it.
            await self._in_thread(partial(self._save_parser, self._updaters[application], state))

    def _save_parser(self, updater: Updater, state: Mapping[str, Any]) -> None:
        content = orjson.dumps(state)
        if self._saved.get(updater.application) != (updater.checksum, content):
            updater.save_parser(content)
            self._saved[updater.application] = (updater.checksum, content)

    async def _accepted(self, order: Order, find: Callable[[], Found]) -> Accepted:
        """Put the order on the disk, or find it there."""
        application = order.application
        earlier = await self._in_thread(
            lambda: self._journal.find(application, order.feedback_id, kind=order.kind, digest=order.digest)
        )
        if earlier is not None:
            return Accepted(record=earlier, is_repeat=True)
        found, known = await self._looked_up(application, find)
        _check_keys(found.templates, known.templates)
        updater = self._updaters[application]
        new = NewRecord(
            application=application,
            feedback_id=order.feedback_id,
            kind=order.kind,
            actor=order.actor,
            note=order.note,
            digest=order.digest,
            content={"asked": dict(order.asked), "base": updater.checksum, **found.content},
        )

        def accept() -> Accepted:
            # First: after a kill, the log keys of a record must mean what they mean now.
            self._save_parser(updater, known.parser_state)
            return self._journal.accept(new)

        return await self._in_thread(accept)

    async def _looked_up(self, application: str, find: Callable[[], Found]) -> tuple[Found, DoneReply]:
        """What an order means, and what the detector says of it: both by the same bundle."""
        while True:
            updater = self._updaters[application]
            found = await self._in_thread(find)
            known = await self.inspect(application, found.templates)
            if self._updaters[application] is updater:
                return found, known

    async def _apply(self, record: Record) -> feedback_pb2.FeedbackResponse:
        application = record.application
        async with self._locks[application]:
            began_s = time.monotonic()
            updater = self._updaters[application]
            state = (await self.inspect(application)).parser_state
            applied = await self._in_thread(lambda: self._applied(updater, record, state))
            if applied.judges is not None:
                await self._adopt(application, applied, is_adapted=record.kind == "adapt")
            self.on_update(time.monotonic() - began_s)
        self.outcomes[record.kind, applied.response.outcome] += 1
        _log.info(
            "feedback",
            application=application,
            feedback_id=record.feedback_id,
            version=applied.response.model_version,
            outcome=feedback_pb2.FeedbackOutcome.Name(applied.response.outcome),
        )
        return applied.response

    def _applied(self, updater: Updater, record: Record, state: Mapping[str, Any]) -> Applied:
        # First: the version to come may know log keys that the parser saved before does not.
        with prefer_scoring():
            self._save_parser(updater, state)
            return updater.apply(record)

    async def _adopt(self, application: str, applied: Applied, *, is_adapted: bool) -> None:
        judges = applied.judges
        if judges is None:
            return
        try:
            await self._queue.add(AdoptJob(application=application, judges=judges, is_adapted=is_adapted))
        except RefusedError:
            _log.info("the server stops: the new version comes into force with the next start", application=application)

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _check_keys(meant: Mapping[int, str], known: Mapping[int, str]) -> None:
    """Refuse what speaks of log keys that are not there, or stand for other messages than they did.

    A kill takes the log keys with it that came since the parser was saved last; their numbers are given away again.
    """
    for key, template in meant.items():
        if key not in known:
            raise InputError(f"there is no log key {key}, or no longer: name a newer anomaly", field="target")
        if template and not (_covers(known[key], template) or _covers(template, known[key])):
            raise InputError(
                f"log key {key} stood for {template[:80]!r} then, and is another one since a restart: name a newer "
                "anomaly",
                field="target",
            )


def _covers(general: str, special: str) -> bool:
    return match_pieces(general.split(WILDCARD), special) is not None


def _log_failure(order: "asyncio.Task[feedback_pb2.FeedbackResponse]") -> None:
    """Say what became of an order whose client has gone away."""
    error = None if order.cancelled() else order.exception()
    if error is not None and not isinstance(error, DeepLogError):
        log_unexpected(error)
