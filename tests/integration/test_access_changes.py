"""Certificates and tokens that change under a server, and under open connections."""

import asyncio
import os
import ssl
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from structlog.testing import capture_logs

from deeplog_grpc.access.certificates import Certificates
from deeplog_grpc.access.roles import Role
from deeplog_grpc.errors import ConfigError
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from tests.integration.receiver_harness import raw_request
from tests.integration.secured import SERVICE, TOKENS, Authority, Secured, secured, write_tokens
from tests.integration.server_harness import BOUND_S, details, entries, status_in, until

CONFIG = pb.StreamScoreRequest(config=pb.StreamConfig()).SerializeToString()


def batch(sequence: int) -> bytes:
    return pb.StreamScoreRequest(
        batch=pb.EntryBatch(sequence=sequence, entries=entries([f"line {sequence}"]))
    ).SerializeToString()


def opened(up: Secured, channel: grpc.aio.Channel, token: str) -> Any:
    """A stream of entries."""
    method: Any = channel.stream_stream(
        f"{SERVICE}/StreamScore", response_deserializer=pb.StreamScoreResponse.FromString
    )
    return method(timeout=BOUND_S, metadata=(("authorization", f"Bearer {up.tokens[token]}"),))


async def answered(call: Any, sequence: int) -> None:
    await call.write(batch(sequence))
    response = await call.read()
    assert (response.result.sequence, response.result.status.code) == (sequence, 0)


async def ended(call: Any) -> grpc.aio.AioRpcError:
    """How the server ends a call."""
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await call.read()
    return refusal.value


async def shown(up: Secured, port: int) -> bytes:
    """The certificate that a new connection is shown."""
    pem = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port), timeout=BOUND_S)
    return pem.strip().encode()


async def test_a_renewed_certificate_counts_for_new_connections_and_open_ones_go_on(tmp_path: Path) -> None:
    async with secured(tmp_path) as up, up.channel() as channel, up.session() as session:
        ports = (up.port, up.server.ports["otlp_http"], up.server.ports["metrics"])
        call = opened(up, channel, "shipper")
        await call.write(CONFIG)
        assert (await call.read()).WhichOneof("message") == "ready"
        for number in range(3):
            renewed = up.authority.write("server")
            for port in ports:
                assert await shown(up, port) == renewed.strip()
            await answered(call, number)
            headers = {"Content-Type": "application/x-protobuf", **up.headers("shipper")}
            async with session.post(up.url("otlp_http", "/v1/logs"), data=raw_request(["a"]), headers=headers) as reply:
                assert reply.status == 200
        await call.done_writing()


