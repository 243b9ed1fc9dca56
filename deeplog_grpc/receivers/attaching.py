"""All receivers of a server."""

from deeplog_grpc.ingest import RecordIngest
from deeplog_grpc.receivers import otlp_grpc, vector
from deeplog_grpc.receivers.config import ReceiversConfig
from deeplog_grpc.receivers.forward import ForwardListener
from deeplog_grpc.receivers.otlp_grpc import OtlpGrpcReceiver
from deeplog_grpc.receivers.otlp_http import OtlpHttpListener
from deeplog_grpc.receivers.vector import VectorReceiver
from deeplog_grpc.serving import Server
from deeplog_grpc.serving.address import check_public
from deeplog_grpc.serving.http_guard import HttpGuard
from deeplog_grpc.serving.intake import Intake, RecordSink


def attach(server: Server, config: ReceiversConfig, ingest: RecordIngest, *, sink: RecordSink | None = None) -> Intake:
    """Have a server that has not started yet take what shippers send.

    Parameters
    ----------
    server : Server
    config : ReceiversConfig
        Where to listen.
    ingest : RecordIngest
        Finds out what records belong to.
    sink : RecordSink, optional
        Takes all that is scored.

    Returns
    -------
    Intake
        What all receivers hand their records to.

    Raises
    ------
    ConfigError
        If a certificate or key cannot be used, or strangers could reach a receiver.
    """
    intake = Intake(ingest, server.queue, server.deliveries, server.config, sink, server.metrics.entries)
    for found in server.remembered_deliveries:
        intake.remember(found)
    max_wait_s, max_bytes = server.config.max_wait_s, server.config.max_message_bytes
    otlp = OtlpGrpcReceiver(intake, max_wait_s)
    server.add_service(otlp_grpc.SERVICE, otlp.methods(server.calls))
    pushed = VectorReceiver(intake, max_wait_s, lambda: server.is_draining)
    server.add_service(vector.SERVICE, pushed.methods(server.calls))
    if config.otlp_http.listen is not None:
        check_public(
            config.otlp_http.listen,
            allow_public=config.otlp_http.allow_public,
            is_guarded=server.keeps_strangers_out,
            section="receivers.otlp_http",
        )
        http = OtlpHttpListener(
            intake,
            server.peers,
            config.otlp_http,
            max_bytes=max_bytes,
            max_wait_s=max_wait_s,
            certificates=server.certificates,
            guard=HttpGuard(server.gate),
        )
        server.add_listener(http)
        server.receiver_counts[http.name] = http.counts
    if config.forward.listen is not None:
        forward = ForwardListener(intake, config.forward, max_wait_s=max_wait_s, peers=server.peers)
        server.add_listener(forward)
        server.receiver_counts[forward.name] = forward.counts
    return intake
