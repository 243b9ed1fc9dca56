"""Detection: entries, sessions and the :class:`Detector` that turns them into verdicts.

The core of the project: pure and synchronous, without files, network, clock or event loop; time comes with the
entries. ``Detector.score`` is its one hot path.
"""

from typing import TYPE_CHECKING

from deeplog_grpc.lazy import lazy

if TYPE_CHECKING:
    from deeplog_grpc.detection.application import ApplicationModel
    from deeplog_grpc.detection.config import DetectorConfig, SessionConfig
    from deeplog_grpc.detection.detector import Detector
    from deeplog_grpc.detection.entries import EntryBatch
    from deeplog_grpc.detection.judges import Judges
    from deeplog_grpc.detection.verdict_batch import VerdictBatch
    from deeplog_grpc.detection.verdicts import Candidate, EndReason, Kind, Verdict

__all__ = [
    "ApplicationModel",
    "Candidate",
    "Detector",
    "DetectorConfig",
    "EndReason",
    "EntryBatch",
    "Judges",
    "Kind",
    "SessionConfig",
    "Verdict",
    "VerdictBatch",
]

__getattr__ = lazy(
    __name__,
    {
        "application": "ApplicationModel",
        "config": "DetectorConfig SessionConfig",
        "detector": "Detector",
        "entries": "EntryBatch",
        "judges": "Judges",
        "verdict_batch": "VerdictBatch",
        "verdicts": "Candidate EndReason Kind Verdict",
    },
)
