"""Log records to ``opentelemetry.proto.collector.logs.v1.LogsService/Export``."""

from collections.abc import Sequence

import grpc
import structlog
from google.rpc import error_details_pb2, status_pb2
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse

from deeplog_grpc.access.trust import grpc_credentials
from deeplog_grpc.outputs.config import OtlpOutput
from deeplog_grpc.outputs.encoding import otlp_request
from deeplog_grpc.outputs.failures import NotTakenError, TryAgainError
from deeplog_grpc.outputs.shapes import OutRecord

METHOD = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
_TRY_AGAIN = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
"""As the specification of OTLP has it; RESOURCE_EXHAUSTED too, where the server says when."""
_DETAILS_KEY = "grpc-status-details-bin"

_log = structlog.get_logger("deeplog_grpc.outputs")


class OtlpSender:
    """Sends records over one gRPC channel.

    Parameters
    ----------
    name : str
        Of the output.
    config : OtlpOutput

    Raises
    ------
    ConfigError
        If a certificate cannot be read.
    """

    def __init__(self, name: str, config: OtlpOutput) -> None:
        self.batch = config.batch
        self._name = name
        self._timeout_s = config.timeout_s
        self._metadata = tuple((key.lower(), value.get_secret_value()) for key, value in sorted(config.headers.items()))
        scheme, _, place = config.endpoint.partition("://")
        target = place.partition("/")[0]
        options = [("grpc.max_reconnect_backoff_ms", round(config.retry_max_s * 1000))]
        compression = grpc.Compression.Gzip if config.gzip else grpc.Compression.NoCompression
        if scheme == "https":
            credentials = grpc_credentials(config.ca_file, config.cert_file, config.key_file, field="outputs")
            self._channel = grpc.aio.secure_channel(target, credentials, options, compression)
        else:
            self._channel = grpc.aio.insecure_channel(target, options, compression)
        self._export = self._channel.unary_unary(
            METHOD,
            request_serializer=ExportLogsServiceRequest.SerializeToString,
            response_deserializer=ExportLogsServiceResponse.FromString,
        )

    async def send(self, items: Sequence[OutRecord]) -> None:
        """See :class:`~deeplog_grpc.outputs.senders.Sender`."""
        try:
            answer = await self._export(otlp_request(items), metadata=self._metadata, timeout=self._timeout_s)
        except grpc.aio.AioRpcError as error:
            raise _failure(error) from None
        if rejected := answer.partial_success.rejected_log_records:
            _log.warning("records not taken by the other side", output=self._name, count=rejected)

    async def close(self) -> None:
        """See :class:`~deeplog_grpc.outputs.senders.Sender`."""
        await self._channel.close()


def _failure(error: grpc.aio.AioRpcError) -> TryAgainError | NotTakenError:
    retry_after_s = _retry_after_s(error)
    code = error.code()
    if code in _TRY_AGAIN or (code is grpc.StatusCode.RESOURCE_EXHAUSTED and retry_after_s is not None):
        return TryAgainError(code.name, retry_after_s=retry_after_s or 0.0, answer=error.details() or "")
    return NotTakenError(code.name, answer=error.details() or "")


def _retry_after_s(error: grpc.aio.AioRpcError) -> float | None:
    """Seconds of a RetryInfo; None = there is none."""
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            for detail in status_pb2.Status.FromString(value).details:
                info = error_details_pb2.RetryInfo()
                if detail.Unpack(info):
                    return float(info.retry_delay.ToNanoseconds()) / 1e9
    return None
