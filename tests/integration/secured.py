"""A real server with certificates of a test authority and a file of tokens, for the tests beside."""

import datetime
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import trustme

from deeplog_grpc.access.config import AccessConfig, TlsConfig
from deeplog_grpc.access.roles import Role
from deeplog_grpc.access.tokens import new_token, token_line
from deeplog_grpc.access.trust import ssl_context
from deeplog_grpc.client import ClientConfig
from deeplog_grpc.ingest import IngestConfig, RecordIngest, RoutingConfig
from deeplog_grpc.receivers import ForwardConfig, OtlpHttpConfig, ReceiversConfig, attach
from deeplog_grpc.serving import Server, ServerConfig
from deeplog_grpc.serving.metrics_config import MetricsConfig
from deeplog_grpc.serving.metrics_http import MetricsListener
from tests.integration.receiver_harness import RecordedDetector
from tests.integration.server_harness import BOUND_S

SERVICE = "/deeplog_grpc.v1.DeepLogService"
RELOAD_S = 0.05
EXPIRED = datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC)
Token = tuple[Sequence[Role], Sequence[str]]
"""Roles and applications."""
TOKENS: Mapping[str, Token] = {
    "admin": ((Role.ADMIN,), ()),
    "shipper": ((Role.INGEST,), ()),
    "shop": ((Role.INGEST, Role.READ, Role.FEEDBACK), ("shop-*",)),
    "reader": ((Role.READ,), ()),
}


@dataclass(slots=True)
class Authority:
    """Certificates of one authority, as files of a folder."""

    folder: Path
    ca: trustme.CA = field(default_factory=trustme.CA)

    @property
    def ca_file(self) -> Path:
        path = self.folder / "ca.crt"
        self.ca.cert_pem.write_to_path(str(path))
        return path

    def write(self, name: str, *identities: str, is_expired: bool = False, ca: trustme.CA | None = None) -> bytes:
        """Write NAME.crt and NAME.key; returns the certificate."""
        times: Any = {"not_before": EXPIRED - datetime.timedelta(1), "not_after": EXPIRED} if is_expired else {}
        made = (ca or self.ca).issue_cert(*(identities or ("127.0.0.1", "localhost")), **times)
        for suffix, pem in (("crt", made.cert_chain_pems[0].bytes()), ("key", made.private_key_pem.bytes())):
            (self.folder / f"{name}.new").write_bytes(pem)
            (self.folder / f"{name}.new").replace(self.folder / f"{name}.{suffix}")
        return made.cert_chain_pems[0].bytes()

    def tls(self, **config: Any) -> TlsConfig:
        """The server's section, with a good certificate if none has been written."""
        if not (self.folder / "server.crt").exists():
            self.write("server")
        return TlsConfig(cert=self.folder / "server.crt", key=self.folder / "server.key", **config)

    def client(self, name: str = "") -> dict[str, Path]:
        """Files for a client, with the certificate of a name if it has one."""
        shown = {f"{kind}_file": self.folder / f"{name}.{end}" for kind, end in (("cert", "crt"), ("key", "key"))}
        return {"ca_file": self.ca_file, **(shown if name else {})}


@dataclass(frozen=True, slots=True, kw_only=True)
class Secured:
    """A server under test."""

    server: Server
    authority: Authority
    port: int
    tokens: dict[str, str]
    tokens_file: Path

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def config(self, token: str = "", *, certificate: str = "") -> ClientConfig:
        """How a client reaches it, with the token of a name."""
        files: Any = self.authority.client(certificate)
        shown: Any = {"token": self.tokens[token]} if token else {}
        return ClientConfig(**files, **shown)

    def channel(self, certificate: str = "") -> grpc.aio.Channel:
        """Without retries, and of its own: another with the same certificates would share its connection."""
        files = self.authority.client(certificate)
        read = [path.read_bytes() for path in files.values()]
        credentials = grpc.ssl_channel_credentials(read[0], *reversed(read[1:]))
        return grpc.aio.secure_channel(self.address, credentials, options=OPTIONS)

    async def call(self, path: str, raw: bytes, token: str | None = None, **call: Any) -> bytes:
        """A unary call with a token, by its name or itself."""
        async with self.channel() as channel:
            return await called(channel, path, raw, self.tokens.get(token or "", token), **call)

    def session(self, certificate: str = "") -> aiohttp.ClientSession:
        files: Any = self.authority.client(certificate)
        context = ssl_context(files["ca_file"], files.get("cert_file"), files.get("key_file"), field="test")
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context))

    def url(self, name: str, path: str) -> str:
        return f"https://127.0.0.1:{self.server.ports[name]}{path}"

    def headers(self, token: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens[token]}"}


OPTIONS = [
    ("grpc.enable_retries", 0),
    ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
]


async def called(channel: grpc.aio.Channel, path: str, raw: bytes, token: str | None, **call: Any) -> bytes:
    """A unary call with a token."""
    method: Any = channel.unary_unary(path)
    metadata = () if token is None else (("authorization", f"Bearer {token}"),)
    answer: bytes = await method(raw, **{"timeout": BOUND_S, "metadata": metadata, **call})
    return answer


def write_tokens(path: Path, tokens: Mapping[str, str], meant: Mapping[str, Token] = TOKENS) -> None:
    """Put the file of tokens in place, at once."""
    lines = [token_line(name, token, *meant[name]) for name, token in tokens.items()]
    new = path.with_suffix(".new")
    new.write_text("\n".join(lines) + "\n")
    new.replace(path)


@asynccontextmanager
async def secured(
    folder: Path,
    *applications: str,
    mutual: bool = False,
    plain: bool = False,
    access: Mapping[str, Any] | None = None,
    authority: Authority | None = None,
    max_message_bytes: int = 2**20,
    stop: bool = True,
) -> AsyncIterator[Secured]:
    """A server with TLS (unless plain) and tokens on all its ports, with fake detectors."""
    authority = authority or Authority(folder)
    tokens = {name: new_token() for name in TOKENS}
    tokens_file = folder / "tokens.yaml"
    write_tokens(tokens_file, tokens)
    detectors: Any = {name: RecordedDetector(name) for name in applications or ("shop-cart",)}
    limits = IngestConfig()
    server = Server(
        detectors,
        ServerConfig(listen="127.0.0.1:0", max_message_bytes=max_message_bytes),
        limits,
        tls=None if plain else authority.tls(**({"client_ca": authority.ca_file} if mutual else {})),
        access=AccessConfig(**{"tokens_file": tokens_file, "reload_s": RELOAD_S, "metrics": True, **(access or {})}),
    )
    receivers = ReceiversConfig(otlp_http=OtlpHttpConfig(listen="127.0.0.1:0"), forward=ForwardConfig(listen=None))
    attach(server, receivers, RecordIngest(server.applications, limits, RoutingConfig()))
    metrics = MetricsConfig(listen="127.0.0.1:0")
    server.add_listener(MetricsListener(server.metrics, metrics, server.health, server.certificates, server.gate))
    port = await server.start()
    try:
        yield Secured(server=server, authority=authority, port=port, tokens=tokens, tokens_file=tokens_file)
    finally:
        if stop:
            await server.stop()
