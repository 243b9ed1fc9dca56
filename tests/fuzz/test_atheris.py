"""A few seconds of the coverage-guided targets, so that they still run when somebody wants hours of them."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("atheris", reason="atheris has no wheel for this platform")


@pytest.mark.parametrize("target", ["forward", "otlp_json"])
def test_a_target_runs_and_finds_nothing(target: str, tmp_path: Path) -> None:
    asked = [
        sys.executable,
        "-m",
        "tests.fuzz.atheris_targets",
        target,
        "--seconds",
        "1",
        "--corpus",
        str(tmp_path / "c"),
    ]
    done = subprocess.run(asked, capture_output=True, timeout=100, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr[-2_000:]
    assert b"Done " in done.stderr
