"""Trains applications while they are served: when enough is seen, by schedule, or on request; one at a time.

A training is a process of its own (:mod:`deeplog_grpc.training.process`). What it makes comes into force like this, and
a kill at any point leaves the model before, or none: the bundle is on the disk; it passes the gate, if it replaces
another; its version is in the journal; the application's record names it; the detector is changed between two batches.
The entries that a new model was compared on stay out of its training: there is no second one with them.
"""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from deeplog_grpc.detection import ApplicationModel
from deeplog_grpc.errors import DeepLogError, InputError, RefusedError
from deeplog_grpc.parsing import Parser
from deeplog_grpc.serving.installation import TooFastError, confirmed_missed, replay
from deeplog_grpc.serving.learning import Learning
from deeplog_grpc.serving.lineage import Lineage
from deeplog_grpc.serving.queue import ScoringQueue
from deeplog_grpc.serving.right_of_way import prefer_scoring
from deeplog_grpc.serving.scoring import InstallJob, Job, Reply
from deeplog_grpc.serving.state import Kept, ServerState
from deeplog_grpc.serving.status import log_unexpected
from deeplog_grpc.serving.training_process import train
from deeplog_grpc.serving.updates import Updater
from deeplog_grpc.storage import bundle_checksum, load_bundle, save_bundle
from deeplog_grpc.training import Readiness, Replacement, readiness
from deeplog_grpc.training.process import TrainingOrder
from deeplog_grpc.training.readiness import LEAST_ENTRIES

LOOK_S = 1.0
"""Seconds between two looks for an application to train."""
TIDY_S = 10.0
"""Seconds between two times that samples are compressed and cut."""
TRY_AGAIN_S = 3_600.0
"""Seconds after a training that crashed; one that found too little waits for more entries as well."""
_NS = 1_000_000_000

