"""What happens to all that is scored, beside answering it: anomalies are stored, and drift is looked for."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import structlog

from deeplog_grpc.detection.entries import EntryBatch
from deeplog_grpc.detection.verdicts import Kind
from deeplog_grpc.feedback import DriftMonitor, DriftReport
from deeplog_grpc.serving.detectors import ScoredBatch
from deeplog_grpc.serving.recorder import AnomalyRecorder, Noted

_log = structlog.get_logger("deeplog_grpc.serving")


class Watch:
    """Called by the scoring worker, in its thread.

    Parameters
    ----------
    recorder : AnomalyRecorder
    drift : mapping of str to DriftMonitor
        By application.
    """

    def __init__(self, recorder: AnomalyRecorder, drift: Mapping[str, DriftMonitor]) -> None:
        self._recorder = recorder
        self._drift = drift
        self._drifting: set[str] = set()

    def seen(self, application: str, batch: EntryBatch, scored: ScoredBatch, *, now_ns: int) -> None:
        """A batch was scored.

        Parameters
        ----------
        now_ns : int
            Event time of the application.
        """
        self._recorder.seen(application, batch, scored.sessions)
        unseen = int(np.count_nonzero(scored.kinds == Kind.UNSEEN_KEY)) + len(scored.stands_for)
        self._drift[application].add(now_ns, entries=len(batch), alarms={}, unseen=unseen)

    def record(self, application: str, noted: Sequence[Noted], *, now_ns: int) -> None:
        """Anomalies are about to be answered."""
        self._recorder.record(application, noted, now_ns=now_ns)
        monitor = self._drift[application]
        monitor.add(now_ns, entries=0, alarms=Counter(one.message.key for one in noted), unseen=0)
        if monitor.is_drifting != (application in self._drifting):
            self._drifting ^= {application}
            _log.warning("drift" if monitor.is_drifting else "drift is over", application=application)

    def adapted(self, application: str) -> None:
        """The models have learned what was abnormal as normal."""
        self._drift[application].adapted()

    def report(self, application: str) -> DriftReport:
        """How an application's logs have moved away from training."""
        return self._drift[application].report()
