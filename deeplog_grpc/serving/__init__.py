"""The asyncio shell around the detectors: admission, micro-batching, order, life cycle.

No numbers are computed here. Calls are checked and turned into jobs on the event loop; one thread scores them.
"""

from typing import TYPE_CHECKING

from deeplog_grpc.lazy import lazy

if TYPE_CHECKING:
    from deeplog_grpc.serving.config import ServerConfig
    from deeplog_grpc.serving.logs import configure_logging
    from deeplog_grpc.serving.running import serve
    from deeplog_grpc.serving.server import Server
    from deeplog_grpc.serving.state import ServerState

__all__ = ["Server", "ServerConfig", "ServerState", "configure_logging", "serve"]

__getattr__ = lazy(
    __name__,
    {
        "config": "ServerConfig",
        "logs": "configure_logging",
        "running": "serve",
        "server": "Server",
        "state": "ServerState",
    },
)
