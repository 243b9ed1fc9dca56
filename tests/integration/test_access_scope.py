"""What operators may ask: roles of all methods, and the applications that a token is for."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from deeplog_grpc.access.config import AccessConfig
from deeplog_grpc.access.roles import METHODS, Role, is_listed, role_of
from deeplog_grpc.access.tokens import new_token
from deeplog_grpc.ingest import IngestConfig, RecordIngest, RoutingConfig
from deeplog_grpc.receivers import ForwardConfig, OtlpHttpConfig, ReceiversConfig, attach
from deeplog_grpc.serving import Server, ServerConfig
from deeplog_grpc.testing import Fault
from deeplog_grpc.v1 import anomaly_pb2, application_pb2, feedback_pb2, model_pb2, workflow_pb2
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from tests.integration.secured import RELOAD_S, SERVICE, Token, called, write_tokens
from tests.integration.served import FULL, opened, order_of
from tests.integration.server_harness import BOUND_S, details, status_in

MEANT: dict[str, Token] = {
    "ours": ((Role.INGEST, Role.READ, Role.FEEDBACK), ("ord*",)),
    "theirs": ((Role.ADMIN,), ("shop-*",)),
    "all": ((Role.ADMIN,), ()),
}


AioServer: Any = import_module("grpc.aio._server").Server


class Asked:
    """A server with a trained application and tokens, in plain text."""

    def __init__(self, channel: grpc.aio.Channel, tokens: dict[str, str], tokens_file: Path) -> None:
        self.channel = channel
        self.tokens = tokens
        self.tokens_file = tokens_file

    async def ask(self, token: str, method: str, request: Message) -> bytes:
        return await called(self.channel, f"{SERVICE}/{method}", request.SerializeToString(), self.tokens[token])

    async def forbidden(self, token: str, method: str, request: Message) -> str:
        """The field that a refusal names."""
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await self.ask(token, method, request)
        assert refusal.value.code() is grpc.StatusCode.PERMISSION_DENIED
        found = details(status_in(refusal.value))
        assert found["ErrorInfo"].reason == "APPLICATION_FORBIDDEN"
        return str(found["BadRequest"].field_violations[0].field)


@asynccontextmanager
async def asked(bundle: Path, folder: Path) -> AsyncIterator[Asked]:
    tokens = {name: new_token() for name in MEANT}
    tokens_file = folder / "tokens.yaml"
    write_tokens(tokens_file, tokens, MEANT)
    kept = opened(bundle, folder / "state")
    access = AccessConfig(tokens_file=tokens_file, reload_s=RELOAD_S)
    server = Server(kept.detectors, ServerConfig(listen="127.0.0.1:0"), IngestConfig(), state=kept, access=access)
    address = f"127.0.0.1:{await server.start()}"
    try:
        async with grpc.aio.insecure_channel(address, options=[("grpc.enable_retries", 0)]) as channel:
            yield Asked(channel, tokens, tokens_file)
    finally:
        await server.stop()
        kept.close()


async def test_operators_see_and_change_their_own_applications_only(small_bundle: Path, tmp_path: Path) -> None:
    async with asked(small_bundle, tmp_path) as up:
        faulty = pb.ScoreRequest(entries=order_of(Fault.UNSEEN_KEY), options=FULL)
        scored = pb.ScoreResponse.FromString(await up.ask("ours", "Score", faulty))
        verdict_id = next(verdict.verdict_id for verdict in scored.verdicts if verdict.verdict_id)

        async def listed(token: str, **wanted: Any) -> tuple[int, int, int]:
            anomalies = anomaly_pb2.ListAnomaliesResponse.FromString(
                await up.ask(token, "ListAnomalies", anomaly_pb2.ListAnomaliesRequest(**wanted))
            ).anomalies
            groups = anomaly_pb2.ListAnomalyGroupsResponse.FromString(
                await up.ask(token, "ListAnomalyGroups", anomaly_pb2.ListAnomalyGroupsRequest())
            ).groups
            applications = application_pb2.ListApplicationsResponse.FromString(
                await up.ask(token, "ListApplications", application_pb2.ListApplicationsRequest())
            ).applications
            return len(anomalies), len(groups), len(applications)

        found = await listed("ours")
        assert min(found) >= 1
        assert found == await listed("all")
        named = anomaly_pb2.AnomalyFilter(verdict_ids=[verdict_id])
        assert await listed("theirs", filter=named) == (0, 0, 0)
        group_id = (
            anomaly_pb2.ListAnomaliesResponse.FromString(
                await up.ask("ours", "ListAnomalies", anomaly_pb2.ListAnomaliesRequest())
            )
            .anomalies[0]
            .group_id
        )
        name: Any = {"application": "orders"}
        refused: list[tuple[str, Message, str]] = [
            (
                "ListAnomalies",
                anomaly_pb2.ListAnomaliesRequest(filter=anomaly_pb2.AnomalyFilter(**name)),
                "application",
            ),
            ("ListAnomalyGroups", anomaly_pb2.ListAnomalyGroupsRequest(**name), "application"),
            ("ListApplications", application_pb2.ListApplicationsRequest(**name), "application"),
            ("TrainApplication", application_pb2.TrainApplicationRequest(**name), "application"),
            ("ListModelVersions", model_pb2.ListModelVersionsRequest(**name), "application"),
            ("RollbackModel", model_pb2.RollbackModelRequest(**name, version=1), "application"),
            ("GetDrift", model_pb2.GetDriftRequest(**name), "application"),
            ("GetWorkflow", workflow_pb2.GetWorkflowRequest(**name), "application"),
            ("Adapt", feedback_pb2.AdaptRequest(**name), "application"),
            ("MuteAnomalyGroup", anomaly_pb2.MuteAnomalyGroupRequest(group_id=group_id), "group_id"),
            (
                "Feedback",
                feedback_pb2.FeedbackRequest(label="FEEDBACK_LABEL_CONFIRMED", verdict_id=verdict_id),
                "verdict_id",
            ),
            (
                "Feedback",
                feedback_pb2.FeedbackRequest(label="FEEDBACK_LABEL_CONFIRMED", group_id=group_id),
                "group_id",
            ),
        ]
        for method, request, field in refused:
            assert await up.forbidden("theirs", method, request) == field, method
        muted = anomaly_pb2.MuteAnomalyGroupRequest(group_id=group_id, muted_until_unix_nano=2**62)
        assert await up.ask("ours", "MuteAnomalyGroup", muted)
        confirmed = feedback_pb2.FeedbackRequest(
            label="FEEDBACK_LABEL_CONFIRMED", verdict_id=verdict_id, feedback_id="f-1"
        )
        assert await up.ask("ours", "Feedback", confirmed)
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await up.ask("ours", "Adapt", feedback_pb2.AdaptRequest(**name))
        assert details(status_in(refusal.value))["ErrorInfo"].reason == "ROLE_MISSING"


async def test_a_watch_shows_what_the_token_is_for_and_ends_with_it(small_bundle: Path, tmp_path: Path) -> None:
    async with asked(small_bundle, tmp_path) as up:
        method: Any = up.channel.unary_stream(
            f"{SERVICE}/WatchAnomalies", response_deserializer=anomaly_pb2.WatchAnomaliesResponse.FromString
        )

        def watch(token: str) -> Any:
            metadata = (("authorization", f"Bearer {up.tokens[token]}"),)
            raw = anomaly_pb2.WatchAnomaliesRequest().SerializeToString()
            return method(raw, timeout=BOUND_S, metadata=metadata)

        ours, theirs = watch("ours"), watch("theirs")
        for call in (ours, theirs):
            assert not (await call.read()).HasField("anomaly")
        await up.ask("ours", "Score", pb.ScoreRequest(entries=order_of(Fault.UNSEEN_KEY), options=FULL))
        assert (await ours.read()).anomaly.verdict.application == "orders"
        write_tokens(up.tokens_file, {"all": up.tokens["all"]}, MEANT)
        for call in (ours, theirs):
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await call.read()  # no anomaly comes before
            assert refusal.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_every_method_of_every_service_has_a_role(
    small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: set[str] = set()
    add: Any = AioServer.add_generic_rpc_handlers

    def noted(self: Any, handlers: Any) -> None:
        for handler in handlers:
            found.update(handler._method_handlers)
        add(self, handlers)

    monkeypatch.setattr(AioServer, "add_generic_rpc_handlers", noted)
    kept = opened(small_bundle, tmp_path / "state")
    server = Server(kept.detectors, ServerConfig(listen="127.0.0.1:0"), IngestConfig(), state=kept)
    receivers = ReceiversConfig(otlp_http=OtlpHttpConfig(listen=None), forward=ForwardConfig(listen=None))
    attach(server, receivers, RecordIngest(server.applications, IngestConfig(), RoutingConfig()))
    await server.start()
    await server.stop()
    kept.close()
    assert f"{SERVICE}/Score" in found
    assert [method for method in sorted(found) if not is_listed(method)] == []
    without = [method for method in found if role_of(method) is None]
    assert all("Health" in method for method in without)  # covers vector.Vector/HealthCheck
    ours = {f"{SERVICE}/{method.name}" for method in pb.DESCRIPTOR.services_by_name["DeepLogService"].methods}
    assert ours <= set(METHODS)
