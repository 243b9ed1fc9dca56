"""A server does not listen where strangers reach it, unless it is told to or asks who they are."""

from pathlib import Path
from typing import Any

import pytest

from deeplog_grpc.access.config import AccessConfig
from deeplog_grpc.access.roles import Role
from deeplog_grpc.access.tokens import new_token, token_line
from deeplog_grpc.errors import ConfigError
from deeplog_grpc.ingest import IngestConfig, RecordIngest, RoutingConfig
from deeplog_grpc.receivers import ForwardConfig, OtlpHttpConfig, ReceiversConfig, attach
from deeplog_grpc.serving import Server, ServerConfig
from deeplog_grpc.serving.metrics_config import MetricsConfig
from deeplog_grpc.serving.metrics_http import MetricsListener
from tests.integration.secured import Authority
from tests.unit.serving.fake_detector import FakeDetector

PUBLIC: Any = {"listen": "0.0.0.0:0"}


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    (tmp_path / "tokens.yaml").write_text(token_line("x", new_token(), [Role.READ]))
    return tmp_path / "tokens.yaml"


def server(config: dict[str, Any], **guards: Any) -> Server:
    return Server({"app": FakeDetector("app")}, ServerConfig(**config), IngestConfig(), **guards)


@pytest.mark.parametrize("listen", ["0.0.0.0:50051", "[::]:50051", "192.168.1.1:1", "logs.example.com:50051"])
async def test_the_remedies_are_named(listen: str) -> None:
    remedies = (
        r"^server\.listen: .* set tls\.cert and tls\.key together with access\.tokens_file or tls\.client_ca; "
        r"or listen on 127\.0\.0\.1; or set server\.allow_public to true if the network is trusted$"
    )
    with pytest.raises(ConfigError, match=remedies):
        server({"listen": listen})
    server({"listen": listen, "allow_public": True})


@pytest.mark.parametrize("listen", ["127.0.0.1:50051", "127.8.8.8:1", "localhost:0", "[::1]:65535"])
async def test_loopback_needs_no_leave(listen: str) -> None:
    server({"listen": listen})


async def test_certificates_and_a_login_are_leave_enough_and_either_alone_is_not(tmp_path: Path, tokens: Path) -> None:
    authority = Authority(tmp_path)
    access = AccessConfig(tokens_file=tokens)
    server(PUBLIC, tls=authority.tls(), access=access)
    server(PUBLIC, tls=authority.tls(client_ca=authority.ca_file))
    some = AccessConfig(tokens_file=tokens, without_token=(Role.INGEST,))
    server(PUBLIC, tls=authority.tls(client_ca=authority.ca_file), access=some)
    insufficient: tuple[dict[str, Any], ...] = (
        {"access": access},
        {"tls": authority.tls()},
        {"tls": authority.tls(), "access": some},
    )
    for guards in insufficient:
        with pytest.raises(ConfigError, match=r"^server\.listen: "):
            server(PUBLIC, **guards)


async def test_the_other_ports_are_judged_alike(tmp_path: Path, tokens: Path) -> None:
    authority = Authority(tmp_path)

    def attached(up: Server) -> None:
        receivers = ReceiversConfig(otlp_http=OtlpHttpConfig(**PUBLIC), forward=ForwardConfig(listen=None))
        attach(up, receivers, RecordIngest(up.applications, IngestConfig(), RoutingConfig()))

    local = {"listen": "127.0.0.1:0"}
    with pytest.raises(ConfigError, match=r"^receivers\.otlp_http\.listen: .* set receivers\.otlp_http\.allow_public"):
        attached(server(local))
    guarded = server(local, tls=authority.tls(), access=AccessConfig(tokens_file=tokens))
    attached(guarded)
    with pytest.raises(ConfigError, match=r"^metrics\.listen: .* tls\.client_ca or access\.metrics"):
        MetricsListener(guarded.metrics, MetricsConfig(**PUBLIC), guarded.health, guarded.certificates, guarded.gate)
    asked = server(local, tls=authority.tls(), access=AccessConfig(tokens_file=tokens, metrics=True))
    MetricsListener(asked.metrics, MetricsConfig(**PUBLIC), asked.health, asked.certificates, asked.gate)
    mutual = server(local, tls=authority.tls(client_ca=authority.ca_file))
    MetricsListener(mutual.metrics, MetricsConfig(**PUBLIC), mutual.health, mutual.certificates, mutual.gate)
