"""What is kept on disk: model bundles."""

from deeplog_grpc.storage.bundle import BundleInfo, load_bundle, read_info, save_bundle

__all__ = ["BundleInfo", "load_bundle", "read_info", "save_bundle"]
