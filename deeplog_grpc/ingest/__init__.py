"""Foreign shapes of log entries turned into columns for the detectors.

One small adapter a protocol; today that is the project's own contract (:mod:`~deeplog_grpc.ingest.native`). A broken
entry is found and named here, and never reaches a detector.
"""

from deeplog_grpc.ingest.applications import Applications, FixedApplications
from deeplog_grpc.ingest.config import IngestConfig
from deeplog_grpc.ingest.lenient import LenientDecoder, LenientMessage
from deeplog_grpc.ingest.native import Defaults, EntryFault, Ingested, NativeIngest, Part, text

__all__ = [
    "Applications",
    "Defaults",
    "EntryFault",
    "FixedApplications",
    "IngestConfig",
    "Ingested",
    "LenientDecoder",
    "LenientMessage",
    "NativeIngest",
    "Part",
    "text",
]
