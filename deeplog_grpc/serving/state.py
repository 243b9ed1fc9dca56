"""What a server keeps on disk, opened together: the journal, the stored anomalies, each application's version."""

import fcntl
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from deeplog_grpc.detection import ApplicationModel, Detector, DetectorConfig, Judges
from deeplog_grpc.errors import StateError
from deeplog_grpc.feedback import DriftConfig, DriftMonitor, FeedbackConfig
from deeplog_grpc.serving.recorder import AnomalyRecorder
from deeplog_grpc.serving.right_of_way import RightOfWay
from deeplog_grpc.serving.updates import Updater
from deeplog_grpc.serving.watch import Watch
from deeplog_grpc.storage import AnomalyStore, Journal, StateConfig

LOCK = "lock"
JOURNAL = "journal.sqlite"
ANOMALIES = "anomalies.sqlite"
_MIB = 1 << 20


class ServerState:
    """The databases of a server, and what stands on them.

    Parameters
    ----------
    directory : Path
        Folder of the databases; of one server at a time.
    models : mapping of str to (ApplicationModel, str)
        Application -> what its bundle holds, and the bundle's checksum.
    state, feedback, drift, detector : configurations

    Raises
    ------
    StateError
        If another server has the folder, or a database is damaged, of a newer format, or cannot be opened.
    """

    def __init__(
        self,
        directory: Path,
        models: Mapping[str, tuple[ApplicationModel, str]],
        *,
        state: StateConfig,
        feedback: FeedbackConfig,
        drift: DriftConfig,
        detector: DetectorConfig,
    ) -> None:
        self._lock = lock(directory)
        try:
            self._open(directory, models, state, feedback, drift, detector)
        except BaseException:
            os.close(self._lock)
            raise

    def _open(
        self,
        directory: Path,
        models: Mapping[str, tuple[ApplicationModel, str]],
        state: StateConfig,
        feedback: FeedbackConfig,
        drift: DriftConfig,
        detector: DetectorConfig,
    ) -> None:
        self.journal = Journal(directory / JOURNAL, keep_versions=state.keep_versions)
        self.anomalies = AnomalyStore(directory / ANOMALIES, max_age_s=state.max_age_s, max_bytes=state.max_mb * _MIB)
        self.feedback = feedback
        self.right_of_way = RightOfWay()
        self.updaters = {
            application: Updater(
                model,
                checksum,
                journal=self.journal,
                store=self.anomalies,
                config=feedback,
                judges_of=partial(Judges, cache_bytes=detector.cache_mb * _MIB),
                pause=self.right_of_way.pause,
            )
            for application, (model, checksum) in models.items()
        }
        self.detectors = {name: Detector(updater.model, detector) for name, updater in self.updaters.items()}
        for name, detector_of_name in self.detectors.items():
            self.updaters[name].scores_by(detector_of_name.judges)
        self.recorder = AnomalyRecorder(self.anomalies, context_entries=state.context_entries)
        self.watch = Watch(
            self.recorder,
            {
                name: DriftMonitor(drift, expected_share=expected_share(updater.model))
                for name, updater in self.updaters.items()
            },
        )

    def close(self) -> None:
        """Close the databases, and let another server have the folder."""
        self.journal.close()
        self.anomalies.close()
        os.close(self._lock)


def lock(directory: Path) -> int:
    """Take a folder for this process alone; given back when the descriptor is closed, by a kill too.

    Raises
    ------
    StateError
        If another process has it, or it cannot be made.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StateError(f"cannot be opened: {error.strerror}", field=str(directory)) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise StateError(
            "another server keeps its state here: stop it, or give another folder (--state)", field=str(directory)
        ) from error
    return descriptor


def expected_share(model: ApplicationModel) -> float:
    """Share of an application's entries that its calibration promises to flag by mistake."""
    known = model.behaviour.known
    lengths = [len(session.keys) for session in (*known.replayed, *known.held_out)]
    rate = model.behaviour.calibration.config.false_positive_rate
    return min(1.0, rate / max(1.0, float(np.mean(lengths)))) if lengths else rate
