"""What is kept on disk: model bundles, and the progress of a training."""

from deeplog_grpc.storage.bundle import BundleInfo, check_place, load_bundle, read_info, save_bundle
from deeplog_grpc.storage.checkpoint import (
    Checkpoint,
    check_checkpoint_place,
    load_checkpoint,
    remove_checkpoint,
    save_checkpoint,
)

__all__ = [
    "BundleInfo",
    "Checkpoint",
    "check_checkpoint_place",
    "check_place",
    "load_bundle",
    "load_checkpoint",
    "read_info",
    "remove_checkpoint",
    "save_bundle",
    "save_checkpoint",
]
