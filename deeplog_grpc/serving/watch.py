"""What happens to all that is scored, beside answering it: anomalies and entries are kept, drift is looked for."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import structlog

from deeplog_grpc.detection.entries import EntryBatch
from deeplog_grpc.detection.verdicts import EndReason, Kind, Verdict
from deeplog_grpc.feedback import DriftMonitor, DriftReport
from deeplog_grpc.serving.detectors import ScoredBatch
from deeplog_grpc.serving.recorder import AnomalyRecorder, Noted
from deeplog_grpc.storage import SampleLog
from deeplog_grpc.storage.redaction import Redactor

COMPLAIN_S = 60.0
"""Seconds between two complaints about entries that cannot be kept."""

_log = structlog.get_logger("deeplog_grpc.serving")


class Watch:
    """Called by the scoring worker, in its thread.

    Parameters
    ----------
    recorder : AnomalyRecorder
    drift : mapping of str to DriftMonitor
        By application.
    redactor : Redactor, optional
        Takes secrets out of the samples.
    """

    def __init__(
        self, recorder: AnomalyRecorder, drift: Mapping[str, DriftMonitor], *, redactor: Redactor | None = None
    ) -> None:
        self._recorder = recorder
        self._drift = dict(drift)
        self._redactor = redactor
        self._samples: dict[str, SampleLog] = {}
        self._drifting: set[str] = set()
        self._complained_s = -COMPLAIN_S
        self.anomalies: Counter[tuple[str, int]] = Counter()
        """By application and kind. Other threads may copy it, as the next."""
        self.ended: Counter[tuple[str, EndReason]] = Counter()
        """Sessions that ended and could be judged, by application and reason."""
        self.sample_failures = 0
        """Batches whose entries could not be kept for training."""

    def install(self, application: str, drift: DriftMonitor | None, sample: SampleLog | None) -> None:
        """An application is there from now on, or has another model; without a monitor no drift is looked for."""
        self._drifting.discard(application)
        if drift is not None:
            self._drift[application] = drift
        if sample is not None:
            self._samples[application] = sample

    def seen(self, application: str, batch: EntryBatch, scored: ScoredBatch, *, now_ns: int) -> None:
        """A batch was scored.

        Parameters
        ----------
        now_ns : int
            Event time of the application.
        """
        self._recorder.seen(application, batch, scored.sessions)
        self._keep(application, batch)
        self.ends(application, scored.session_ends)
        if (monitor := self._drift.get(application)) is None:
            return
        unseen = int(np.count_nonzero(scored.kinds == Kind.UNSEEN_KEY)) + len(scored.stands_for)
        monitor.add(now_ns, entries=len(batch), alarms={}, unseen=unseen)

    def ends(self, application: str, ends: Sequence[Verdict]) -> None:
        """Sessions have ended."""
        reasons = [end.session_end for end in ends]
        for reason in EndReason:  # by count(): hashing an enum for each end would cost more than all else here
            if times := reasons.count(reason):
                self.ended[application, reason] += times

    def record(self, application: str, noted: Sequence[Noted], *, now_ns: int) -> None:
        """Anomalies are about to be answered."""
        self._recorder.record(application, noted, now_ns=now_ns)
        self.anomalies.update((application, one.message.kind) for one in noted)
        if (monitor := self._drift.get(application)) is None:
            return
        monitor.add(now_ns, entries=0, alarms=Counter(one.message.key for one in noted), unseen=0)
        if monitor.is_drifting != (application in self._drifting):
            self._drifting ^= {application}
            _log.warning("drift" if monitor.is_drifting else "drift is over", application=application)

    @property
    def drift(self) -> dict[str, bool]:
        """Whether an application drifts, of those for which it is looked for; in any thread."""
        return {application: application in self._drifting for application in tuple(self._drift)}

    def adapted(self, application: str) -> None:
        """The models have learned what was abnormal as normal."""
        self._drift[application].adapted()

    def report(self, application: str) -> DriftReport | None:
        """How an application's logs have moved away from training; None = it has no model."""
        monitor = self._drift.get(application)
        return None if monitor is None else monitor.report()

    def _keep(self, application: str, batch: EntryBatch) -> None:
        """Add entries to the application's sample; a disk that is full must not stop the scoring."""
        if (sample := self._samples.get(application)) is None:
            return
        if self._redactor is not None:
            batch = replace(batch, bodies=self._redactor.texts(batch.bodies))
        try:
            sample.append(batch)
        except OSError as error:
            self.sample_failures += 1
            if time.monotonic() - self._complained_s >= COMPLAIN_S:
                self._complained_s = time.monotonic()
                _log.error("entries not kept for training", application=application, error=error.strerror or str(error))
