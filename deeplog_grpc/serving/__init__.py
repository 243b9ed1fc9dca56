"""The asyncio shell around the detectors: admission, micro-batching, order, life cycle.

No numbers are computed here. Calls are checked and turned into jobs on the event loop; one thread scores them.
"""

from deeplog_grpc.serving.config import ServerConfig
from deeplog_grpc.serving.logs import configure_logging
from deeplog_grpc.serving.server import Server, serve
from deeplog_grpc.serving.state import ServerState

__all__ = ["Server", "ServerConfig", "ServerState", "configure_logging", "serve"]
