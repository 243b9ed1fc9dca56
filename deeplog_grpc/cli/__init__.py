"""The command line: one file a command. ``main`` is the entry point ``deeplog-grpc``."""

from deeplog_grpc.cli.app import main

__all__ = ["main"]
