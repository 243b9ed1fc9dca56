"""Secrets in log lines: found nowhere in the state folder and in nothing that goes out."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zstandard

from deeplog_grpc.client import AsyncDeepLogClient
from deeplog_grpc.detection import DetectorConfig
from deeplog_grpc.feedback import DriftConfig, FeedbackConfig
from deeplog_grpc.ingest import IngestConfig, RecordIngest, Records, RoutingConfig
from deeplog_grpc.ingest.records import Origin
from deeplog_grpc.outputs.config import FileOutput
from deeplog_grpc.outputs.service import Outputs
from deeplog_grpc.receivers import ForwardConfig, OtlpHttpConfig, ReceiversConfig, attach
from deeplog_grpc.serving import Server, ServerConfig, ServerState
from deeplog_grpc.storage import StateConfig, bundle_checksum, load_bundle
from deeplog_grpc.storage.redaction_config import RedactionConfig
from deeplog_grpc.training import LearningConfig
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from deeplog_grpc.v1.log_entry_pb2 import LogEntry
from tests.integration.output_harness import until
from tests.integration.served import FULL, entries_in
from tests.trained import order

SECRETS = (
    "hunt3r2zq",
    "jane.doe@corp.example",
    "4111 1111 1111 1111",
    "198.51.100.77",
    "c0ffee.Bearer-0815x",
    "K-774411",
)
BODIES = (
    "login with password=hunt3r2zq refused",
    "mail to jane.doe@corp.example bounced",
    "card 4111 1111 1111 1111 declined",
    "peer 198.51.100.77 sent Authorization: Bearer c0ffee.Bearer-0815x again",
    "customer K-774411 is not known",
)
REDACTION = RedactionConfig(
    built_in=("email", "ip", "credit_card", "credentials"), patterns={"[customer]": r"customer (K-\d+)"}
)


def contents(directory: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file, and what compressed ones hold."""
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            raw = path.read_bytes()
            yield path, raw
            if path.suffix == ".zst":
                yield path, zstandard.ZstdDecompressor().stream_reader(raw).read()


def leaks(directory: Path) -> list[tuple[str, str]]:
    return [(secret, path.name) for path, raw in contents(directory) for secret in SECRETS if secret.encode() in raw]


def odd_orders() -> list[LogEntry]:
    """Orders with entries that hold secrets, each other ones in between: what stands there is a variable then."""
    entries = []
    for number, body in enumerate(BODIES * 2):
        batch = order(number)
        own = entries_in(batch, f"order-{number}")
        middle = len(own) // 2
        others = [
            body.replace("hunt3r2zq", word).replace("c0ffee.Bearer-0815x", f"{word}{word}.x").replace("K-774411", "K-5")
            for word in ("swordfish", "letmein")
        ]
        odd = [LogEntry(body=text, session=f"order-{number}") for text in (*others, body)]
        entries += [*own[:middle], *odd, *own[middle:]]
    return entries


async def scored(
    bundle: Path, directory: Path, redaction: RedactionConfig
) -> tuple[pb.ScoreResponse, list[dict[str, Any]]]:
    """Have secrets scored by a server that learns and sends out; what it answers and what it sends."""
    model = load_bundle(bundle)
    state = ServerState(
        directory / "state",
        {model.application: (model, bundle_checksum(bundle))},
        state=StateConfig(),
        feedback=FeedbackConfig(),
        drift=DriftConfig(),
        detector=DetectorConfig(cold_start_s=0.0, cache_mb=8),
        learning=LearningConfig(),
        redaction=redaction,
    )
    lake, back = directory / "lake.jsonl", directory / "back.jsonl"
    outputs = Outputs(
        {
            "lake": FileOutput(type="file", path=str(lake)),
            "back": FileOutput(type="file", path=str(back), what="records", only="anomalies"),
        },
        state.anomalies,
        directory / "state",
        newest=lambda: state.recorder.last_number,
        redactor=state.redactor,
    )
    server = Server(state.detectors, ServerConfig(listen="127.0.0.1:0"), IngestConfig(), state=state)
    receivers = ReceiversConfig(otlp_http=OtlpHttpConfig(listen=None), forward=ForwardConfig(listen=None))
    intake = attach(
        server, receivers, RecordIngest(server.applications, IngestConfig(), RoutingConfig()), sink=outputs.sink
    )
    await outputs.start()
    address = f"127.0.0.1:{await server.start()}"
    async with AsyncDeepLogClient(address) as client:
        answer = await client.score(odd_orders(), options=FULL, flush=pb.Flush())
        learned = [LogEntry(body=body, application="fresh") for body in BODIES]
        await client.score(learned)
    attributes = [{"session": "s-9", "line": body, "inner": {"of": [body]}} for body in BODIES]
    records = Records(bodies=BODIES, times_ns=[5] * 5, attributes=attributes, origins=[Origin()] * 5)
    await intake.accept(records, size_bytes=9, key=None, timeout_s=20.0)
    stored = state.anomalies.totals().anomalies
    await until(lambda: lake.exists() and len(lake.read_text().splitlines()) == stored)
    await until(back.exists)
    await server.stop()
    for kept in state.kept.values():
        kept.sample.close()
        kept.sample.tidy()
    await outputs.stop()
    state.close()
    return answer, [json.loads(line) for line in lake.read_text().splitlines()]


async def test_secrets_are_neither_stored_nor_sent_out(small_bundle: Path, tmp_path: Path) -> None:
    answer, sent = await scored(small_bundle, tmp_path, REDACTION)
    assert leaks(tmp_path) == []
    bodies = [one["body"] for one in sent]
    assert "login with password=[redacted] refused" in bodies
    assert "customer [customer] is not known" in bodies
    # Whoever sent the text gets the verdict on it as it is.
    assert any("hunt3r2zq" in parameter for verdict in answer.verdicts for parameter in verdict.parameters)


async def test_the_search_finds_them_where_nothing_is_redacted(small_bundle: Path, tmp_path: Path) -> None:
    await scored(small_bundle, tmp_path, RedactionConfig())
    found = leaks(tmp_path)
    assert {secret for secret, _ in found} == set(SECRETS)
    assert {"anomalies.sqlite", "lake.jsonl", "back.jsonl"} <= {name for _, name in found}
    assert any(name.endswith((".jsonl", ".jsonl.zst")) and name.startswith("0") for _, name in found)
