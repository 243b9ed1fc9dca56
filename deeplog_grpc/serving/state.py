"""What a server keeps on disk, opened together: the journal, the stored anomalies, each application's version."""

import os
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import structlog

from deeplog_grpc.detection import ApplicationModel, Detector, DetectorConfig, Judges
from deeplog_grpc.errors import BundleError, StateError
from deeplog_grpc.feedback import DriftConfig, DriftMonitor, FeedbackConfig
from deeplog_grpc.serving.config import RecoveryConfig
from deeplog_grpc.serving.detectors import Scorer
from deeplog_grpc.serving.learning_detector import LearningDetector
from deeplog_grpc.serving.recorder import AnomalyRecorder
from deeplog_grpc.serving.recovery import Recovery, Restored
from deeplog_grpc.serving.right_of_way import RightOfWay
from deeplog_grpc.serving.shard_links import ProcessLink
from deeplog_grpc.serving.sharded_detector import ShardedDetector
from deeplog_grpc.serving.shards import Shards
from deeplog_grpc.serving.status import log_unexpected
from deeplog_grpc.serving.updates import Updater
from deeplog_grpc.serving.watch import Watch
from deeplog_grpc.storage import (
    AnomalyStore,
    ApplicationFolder,
    Journal,
    SampleLog,
    StateConfig,
    application_folders,
    bundle_checksum,
    load_bundle,
    new_folder,
    newest_entries,
)
from deeplog_grpc.storage.anomaly_rows import BOOT_BITS
from deeplog_grpc.storage.holding import hold
from deeplog_grpc.storage.recovery import RecoveryLog
from deeplog_grpc.storage.redaction import Redactor
from deeplog_grpc.storage.redaction_config import RedactionConfig
from deeplog_grpc.training import LearningConfig, Recipe

LOCK = "lock"
JOURNAL = "journal.sqlite"
ANOMALIES = "anomalies.sqlite"
RECOVERY = "recovery"
_MIB = 1 << 20
TAKEN_UP = 20_000
"""Entries of its sample, the newest, that an application which was still learning parses again at a start."""
FIXED = LearningConfig(enabled=False)
NOT_REDACTED = RedactionConfig()

_log = structlog.get_logger("deeplog_grpc.serving")

Models = Mapping[str, tuple[ApplicationModel, str]]
"""Application -> what its bundle holds, and the bundle's checksum."""


@dataclass(slots=True, kw_only=True, eq=False)
class Kept:
    """An application that learns, or can be trained anew."""

    folder: ApplicationFolder
    sample: SampleLog
    given: str
    """Checksum of the bundle that the server was started with; empty = none."""
    learner: LearningDetector | None
    """Until it has a model."""


