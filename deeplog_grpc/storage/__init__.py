"""What is kept on disk: model bundles."""

from deeplog_grpc.storage.bundle import BundleInfo, check_place, load_bundle, read_info, save_bundle

__all__ = ["BundleInfo", "check_place", "load_bundle", "read_info", "save_bundle"]
