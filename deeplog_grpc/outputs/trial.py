"""One try of an output with a made-up anomaly: what an operator does before relying on it."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

from deeplog_grpc.detection.verdicts import Kind
from deeplog_grpc.outputs.alerts import Alert, Notice, Occasion, Sighting
from deeplog_grpc.outputs.config import AlertOutput, Output, RecordOutput, kind_name
from deeplog_grpc.outputs.failures import TryAgainError
from deeplog_grpc.outputs.service import record_sender
from deeplog_grpc.outputs.shapes import anomaly_record
from deeplog_grpc.outputs.web import web_sender
from deeplog_grpc.storage import AnomalyState, StoredAnomaly
from deeplog_grpc.v1 import anomaly_pb2, verdict_pb2

BODY = "test of an output of deeplog-grpc"
REASON = "this is a test: nothing is abnormal"
APPLICATION = "test"
GROUP = "g-test"


async def try_output(name: str, config: Output) -> None:
    """Send a made-up anomaly once.

    Raises
    ------
    TryAgainError, NotTakenError
        If the other side is away or busy, or refuses it.
    ConfigError
        If a certificate cannot be read.
    """
    try:
        async with asyncio.timeout(config.timeout_s):
            await _send(name, config)
    except TimeoutError:
        raise TryAgainError(f"no answer within {config.timeout_s:g} s") from None


async def _send(name: str, config: Output) -> None:
    if isinstance(config, AlertOutput):
        alerts = web_sender(name, config)
        try:
            await alerts.send([sample_notice(time.time())])
        finally:
            await alerts.close()
    elif isinstance(config, RecordOutput):
        with ThreadPoolExecutor(1) as thread:
            records = record_sender(name, config, thread)
            try:
                await records.send([anomaly_record(sample_anomaly(time.time_ns()), name)])
            finally:
                await records.close()


def sample_notice(now: float) -> Notice:
    """A notification of a made-up group."""
    latest = Sighting(
        group_id=GROUP,
        at_s=now,
        application=APPLICATION,
        kind=kind_name(Kind.UNSEEN_KEY),
        key=0,
        template=BODY,
        reason=REASON,
        session="test",
        score=1.0,
    )
    return Notice(occasion=Occasion.FIRING, alert=Alert(latest=latest, opened_s=now, count=1))


def sample_anomaly(time_ns: int) -> StoredAnomaly:
    """A made-up anomaly."""
    verdict = verdict_pb2.Verdict(
        application=APPLICATION,
        kind=verdict_pb2.KIND_UNSEEN_KEY,
        session="test",
        score=1.0,
        template=BODY,
        reason=REASON,
        time_unix_nano=time_ns,
    )
    return StoredAnomaly(
        number=1 << 32,
        application=APPLICATION,
        kind=Kind.UNSEEN_KEY,
        key=0,
        session="test",
        group_id=GROUP,
        time_ns=time_ns,
        score=1.0,
        state=AnomalyState.OPEN,
        feedback_id="",
        stored_ns=time_ns,
        is_muted=False,
        evidence=anomaly_pb2.Anomaly(verdict=verdict, body=BODY).SerializeToString(),
    )
