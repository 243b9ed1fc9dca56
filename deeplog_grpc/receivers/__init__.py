"""What shippers speak, received as it is: OTLP over gRPC and HTTP, Vector's protocol, the Forward protocol.

Each receiver turns the bytes of its protocol into :class:`~deeplog_grpc.ingest.records.Records` and hands them to the
server's intake; what the intake says is answered as that protocol's clients expect it.
"""

from typing import TYPE_CHECKING

from deeplog_grpc.lazy import lazy

if TYPE_CHECKING:
    from deeplog_grpc.receivers.attaching import attach
    from deeplog_grpc.receivers.config import ForwardConfig, OtlpHttpConfig, ReceiversConfig

__all__ = ["ForwardConfig", "OtlpHttpConfig", "ReceiversConfig", "attach"]

__getattr__ = lazy(__name__, {"attaching": "attach", "config": "ForwardConfig OtlpHttpConfig ReceiversConfig"})
