"""The table of docs/security.md, row by row: what a client is told that may not do what it wants to."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
import trustme
from google.rpc import code_pb2, status_pb2
from structlog.testing import capture_logs

from deeplog_grpc.access.tokens import new_token
from deeplog_grpc.client import AsyncDeepLogClient, ClientConfig, DeepLogClient
from deeplog_grpc.errors import (
    AccessError,
    ApplicationForbiddenError,
    DeepLogError,
    RefusedError,
    RoleMissingError,
    TokenMissingError,
    TokenUnknownError,
)
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from tests.integration.receiver_harness import EXPORT, raw_request
from tests.integration.secured import OPTIONS, SERVICE, Authority, Secured, called, secured
from tests.integration.server_harness import details, entries, status_in

GOOD = pb.ScoreRequest(entries=entries(["a"])).SerializeToString()
LOGS = "/v1/logs"
PROTOBUF = {"Content-Type": "application/x-protobuf"}
C = grpc.StatusCode


async def refused(up: Secured, path: str, raw: bytes, token: str | None = None) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await up.call(path, raw, token)
    return refusal.value


async def posted(up: Secured, raw: bytes, headers: dict[str, str]) -> tuple[int, status_pb2.Status, Any]:
    async with (
        up.session() as session,
        session.post(up.url("otlp_http", LOGS), data=raw, headers={**PROTOBUF, **headers}) as response,
    ):
        content = await response.read()
        status = status_pb2.Status() if response.status == 200 else status_pb2.Status.FromString(content)
        return response.status, status, response.headers


def reason_of(status: status_pb2.Status) -> str:
    return str(details(status)["ErrorInfo"].reason)


@pytest.mark.parametrize(
    ("token", "code", "reason", "http"),
    [
        (None, C.UNAUTHENTICATED, "TOKEN_MISSING", 401),
        (new_token(), C.UNAUTHENTICATED, "TOKEN_UNKNOWN", 401),
        ("reader", C.PERMISSION_DENIED, "ROLE_MISSING", 403),
    ],
    ids=["none", "wrong", "without the role"],
)
async def test_a_token_that_is_not_good_enough(
    tmp_path: Path, token: str | None, code: grpc.StatusCode, reason: str, http: int
) -> None:
    async with secured(tmp_path) as up:
        for path in (f"{SERVICE}/Score", EXPORT, "/vector.Vector/PushEvents"):
            failure = await refused(up, path, b"", token)
            assert failure.code() is code
            assert reason_of(status_in(failure)) == reason
        shown = {} if token is None else {"Authorization": f"Bearer {up.tokens.get(token, token)}"}
        status, said, headers = await posted(up, raw_request(["a"]), shown)
        assert (status, reason_of(said)) == (http, reason)
        assert said.code == code.value[0]
        assert ("WWW-Authenticate" in headers) == (http == 401)
        assert not up.server.queue.waiting_entries


async def test_the_clients_tell_the_errors_apart(tmp_path: Path) -> None:
    async with secured(tmp_path, "shop-cart", "billing") as up:
        files: Any = up.authority.client()
        cases: list[tuple[ClientConfig, type[DeepLogError]]] = [
            (ClientConfig(**files), TokenMissingError),
            (ClientConfig(**files, token=new_token()), TokenUnknownError),  # type: ignore[arg-type]  # as a file has it
            (up.config("reader"), RoleMissingError),
        ]
        for config, error in cases:
            async with AsyncDeepLogClient(up.address, config=config) as client:
                with pytest.raises(error):
                    await client.score(entries(["a"], application="shop-cart"))
            with DeepLogClient(up.address, config=config) as threaded, pytest.raises(AccessError):
                await asyncio.to_thread(threaded.score, entries(["a"], application="shop-cart"))
        async with AsyncDeepLogClient(up.address, config=up.config("shop")) as client:
            with pytest.raises(ApplicationForbiddenError) as refusal:
                await client.parse(["a"], application="billing")
            assert refusal.value.field == "application"
            assert (await client.score(entries(["a"], application="shop-cart"))).entry_count == 1


async def test_an_application_out_of_scope(tmp_path: Path) -> None:
    async with secured(tmp_path, "shop-cart", "billing") as up:
        named = [
            (pb.ScoreRequest(entries=entries(["a"]), options=pb.ScoreOptions(application="billing")), "options"),
            (pb.ScoreRequest(entries=entries(["a"]), options=pb.ScoreOptions(application="not-there")), "options"),
            (pb.ScoreRequest(flush=pb.Flush(application="billing")), "flush"),
            (pb.ScoreRequest(entries=entries(["a"], application="billing")), "entries[0]"),
        ]
        for request, field in named:
            failure = await refused(up, f"{SERVICE}/Score", request.SerializeToString(), "shop")
            assert failure.code() is C.PERMISSION_DENIED
            status = status_in(failure)
            assert reason_of(status) == "APPLICATION_FORBIDDEN"
            assert details(status)["BadRequest"].field_violations[0].field == f"{field}.application"
        mixed = pb.ScoreRequest(
            entries=[*entries(["a"], application="billing"), *entries(["b"], application="shop-cart")]
        )
        answer = pb.ScoreResponse.FromString(await up.call(f"{SERVICE}/Score", mixed.SerializeToString(), "shop"))
        assert (answer.entry_count, [(e.index, e.reason) for e in answer.errors]) == (1, [(0, "APPLICATION_FORBIDDEN")])
        theirs = raw_request(["a"], resource={"service.name": "billing"})
        assert reason_of(status_in(await refused(up, EXPORT, theirs, "shop"))) == "APPLICATION_FORBIDDEN"
        status_code, said, _ = await posted(up, theirs, up.headers("shop"))
        assert (status_code, said.code, reason_of(said)) == (403, code_pb2.PERMISSION_DENIED, "APPLICATION_FORBIDDEN")
        ours = raw_request(["b"], resource={"service.name": "shop-cart"})
        both = await up.call(EXPORT, ours + theirs, "shop")
        assert b"the token is not for 'billing'" in both
        assert (await posted(up, ours, up.headers("shop")))[0] == 200


async def test_a_message_that_is_too_large(tmp_path: Path) -> None:
    async with secured(tmp_path, max_message_bytes=2**16) as up:
        large = raw_request(["x" * 2**17])
        failure = await refused(up, EXPORT, large, "shipper")
        assert failure.code() is C.RESOURCE_EXHAUSTED
        status, said, _ = await posted(up, large, up.headers("shipper"))
        assert (status, said.code) == (413, code_pb2.INVALID_ARGUMENT)
        # Who is not known here is not read that far.
        assert (await refused(up, EXPORT, large)).code() is C.UNAUTHENTICATED
        assert (await posted(up, large, {}))[0] == 401


async def test_plain_text_to_a_port_with_tls_and_the_other_way_round(tmp_path: Path) -> None:
    async with secured(tmp_path) as up:
        async with grpc.aio.insecure_channel(up.address, options=OPTIONS) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await called(channel, f"{SERVICE}/Score", GOOD, up.tokens["shipper"])
            assert refusal.value.code() is C.UNAVAILABLE
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientError):
                await session.post(up.url("otlp_http", LOGS).replace("https", "http"), data=b"", headers=PROTOBUF)
        assert await up.call(f"{SERVICE}/Score", GOOD, "shipper")  # others are served


@pytest.mark.parametrize("kind", ["expired", "of a stranger", "of another name"])
async def test_a_certificate_of_the_server_that_does_not_hold(tmp_path: Path, kind: str) -> None:
    authority = Authority(tmp_path)
    if kind == "expired":
        authority.write("server", is_expired=True)
    elif kind == "of a stranger":
        authority.write("server", ca=trustme.CA())
    else:
        authority.write("server", "other.test")
    async with secured(tmp_path, authority=authority) as up:
        assert (await refused(up, f"{SERVICE}/Score", GOOD, "shipper")).code() is C.UNAVAILABLE
        async with up.session() as session:
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await session.post(up.url("otlp_http", LOGS), data=b"")
        async with AsyncDeepLogClient(up.address, timeout_s=5.0, config=up.config("shipper")) as client:
            with pytest.raises(RefusedError, match="cannot reach the server"):
                await client.score(entries(["a"]))


@pytest.mark.parametrize("kind", ["missing", "expired", "of a stranger", "good"])
async def test_certificates_of_clients(tmp_path: Path, kind: str) -> None:
    authority = Authority(tmp_path)
    authority.write("client", "node-1", is_expired=kind == "expired", ca=trustme.CA() if "stranger" in kind else None)
    shown = "" if kind == "missing" else "client"
    async with (
        secured(tmp_path, authority=authority, mutual=True) as up,
        up.session(shown) as session,
        up.channel(shown) as channel,
    ):
        call = called(channel, f"{SERVICE}/Score", GOOD, up.tokens["shipper"])
        post = session.post(
            up.url("otlp_http", LOGS), data=raw_request(["a"]), headers={**PROTOBUF, **up.headers("shipper")}
        )
        if kind == "good":
            assert pb.ScoreResponse.FromString(await call).entry_count == 1
            async with post as response:
                assert response.status == 200
        else:
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await call
            assert refusal.value.code() is C.UNAVAILABLE
            with pytest.raises((aiohttp.ClientError, ssl.SSLError, OSError)):
                await post


async def test_the_metrics_are_for_readers(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.write("client", "prometheus")
    async with secured(tmp_path, authority=authority, mutual=True) as up:
        url = up.url("metrics", "/metrics")
        value = up.server.metrics.registry.get_sample_value
        for certificate, token, status in (
            ("client", "reader", 200),
            ("client", "admin", 200),
            ("client", "shipper", 403),
            ("client", "", 401),
            ("", "reader", 403),
        ):
            async with (
                up.session(certificate) as session,
                session.get(url, headers=up.headers(token) if token else {}) as response,
            ):
                assert response.status == status, (certificate, token)
                assert ("deeplog_queue_entries" in await response.text()) == (status == 200)
        for reason, count in (("TOKEN_MISSING", 1), ("ROLE_MISSING", 1), ("TOKEN_UNKNOWN", 0)):
            assert value("deeplog_access_refusals_total", {"reason": reason}) == count
        assert value("deeplog_access_reload_failures_total", {"file": "tokens"}) == 0


async def test_neither_the_log_nor_an_answer_shows_a_token(tmp_path: Path) -> None:
    wrong = new_token()
    with capture_logs() as logs:
        async with secured(tmp_path) as up:
            answers = []
            for token in (wrong, up.tokens["reader"], up.tokens["shop"]):
                request = pb.ScoreRequest(entries=entries(["a"]), options=pb.ScoreOptions(application="x"))
                failure = await refused(up, f"{SERVICE}/Score", request.SerializeToString(), token)
                answers.append(f"{failure.details()} {failure.trailing_metadata()}")
                answers.append(str((await posted(up, b"", {"Authorization": f"Bearer {token}"}))[1]))
                answers.append(str((await posted(up, b"", {"Authorization": token}))[1]))
            text = f"{logs} {answers}"
            assert not [secret for secret in (wrong, *up.tokens.values()) if secret[4:12] in text]
    refusals = [entry for entry in logs if entry["event"] == "call refused"]
    assert len(refusals) == 1  # the second within ten seconds is counted, not logged
    assert refusals[0]["peer"].startswith("ipv4:127.0.0.1:")
    assert refusals[0]["reason"] == "TOKEN_UNKNOWN"
