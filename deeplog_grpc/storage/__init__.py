"""What is kept on disk: model bundles, the progress of a training, samples of entries, the server's databases."""

from typing import TYPE_CHECKING

from deeplog_grpc.lazy import lazy

if TYPE_CHECKING:
    from deeplog_grpc.storage.anomalies import AnomalyStore
    from deeplog_grpc.storage.anomaly_rows import (
        AnomalyFilter,
        AnomalyGroup,
        AnomalyState,
        NewAnomaly,
        StoredAnomaly,
        StoredTotals,
        number_of,
        verdict_id,
    )
    from deeplog_grpc.storage.application_folder import (
        ApplicationFolder,
        ApplicationRecord,
        application_folders,
        folder_name,
        is_application_name,
        new_folder,
    )
    from deeplog_grpc.storage.bundle import (
        BundleInfo,
        bundle_checksum,
        check_place,
        load_bundle,
        read_info,
        save_bundle,
    )
    from deeplog_grpc.storage.checkpoint import (
        Checkpoint,
        check_checkpoint_place,
        load_checkpoint,
        remove_checkpoint,
        save_checkpoint,
    )
    from deeplog_grpc.storage.config import StateConfig
    from deeplog_grpc.storage.journal import Journal
    from deeplog_grpc.storage.journal_rows import (
        Accepted,
        NewRecord,
        NewVersion,
        Record,
        RecordKind,
        Version,
        VersionCause,
    )
    from deeplog_grpc.storage.samples import SampleLog, SamplePlace, newest_entries, place_of_last, read_sample
    from deeplog_grpc.storage.snapshot import pack_snapshot, unpack_snapshot
    from deeplog_grpc.storage.spool import Spool, SyncPolicy

__all__ = [
    "Accepted",
    "AnomalyFilter",
    "AnomalyGroup",
    "AnomalyState",
    "AnomalyStore",
    "ApplicationFolder",
    "ApplicationRecord",
    "BundleInfo",
    "Checkpoint",
    "Journal",
    "NewAnomaly",
    "NewRecord",
    "NewVersion",
    "Record",
    "RecordKind",
    "SampleLog",
    "SamplePlace",
    "Spool",
    "StateConfig",
    "StoredAnomaly",
    "StoredTotals",
    "SyncPolicy",
    "Version",
    "VersionCause",
    "application_folders",
    "bundle_checksum",
    "check_checkpoint_place",
    "check_place",
    "folder_name",
    "is_application_name",
    "load_bundle",
    "load_checkpoint",
    "new_folder",
    "newest_entries",
    "number_of",
    "pack_snapshot",
    "place_of_last",
    "read_info",
    "read_sample",
    "remove_checkpoint",
    "save_bundle",
    "save_checkpoint",
    "unpack_snapshot",
    "verdict_id",
]

__getattr__ = lazy(
    __name__,
    {
        "anomalies": "AnomalyStore",
        "anomaly_rows": (
            "AnomalyFilter AnomalyGroup AnomalyState NewAnomaly StoredAnomaly StoredTotals number_of verdict_id"
        ),
        "application_folder": (
            "ApplicationFolder ApplicationRecord application_folders folder_name is_application_name new_folder"
        ),
        "bundle": "BundleInfo bundle_checksum check_place load_bundle read_info save_bundle",
        "checkpoint": "Checkpoint check_checkpoint_place load_checkpoint remove_checkpoint save_checkpoint",
        "config": "StateConfig",
        "journal": "Journal",
        "journal_rows": "Accepted NewRecord NewVersion Record RecordKind Version VersionCause",
        "samples": "SampleLog SamplePlace newest_entries place_of_last read_sample",
        "snapshot": "pack_snapshot unpack_snapshot",
        "spool": "Spool SyncPolicy",
    },
)
