"""The contract is well formed, its generated code is current, and its numbers are those of the package."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from deeplog_grpc.detection.verdicts import EndReason, Kind
from deeplog_grpc.parsing import ValueKind
from deeplog_grpc.serving.answers import END_REASONS, VALUE_KINDS
from deeplog_grpc.v1 import parameter_pb2, verdict_pb2
from deeplog_grpc.workflow import Deviation

ROOT = Path(__file__).resolve().parents[2]
BUF = Path(sysconfig.get_path("scripts")) / "buf"


def test_the_generated_code_is_current(tmp_path: Path) -> None:
    protos = sorted(str(path) for path in (ROOT / "proto/deeplog_grpc/v1").glob("*.proto"))
    outputs = [f"--{kind}_out={tmp_path}" for kind in ("python", "pyi", "grpc_python")]
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT / 'proto'}", *outputs, *protos], check=True, cwd=ROOT
    )
    fresh = {path.name: path.read_text() for path in (tmp_path / "deeplog_grpc/v1").iterdir()}
    stored = {path.name: path.read_text() for path in (ROOT / "deeplog_grpc/v1").glob("*_pb2*")}
    assert len(fresh) == 3 * len(protos)
    assert fresh == stored, "proto/ was changed: run `make proto`"


@pytest.mark.parametrize("command", [["lint"], ["format", "-d", "--exit-code"]])
def test_buf_finds_nothing(command: list[str]) -> None:
    done = subprocess.run([BUF, *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_kinds_have_the_numbers_of_the_package() -> None:
    declared = {name.removeprefix("KIND_"): number for name, number in verdict_pb2.Kind.items() if number}
    assert declared == {kind.name: kind.value for kind in Kind}


def test_every_deviation_has_its_number() -> None:
    declared = {name.removeprefix("DEVIATION_"): number for name, number in verdict_pb2.Deviation.items() if number}
    assert declared == {deviation.name: deviation.value for deviation in Deviation}


def test_every_kind_of_value_has_its_number() -> None:
    assert set(VALUE_KINDS.values()) == set(parameter_pb2.ValueKind.keys()) - {"VALUE_KIND_UNSPECIFIED"}
    assert set(VALUE_KINDS) == set(ValueKind)


def test_every_end_of_a_session_has_its_reason() -> None:
    prefix = "SESSION_END_REASON_"
    declared = {name.removeprefix(prefix): number for name, number in verdict_pb2.SessionEndReason.items() if number}
    assert declared == {reason.name: number for reason, number in END_REASONS.items()}
    assert set(END_REASONS) == set(EndReason)