_log = structlog.get_logger("deeplog_grpc.serving")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where the training of an application stands."""

    is_waiting: bool
    """It was asked for, and waits for that of another application."""
    progress: float | None
    """Of the one under way, in [0, 1]; None = there is none."""
    readiness: Readiness | None
    """Of an application that has no model."""
    next_ns: int
    """When the next one begins by schedule, in nanoseconds since 1970 UTC; 0 = by request or readiness only."""


class Trainings:
    """Trains the applications of a server.

    Parameters
    ----------
    state : ServerState
    learning : Learning
        Its thread makes all versions.
    queue : ScoringQueue
        Of the detectors.
    """

    def __init__(self, state: ServerState, learning: Learning, queue: ScoringQueue[Job, Reply]) -> None:
        self._state = state
        self._config = state.learning
        self._learning = learning
        self._queue = queue
        self._asked: dict[str, None] = {}
        self._under_way = ""
        self._progress = 0.0
        self.outcomes: Counter[str] = Counter()
        """Trainings by what became of them: ``installed``, ``refused`` (too little, or worse than what is there) or
        ``failed``."""
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._installing: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look for applications to train; needs a running event loop."""
        self._tasks = [
            asyncio.create_task(self._run(), name="trainings"),
            asyncio.create_task(self._tidy(), name="samples"),
        ]

    async def close(self) -> None:
        """Stop; a training under way is killed, and done again when it is due after the next start.

        A model that is about to come into force still does: detector and updater have to be of the same bundle.
        """
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._installing is not None:
            await asyncio.wait([self._installing])

    @property
    def under_way(self) -> str:
        """The application that is trained now; empty = none."""
        return self._under_way

    def ask(self, name: str) -> None:
        """Have an application trained now, or as soon as the one under way is done; nothing more if it is that one.

        Raises
        ------
        InputError
            If there is too little to learn from.
        """
        kept = self._state.kept[name]
        if self._under_way == name:
            return
        if kept.sample.entries < LEAST_ENTRIES:
            raise InputError(
                f"there is too little of '{name}' to learn from: {kept.sample.entries:,} entries are kept, and at "
                f"least {LEAST_ENTRIES} are needed",
                field="application",
            )
        self._asked[name] = None
        self._wake.set()

    def standing(self, name: str) -> Standing:
        """Where the training of an application stands."""
        kept = self._state.kept[name]
        return Standing(
            is_waiting=name in self._asked and self._under_way != name,
            progress=self._progress if self._under_way == name else None,
            readiness=self._readiness(kept),
            next_ns=0 if kept.learner is not None else self._due_ns(kept),
        )

    def _readiness(self, kept: Kept) -> Readiness | None:
        if kept.learner is None:
            return None
        seen = kept.learner.seen(time.time_ns())
        # What is not kept (a full disk) cannot be learned from; it is taken for what came first.
        lost = max(0, seen.entries - kept.sample.entries)
        seen = replace(
            seen,
            entries=seen.entries - lost,
            key_starts=tuple(max(0, start - lost) for start in seen.key_starts),
            entries_at_failure=kept.folder.record.entries_at_failure,
        )
        return readiness(seen, self._config)

    def _due_ns(self, kept: Kept) -> int:
        """When an application that has a model is trained anew by schedule; 0 = never."""
        if self._config.retrain_every_s is None:
            return 0
        record = kept.folder.record
        return max(record.trained_ns, record.tried_ns, record.begun_ns) + int(self._config.retrain_every_s * _NS)

    def _next(self) -> str:
        """The application to train now; empty = none. Those that were asked for go first."""
        if self._asked:
            return next(iter(self._asked))
        now_ns = time.time_ns()
        for name, kept in self._state.kept.items():
            found = self._readiness(kept)
            if found is not None and found.is_ready and not self._has_just_failed(kept, now_ns):
                return name
            if found is None and 0 < self._due_ns(kept) <= now_ns and kept.sample.entries >= LEAST_ENTRIES:
                return name
        return ""

    def _has_just_failed(self, kept: Kept, now_ns: int) -> bool:
        record = kept.folder.record
        crashed = bool(record.refusal) and not record.entries_at_failure
        return crashed and now_ns < record.tried_ns + int(TRY_AGAIN_S * _NS)

    async def _run(self) -> None:
        while True:
            if name := self._next():
                await self._train(name)
                continue
            self._wake.clear()
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(TIDY_S)
            for kept in list(self._state.kept.values()):
                try:
                    await asyncio.to_thread(kept.sample.tidy)
                except OSError as error:  # a full disk, say: the next time may do better
                    log_unexpected(error, "a sample cannot be tidied")

    async def _train(self, name: str) -> None:
        """Train an application; what goes wrong is noted, and the model before stays."""
        kept = self._state.kept[name]
        self._under_way, self._progress = name, 0.0
        _log.info("training started", application=name, entries=kept.sample.entries)
        changes: dict[str, Any] = {}
        outcome = "refused"
        try:
            changes = await self._trained(kept)
            outcome = "refused" if changes else "installed"
        except RefusedError:  # the server stops
            return
        except InputError as error:
            entries = kept.sample.entries if kept.learner is not None else 0
            changes = {"refusal": error.message, "entries_at_failure": entries}
        except DeepLogError as error:
            outcome, changes = "failed", {"refusal": str(error), "entries_at_failure": 0}
        except Exception as error:
            log_unexpected(error)
            outcome = "failed"
            changes = {"refusal": "an error inside the server, which logged it", "entries_at_failure": 0}
        finally:
            self._asked.pop(name, None)
            self._under_way = ""
        self.outcomes[outcome] += 1
        try:
            await asyncio.to_thread(partial(kept.folder.write, tried_ns=time.time_ns(), **changes))
            await asyncio.to_thread(kept.folder.clear)
        except OSError as error:
            log_unexpected(error)
        if refusal := changes.get("refusal"):
            _log.warning("training without a result", application=name, reason=refusal)

    async def _trained(self, kept: Kept) -> dict[str, Any]:
        """Train, check, install; the changes of the record that follow."""
        name = kept.folder.record.application
        current = await self._learning.in_thread(lambda: self._state.journal.current(name))
        version = 1 if current is None else current.version + 1
        out, old = kept.folder.directory / f"model-{version}", await self._saved(kept)
        stop = kept.sample.end
        order = TrainingOrder(
            application=name,
            version=version,
            sample=kept.folder.sample,
            segment=stop.segment,
            offset=stop.offset,
            out=out,
            recipe=self._state.recipe,
            old=old,
            held_out_share=0.0 if old is None else self._config.held_out_share,
        )
        done = await train(order, self._on_progress)
        if old is not None:
            refusal = Replacement(**done["replacement"]).refusal(max_rise=self._config.max_rise)
            refusal = refusal or await self._learning.in_update_thread(partial(self._lost, name, out))
            if refusal:
                return {"refusal": refusal, "entries_at_failure": 0}
        self._installing = asyncio.create_task(self._install(kept, out, done), name=f"installing {name}")
        await asyncio.shield(self._installing)
        return {}

    def _on_progress(self, progress: float) -> None:
        self._progress = progress

    async def _saved(self, kept: Kept) -> Path | None:
        """The model in force as a bundle for the process to compare with; None = there is none."""
        name = kept.folder.record.application
        if kept.learner is not None:
            return None
        state = (await self._learning.inspect(name)).parser_state
        place = kept.folder.directory / ".model-in-force"

        def save() -> None:
            model = replace(self._state.updaters[name].model, parser=Parser.from_state(state))
            save_bundle(model, place, report={})

        await self._learning.in_update_thread(save)
        return place

    def _lost(self, name: str, out: Path) -> str:
        """Why a new model must not replace the old one for what was confirmed; empty = it may."""
        updater = self._state.updaters[name]
        model = load_bundle(out)
        lineage = Lineage(
            model, bundle_checksum(out), self._state.journal, max_lessons=self._state.feedback.max_lessons
        )
        (before, _), (after, total) = confirmed_missed(updater.lineage, updater.model), confirmed_missed(lineage, model)
        if after <= before:
            return ""
        return f"{after:,} of {total:,} anomalies that were confirmed would be normal by it"

    async def _install(self, kept: Kept, out: Path, done: dict[str, Any]) -> None:
        name = kept.folder.record.application
        # An update of the application would be one of the model that goes.
        async with self._learning.exclusive(name):
            updater, job = await self._learning.in_update_thread(partial(self._made, kept, out, done))
            await self._change(updater, job)
            self._state.updaters[name] = updater
            kept.learner = None
        _log.info("detecting", application=name, version=updater.model.version, entries=done["entries"])

    async def _change(self, updater: Updater, job: InstallJob) -> None:
        try:
            await self._queue.add(job)
        except TooFastError:
            detector = await self._learning.in_update_thread(lambda: self._state.detector_of(updater))
            await self._queue.add(replace(job, detector=detector, missed=tuple))

    def _made(self, kept: Kept, out: Path, done: dict[str, Any]) -> tuple[Updater, InstallJob]:
        """A bundle made ready to judge by, and noted as the one that serves; in the thread that learns."""
        with prefer_scoring():
            model: ApplicationModel = load_bundle(out)
            updater = self._state.updater_of(model, bundle_checksum(out))
            kept.folder.write(
                bundle=out.name,
                given=kept.given,
                trained_ns=time.time_ns(),
                entries=done["entries"],
                sessions=done["sessions"],
                log_keys=done["log_keys"],
                refusal="",
                entries_at_failure=0,
            )
            detector = self._state.detector_of(updater)
            missed: Any = tuple
            try:
                missed = replay(detector, kept.sample, model.timeout_s, self._state.right_of_way.pause)
            except TooFastError:
                detector = self._state.detector_of(updater)
        job = InstallJob(
            application=model.application,
            detector=detector,
            drift=self._state.drift_of(updater),
            sample=None,
            missed=missed,
        )
        return updater, job