class ServerState:
    """The databases of a server, and what stands on them.

    Parameters
    ----------
    directory : Path
        Folder of the databases; of one server at a time.
    models : mapping of str to (ApplicationModel, str)
        Application -> what its bundle holds, and the bundle's checksum. A model that was learned here in the place of
        that very bundle comes before it.
    state, feedback, drift, detector : configurations
    learning : LearningConfig
        Whether applications are learned; those that were are served either way.
    recipe : Recipe
        How they are trained.
    recovery : RecoveryConfig
        Whether open sessions are kept.
    workers : int
        Processes that track sessions and judge them; 1 = this one alone.
    torch_threads : int
        Of one matrix product in each of them.
    redaction : RedactionConfig
        What is not stored of log text.

    Raises
    ------
    StateError
        If another server has the folder, or a database is damaged, of a newer format, or cannot be opened.
    """

    def __init__(
        self,
        directory: Path,
        models: Models,
        *,
        state: StateConfig,
        feedback: FeedbackConfig,
        drift: DriftConfig,
        detector: DetectorConfig,
        learning: LearningConfig = FIXED,
        recipe: Recipe | None = None,
        recovery: RecoveryConfig | None = None,
        workers: int = 1,
        torch_threads: int = 1,
        redaction: RedactionConfig = NOT_REDACTED,
    ) -> None:
        self.directory = directory
        self.redactor = Redactor(redaction) if redaction.is_on else None
        """Takes secrets out of evidence; None = there is nothing to take out."""
        self._sample_redactor = self.redactor if redaction.samples else None
        self.feedback = feedback
        self.learning = learning
        self.recipe = recipe or Recipe()
        self._drift, self._detector = drift, detector
        self._lock = hold(
            directory / LOCK,
            field=directory,
            unopened="cannot be opened",
            in_use="another server keeps its state here: stop it, or give another folder (--state)",
        )
        self.shards: Shards | None = None
        """The other processes."""
        try:
            if workers > 1:
                self.shards = Shards(workers, partial(ProcessLink, torch_threads))
            self._open(models, state, recovery or RecoveryConfig())
        except BaseException as error:
            self._end_shards()
            os.close(self._lock)
            if isinstance(error, sqlite3.Error):  # damage is met where it is read, and a full disk where it is written
                message = f"a database cannot be used: {error}; restore it from a backup, or move it away"
                raise StateError(message, field=str(directory)) from error
            raise

    def _open(self, models: Models, state: StateConfig, recovery: RecoveryConfig) -> None:
        directory = self.directory
        self.journal = Journal(directory / JOURNAL, keep_versions=state.keep_versions)
        self.anomalies = AnomalyStore(directory / ANOMALIES, max_age_s=state.max_age_s, max_bytes=state.max_mb * _MIB)
        self.right_of_way = RightOfWay()
        folders = {folder.record.application: folder for folder in application_folders(directory)}
        served = {**models, **_learned(folders, models)}
        self.updaters = {name: self.updater_of(model, checksum) for name, (model, checksum) in served.items()}
        self.detectors: dict[str, Scorer] = {name: self.detector_of(updater) for name, updater in self.updaters.items()}
        self.recorder = AnomalyRecorder(self.anomalies, context_entries=state.context_entries, redactor=self.redactor)
        drift = {name: self.drift_of(updater) for name, updater in self.updaters.items()}
        self.watch = Watch(self.recorder, drift, redactor=self._sample_redactor)
        self.kept: dict[str, Kept] = {}
        if self.learning.enabled:
            for name in dict.fromkeys((*folders, *served)):
                given = models[name][1] if name in models else ""
                folder = folders.get(name) or self._begun(name, time.time_ns())
                kept = self._kept(folder, given, learns=name not in served)
                self.kept[name] = kept
                if kept.learner is not None:
                    self.detectors[name] = kept.learner
                self.watch.install(name, None, kept.sample)
        self.recovery: Recovery | None = None
        """What is applied to the detectors, written down."""
        self.restored = Restored()
        """What the server before left behind."""
        if recovery.enabled:
            self._recover(recovery)

    def _recover(self, config: RecoveryConfig) -> None:
        """Go on where the server before stopped."""
        log, store = RecoveryLog(self.directory / RECOVERY), self.anomalies
        self.recovery = recovery = Recovery(
            log,
            config,
            start=store.start,
            last_number=lambda: self.recorder.last_number,
            keeps_text=self.redactor is None,
        )
        self.restored = restored = recovery.restore(self.detectors, seen=self.recorder.seen)
        for name in restored.failed & self.updaters.keys():
            self.detectors[name] = self.detector_of(self.updaters[name])
        if restored.last_number is not None:
            # They were stored, but what they are about was never answered: it will come again, and they with it.
            store.remove_after(max(restored.last_number, (store.start - 1) << BOOT_BITS))
        recovery.begin(self.detectors)

    def begin(self, application: str, now_ns: int) -> Kept:
        """Make ready for the first entry of an application, at a time in nanoseconds since 1970 UTC."""
        return self._kept(self._begun(application, now_ns), "", learns=True)

    def updater_of(self, model: ApplicationModel, checksum: str) -> Updater:
        """The updater of what a bundle holds; publishes its version if it is a new one."""
        return Updater(
            model,
            checksum,
            journal=self.journal,
            store=self.anomalies,
            config=self.feedback,
            judges_of=partial(Judges, cache_bytes=self._detector.cache_mb * _MIB),
            pause=self.right_of_way.pause,
        )

    def detector_of(self, updater: Updater) -> Scorer:
        """A detector of an updater's version in force."""
        if self.shards is not None:
            sharded = ShardedDetector(updater.model, self._detector, self.shards)
            updater.scores_by(sharded.judges, sharded.prepare)
            return sharded
        detector = Detector(updater.model, self._detector)
        updater.scores_by(detector.judges)
        return detector

    def drift_of(self, updater: Updater) -> DriftMonitor:
        """What looks for drift of an application."""
        return DriftMonitor(self._drift, expected_share=expected_share(updater.model))

    def close(self) -> None:
        """End the other processes, close the databases, and let another server have the folder."""
        if self.recovery is not None:
            self.recovery.end()
        self._end_shards()
        for kept in self.kept.values():
            kept.sample.close()
        self.journal.close()
        self.anomalies.close()
        os.close(self._lock)

    def _end_shards(self) -> None:
        if self.shards is not None:
            self.shards.close()

    def _begun(self, application: str, now_ns: int) -> ApplicationFolder:
        folder = new_folder(self.directory, application, begun_ns=now_ns)
        try:
            folder.write()
        except OSError as error:  # a full disk, say: it is served all the same, and begun again after a restart
            log_unexpected(error, "the record of an application cannot be written")
        return folder

    def _kept(self, folder: ApplicationFolder, given: str, *, learns: bool) -> Kept:
        name, begun_ns = folder.record.application, folder.record.begun_ns
        sample = SampleLog(folder.sample, keep_bytes=self.learning.keep_mb * _MIB, keep_s=self.learning.keep_s)
        learner = None
        if learns:
            learner = LearningDetector(name, self.recipe.parser, self.recipe.sessions, begun_ns=begun_ns)
            if sample.entries:
                newest = newest_entries(folder.sample, stop=sample.end, entries=TAKEN_UP, span_ns=0)
                learner.take_up(sample.entries, [newest])
        return Kept(folder=folder, sample=sample, given=given, learner=learner)


def _learned(folders: Mapping[str, ApplicationFolder], models: Models) -> dict[str, tuple[ApplicationModel, str]]:
    """The bundles that were learned, but for those in whose place a newer one is given."""
    found = {}
    for name, folder in folders.items():
        given = models[name][1] if name in models else ""
        if folder.bundle is None or (given and folder.record.given != given):
            continue
        try:
            found[name] = load_bundle(folder.bundle), bundle_checksum(folder.bundle)
        except BundleError as error:
            _log.error("a learned bundle cannot be used: the application is learned anew", error=str(error))
    return found


def expected_share(model: ApplicationModel) -> float:
    """Share of an application's entries that its calibration promises to flag by mistake."""
    known = model.behaviour.known
    lengths = [len(session.keys) for session in (*known.replayed, *known.held_out)]
    rate = model.behaviour.calibration.config.false_positive_rate
    return min(1.0, rate / max(1.0, float(np.mean(lengths)))) if lengths else rate
