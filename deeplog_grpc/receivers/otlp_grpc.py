"""OTLP logs over gRPC: ``LogsService/Export`` on the server's own port."""

from typing import Any

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2

from deeplog_grpc.ingest.otlp import decode_logs
from deeplog_grpc.receivers.decoding import decoded
from deeplog_grpc.receivers.identity import content_key, deeplog_headers
from deeplog_grpc.serving.calls import Calls, Context, time_left
from deeplog_grpc.serving.delivery import Accepted
from deeplog_grpc.serving.intake import Intake
from deeplog_grpc.serving.peers import host_of_peer

SERVICE = logs_service_pb2.DESCRIPTOR.services_by_name["LogsService"].full_name


class OtlpGrpcReceiver:
    """The service's method.

    Parameters
    ----------
    intake : Intake
        Takes the records.
    max_wait_s : float
        Seconds that a call without a deadline of its own waits.
    """

    def __init__(self, intake: Intake, max_wait_s: float) -> None:
        self._intake = intake
        self._max_wait_s = max_wait_s

    def methods(self, calls: Calls) -> "dict[str, grpc.RpcMethodHandler[Any, Any]]":
        """What to serve under ``SERVICE``."""
        serialise = logs_service_pb2.ExportLogsServiceResponse.SerializeToString
        return {
            "Export": grpc.unary_unary_rpc_method_handler(calls.answered(self._export), response_serializer=serialise)
        }

    async def _export(self, raw: bytes, context: Context[Any, Any]) -> logs_service_pb2.ExportLogsServiceResponse:
        timeout_s = time_left(context, self._max_wait_s)
        self._intake.check_room(len(raw), timeout_s=timeout_s)
        headers = deeplog_headers(context.invocation_metadata() or ())
        records = await decoded(lambda raw: decode_logs(raw, headers), raw)
        key = content_key("otlp", raw, records, headers, host_of_peer(context.peer()))
        return export_response(await self._intake.accept(records, size_bytes=len(raw), key=key, timeout_s=timeout_s))


def export_response(accepted: Accepted) -> logs_service_pb2.ExportLogsServiceResponse:
    """What an exporter is told."""
    response = logs_service_pb2.ExportLogsServiceResponse()
    if accepted.rejected_count:
        response.partial_success.rejected_log_records = accepted.rejected_count
        response.partial_success.error_message = accepted.message
    return response