async def test_a_broken_certificate_is_not_taken_until_it_is_mended(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    first = authority.write("server")
    async with secured(tmp_path, authority=authority) as up:
        ports = (up.port, up.server.ports["otlp_http"])
        certificates = up.server.certificates
        assert certificates is not None
        stranger = trustme.CA().issue_cert("127.0.0.1")
        for number, broken in enumerate((b"no PEM", stranger.cert_chain_pems[0].bytes(), None)):
            (tmp_path / "server.crt").unlink()
            if broken is not None:
                (tmp_path / "server.crt").write_bytes(broken)
            with capture_logs() as logs:
                for port in ports:
                    assert await shown(up, port) == first.strip()
            errors = [entry for entry in logs if entry["log_level"] == "error"]
            assert [entry["event"] for entry in errors] == ["certificate not read again: that of before counts"]
            assert certificates.failed_reloads == number + 1
        mended = authority.write("server")
        for port in ports:
            assert await shown(up, port) == mended.strip()


async def test_secrets_as_kubernetes_mounts_them(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    mounted = []
    for number in range(2):
        folder = tmp_path / f"..{number}"
        folder.mkdir()
        mounted.append(Authority(folder, ca=authority.ca).write("server"))
    (tmp_path / "..data").symlink_to("..0")
    for name in ("server.crt", "server.key"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    async with secured(tmp_path, authority=authority) as up:
        for number in (0, 1, 0):
            (tmp_path / "new").symlink_to(f"..{number}")
            os.replace(tmp_path / "new", tmp_path / "..data")
            for port in (up.port, up.server.ports["otlp_http"]):
                assert await shown(up, port) == mounted[number].strip()


async def test_the_authorities_of_clients_are_read_again_too(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.write("client", "node-1")
    other = trustme.CA()
    async with secured(tmp_path, authority=authority, mutual=True) as up:
        raw = pb.ScoreRequest(entries=entries(["a"])).SerializeToString()

        async def accepted() -> bool:
            metadata = (("authorization", f"Bearer {up.tokens['shipper']}"),)
            # Not through `client`, which would write the authority that is exchanged here.
            files = [(tmp_path / f"client.{end}").read_bytes() for end in ("key", "crt")]
            credentials = grpc.ssl_channel_credentials(authority.ca.cert_pem.bytes(), *files)
            options = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
            async with grpc.aio.secure_channel(up.address, credentials, options=options) as channel:
                method: Any = channel.unary_unary(f"{SERVICE}/Score")
                try:
                    await method(raw, timeout=BOUND_S, metadata=metadata)
                except grpc.aio.AioRpcError:
                    return False
                return True

        assert await accepted()
        other.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
        assert not await accepted()
        authority.write("client", "node-1", ca=other)
        assert await accepted()


async def test_a_stream_ends_when_its_token_is_taken_back(tmp_path: Path) -> None:
    async with secured(tmp_path) as up, up.channel() as channel:
        calls = {name: opened(up, channel, name) for name in ("shipper", "shop", "admin")}
        for call in calls.values():
            await call.write(CONFIG)
            assert (await call.read()).WhichOneof("message") == "ready"
            await answered(call, 1)
        kept = {name: token for name, token in up.tokens.items() if name != "shipper"}
        changed = {**TOKENS, "shop": ((Role.INGEST,), ("shop-pay",))}
        write_tokens(up.tokens_file, kept, changed)
        taken, changed_one = await ended(calls["shipper"]), await ended(calls["shop"])
        assert taken.code() is grpc.StatusCode.UNAUTHENTICATED
        assert details(status_in(taken))["ErrorInfo"].reason == "TOKEN_UNKNOWN"
        assert changed_one.code() is grpc.StatusCode.UNAVAILABLE  # it is to call again, and is told then
        await answered(calls["admin"], 2)
        await calls["admin"].done_writing()
        with pytest.raises(grpc.aio.AioRpcError) as again:
            await up.call(f"{SERVICE}/Score", b"", "shipper")
        assert again.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_broken_file_of_tokens_leaves_all_as_it_was(tmp_path: Path) -> None:
    raw = pb.ScoreRequest(entries=entries(["a"])).SerializeToString()
    async with secured(tmp_path) as up:
        gate = up.server.gate
        assert gate is not None
        up.tokens_file.write_text("- {name: x")
        await until(lambda: gate.failed_reloads == 1)
        assert await up.call(f"{SERVICE}/Score", raw, "shipper")
        with pytest.raises(grpc.aio.AioRpcError):
            await up.call(f"{SERVICE}/Score", raw)


@pytest.mark.parametrize("missing", ["server.crt", "server.key", "ca.crt"])
def test_files_that_cannot_be_used_at_the_start_are_an_error(tmp_path: Path, missing: str) -> None:
    authority = Authority(tmp_path)
    tls = authority.tls(client_ca=authority.ca_file)
    (tmp_path / missing).unlink()
    field = r"tls\.client_ca" if missing == "ca.crt" else r"tls\.cert"
    with pytest.raises(ConfigError, match=rf"^{field}: .*{missing}.* cannot be used \(No such file"):
        Certificates.of(tls)
    (tmp_path / missing).write_text("no PEM")
    with pytest.raises(ConfigError, match=rf"^{field}: .* give PEM files that belong together"):
        Certificates.of(tls)
