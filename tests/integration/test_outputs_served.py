"""A server process with outputs: what it answers is what goes out, and feedback ends an alert."""

import json
from pathlib import Path

from deeplog_grpc.client import AsyncDeepLogClient
from deeplog_grpc.testing import Fault
from deeplog_grpc.v1 import feedback_pb2, verdict_pb2
from tests.integration.output_harness import Web, until
from tests.integration.served import FULL, order_of, port_of, started


async def test_what_is_answered_goes_out_and_feedback_ends_the_alert(bundle: Path, tmp_path: Path) -> None:
    lines = tmp_path / "lake.jsonl"
    async with Web().serving() as web:
        process = await started(
            bundle,
            tmp_path / "state",
            *("--set", f"outputs.lake={{type: file, path: {lines}}}"),
            *("--set", f"outputs.hook={{type: webhook, url: '{web.url}', kinds: [unseen_key]}}"),
        )
        try:
            port, logged = await port_of(process)
            async with AsyncDeepLogClient(f"127.0.0.1:{port}") as client:
                response = await client.score(order_of(Fault.UNSEEN_KEY), options=FULL)
                odd = [one for one in response.verdicts if one.kind != verdict_pb2.KIND_NORMAL]
                await until(lambda: lines.exists() and len(lines.read_text().splitlines()) == len(odd))
                await until(lambda: len(web.bodies) == 1)
                unseen = next(one for one in odd if one.kind == verdict_pb2.KIND_UNSEEN_KEY)
                await client.feedback(feedback_pb2.FEEDBACK_LABEL_FALSE_POSITIVE, verdict_id=unseen.verdict_id)
                await until(lambda: len(web.bodies) == 2)
        finally:
            process.terminate()
            await process.communicate()
    assert process.returncode == 0
    assert b'"names": ["hook", "lake"]' in logged
    found = [json.loads(line)["attributes"] for line in lines.read_text().splitlines()]
    assert [one["deeplog.verdict_id"] for one in found] == [one.verdict_id for one in odd]
    assert [one["deeplog.reason"] for one in found] == [one.reason for one in odd]
    assert [(one["status"], one["verdict_id"]) for one in web.bodies] == [
        ("firing", unseen.verdict_id),
        ("resolved", unseen.verdict_id),
    ]
