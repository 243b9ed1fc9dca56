"""Foreign shapes of log entries turned into columns for the detectors.

One small adapter a protocol: the project's own contract (:mod:`~deeplog_grpc.ingest.native`), and foreign ones, whose
records become columns in one place (:mod:`~deeplog_grpc.ingest.record_ingest`) where it is also found out what they
belong to (:mod:`~deeplog_grpc.ingest.routing`). A broken entry is found and named here, and never reaches a detector.
"""

from deeplog_grpc.ingest.applications import Applications, FixedApplications
from deeplog_grpc.ingest.config import IngestConfig
from deeplog_grpc.ingest.lenient import LenientDecoder, LenientMessage
from deeplog_grpc.ingest.native import Defaults, EntryFault, Ingested, NativeIngest, Part, text
from deeplog_grpc.ingest.record_ingest import RecordIngest
from deeplog_grpc.ingest.records import Origin, Records
from deeplog_grpc.ingest.routing import RoutingConfig

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
    "Origin",
    "Part",
    "RecordIngest",
    "Records",
    "RoutingConfig",
    "text",
]
