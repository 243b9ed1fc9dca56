"""Dead letters and positions on disk."""

import io
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deeplog_grpc.ingest.own import is_own
from deeplog_grpc.outputs.alerts import Alert, Sighting
from deeplog_grpc.outputs.config import FileOutput
from deeplog_grpc.outputs.dead_letters import DeadLetters
from deeplog_grpc.outputs.failures import TryAgainError
from deeplog_grpc.outputs.file import FileSender
from deeplog_grpc.outputs.positions import Positions
from deeplog_grpc.outputs.shapes import OutRecord

ALERT = Alert(latest=Sighting(group_id="g", at_s=1.5, application="shop", score=0.25), opened_s=1, count=3, told_s=1.25)


def test_dead_letters_are_bounded_and_the_newest_stay(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path / "deep" / "x.jsonl", max_bytes=4_000)
    for number in range(100):
        letters.add({"number": number}, output="x", error="HTTP status 400", answer="no")
        assert (tmp_path / "deep" / "x.jsonl").stat().st_size <= 4_000
    found = [json.loads(line)["letter"]["number"] for line in (tmp_path / "deep" / "x.jsonl").read_text().splitlines()]
    assert found == list(range(found[0], 100))
    assert len(found) > 10
    assert letters.count == 100
    assert (tmp_path / "deep" / "x.jsonl").stat().st_mode & 0o777 == 0o600


def test_positions_and_alerts_are_there_after_a_restart(tmp_path: Path) -> None:
    positions = Positions(tmp_path / "outputs.sqlite", last_number=5)
    assert (positions.get("a"), positions.alerts("a")) == (None, [])
    positions.put("a", 7, [ALERT])
    positions.put("b", 9)
    positions.close()
    again = Positions(tmp_path / "outputs.sqlite", last_number=12)
    assert (again.get("a"), again.get("b")) == (7, 9)
    assert again.alerts("a") == [ALERT]
    assert again.ends == [12]  # nobody needs to know of runs that all outputs are past
    again.put("a", 8, gone=["g"])
    assert again.alerts("a") == []
    again.close()


async def test_standard_output_that_nobody_reads_blocks_nothing_and_no_line_is_torn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader, writer = os.pipe()
    out = io.TextIOWrapper(os.fdopen(writer, "wb", buffering=0))
    monkeypatch.setattr("sys.stdout", out)
    records = [OutRecord(body="x" * 3_000, time_ns=1)] * 40
    with ThreadPoolExecutor(1) as thread:
        sender = FileSender(FileOutput(type="file", path="-", timeout_s=0.1), thread)
        with pytest.raises(TryAgainError, match="not read"):
            await sender.send(records)
        taken = os.read(reader, 1 << 20)
        await sender.send(records[:1])
        taken += os.read(reader, 1 << 20)
    out.close()
    os.close(reader)
    assert {len(json.loads(line)["body"]) for line in taken.splitlines()} == {3_000}


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"deeplog.output": "x"}, True),
        ({"deeplog.verdict_id": "1-1"}, True),
        ({"deeplog_verdict_id": "1-1"}, True),
        ({"deeplog": {"output": "x"}}, True),
        ({"deeplog": "yes"}, False),
        ({"deeplog.kind": "normal"}, False),
        ({}, False),
    ],
)
def test_own_records_are_known(attributes: dict[str, object], expected: bool) -> None:
    assert is_own(attributes) is expected
