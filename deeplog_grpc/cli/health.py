"""``deeplog-grpc health``: whether a server takes entries, for checks that run a command."""

from typing import Annotated

import grpc
import typer
from grpc_health.v1 import health_pb2

from deeplog_grpc.cli.console import MESSAGES, OUTPUT
from deeplog_grpc.cli.remote import DEFAULT_SERVER, ServerOption, client_config
from deeplog_grpc.client.connecting import channel
from deeplog_grpc.client.failures import error_of_call

EXIT_NOT_SERVING = 1
"""Also where there is no answer: a check knows no third state."""


def health(
    server: ServerOption = DEFAULT_SERVER,
    service: Annotated[
        str, typer.Option(help='What is asked about; "" = whether the process is alive.')
    ] = "deeplog_grpc.v1.DeepLogService",
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds to wait for the answer.")] = 3.0,
) -> None:
    """Ask a server whether it serves; exit code 0 = yes, 1 = no, or no answer.

    **Example:** `deeplog-grpc health --server 127.0.0.1:50051`
    """
    try:
        status = _status(server, service, timeout_s)
    except grpc.RpcError as error:
        MESSAGES.print(f"deeplog-grpc: {error_of_call(error)}", style="red", markup=False, highlight=False)
        raise typer.Exit(EXIT_NOT_SERVING) from None
    OUTPUT.print(health_pb2.HealthCheckResponse.ServingStatus.Name(status), markup=False, highlight=False)
    if status != health_pb2.HealthCheckResponse.SERVING:
        raise typer.Exit(EXIT_NOT_SERVING)


def _status(server: str, service: str, timeout_s: float) -> int:
    connection = channel(server, client_config(), [])
    try:
        check = connection.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        return int(check(health_pb2.HealthCheckRequest(service=service), timeout=timeout_s).status)
    finally:
        connection.close()
