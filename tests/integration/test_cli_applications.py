"""``deeplog-grpc applications`` against a server with prepared answers, and a server that starts with nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deeplog_grpc.cli.app import app
from deeplog_grpc.client import AsyncDeepLogClient
from deeplog_grpc.v1 import application_pb2 as pb
from deeplog_grpc.v1.log_entry_pb2 import LogEntry
from tests.integration.fake_servicer import TIME_NS, FakeService
from tests.integration.served import port_of, started

LEARNING = pb.Application(
    application="shop/orders",
    state=pb.APPLICATION_STATE_LEARNING,
    entry_count=1_240,
    session_count=80,
    log_key_count=12,
    progress=0.4,
    message="learning: 1,240 of 2,000 entries",
)
DETECTING = pb.Application(
    application="billing",
    state=pb.APPLICATION_STATE_DETECTING,
    model_version=3,
    progress=1.0,
    message="detecting by version 3",
    last_trained_unix_nano=TIME_NS,
)
REFUSED = pb.Application(
    application="billing",
    state=pb.APPLICATION_STATE_DETECTING,
    model_version=3,
    message="none",
    last_refusal="it flags",
)
WAITING = pb.Application(application="billing", state=pb.APPLICATION_STATE_DETECTING, is_waiting=True)
UNDER_WAY = pb.Application(application="billing", state=pb.APPLICATION_STATE_RETRAINING, progress=0.5)


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deeplog_grpc.cli.applications.LOOK_S", 0.01)
    monkeypatch.setattr("deeplog_grpc.cli.applications.OUTPUT.width", 200)


def run(fake: FakeService, *arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["applications", *arguments, "--server", fake.address])
    assert done.exit_code == code, (done.output, done.exception)
    return done.output


def test_a_table_says_where_each_stands(fake: FakeService) -> None:
    fake.answer("ListApplications", pb.ListApplicationsResponse(applications=[DETECTING, LEARNING]))
    shown = run(fake)
    for text in ("shop/orders", "learning 40%", "1,240 of 2,000 entries", "detecting by version 3", "2024-05-01T10:00"):
        assert text in shown


def test_a_server_that_was_sent_nothing_says_so(fake: FakeService) -> None:
    fake.answer("ListApplications", pb.ListApplicationsResponse())
    assert run(fake) == "no application yet: the first entry that arrives makes one\n"


def test_json_is_a_line_each(fake: FakeService) -> None:
    fake.answer("ListApplications", pb.ListApplicationsResponse(applications=[DETECTING, LEARNING]))
    first, second = map(json.loads, run(fake, "--json").splitlines())
    assert (first["state"], first["last_trained"]) == ("detecting", "2024-05-01T10:00:00.000Z")
    assert (second["application"], second["progress"], second["entry_count"]) == ("shop/orders", 0.4, 1_240)


@pytest.mark.parametrize(("end", "code"), [(DETECTING, 0), (REFUSED, 3)])
def test_training_is_waited_for(fake: FakeService, end: pb.Application, code: int) -> None:
    fake.answer("TrainApplication", pb.TrainApplicationResponse(application=WAITING))
    answers = [pb.ListApplicationsResponse(applications=[one]) for one in (WAITING, UNDER_WAY, UNDER_WAY, end)]
    fake.answer("ListApplications", *answers)
    assert f"billing: {end.message}" in run(fake, "train", "billing", "--wait", code=code)
    assert len(fake.asked("ListApplications")) == 4
    assert fake.asked("TrainApplication")[0].application == "billing"


def test_training_is_not_waited_for_unasked(fake: FakeService) -> None:
    fake.answer("TrainApplication", pb.TrainApplicationResponse(application=UNDER_WAY))
    run(fake, "train", "billing")
    assert not fake.asked("ListApplications")


async def test_a_server_starts_with_nothing_and_learns(tmp_path: Path) -> None:
    process = await started(None, tmp_path / "state")
    try:
        port, _ = await port_of(process)
        async with AsyncDeepLogClient(f"127.0.0.1:{port}") as client:
            await client.score([LogEntry(body="hello", application="web")])
            (found,) = await client.applications()
        assert (found.application, found.state) == ("web", pb.APPLICATION_STATE_LEARNING)
    finally:
        process.terminate()
        await process.communicate()


def test_a_server_with_nothing_that_does_not_learn_is_refused(tmp_path: Path) -> None:
    program = "from deeplog_grpc.cli import main; main()"
    arguments = ["serve", "--state", str(tmp_path / "state"), "--set", "learning.enabled=false"]
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "there is no application to serve" in done.stderr
