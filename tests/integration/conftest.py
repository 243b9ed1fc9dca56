"""What tests over a real connection share."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deeplog_grpc.cli import main
from tests.integration.fake_servicer import FakeService, fake_service
from tests.integration.plugin import build


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run the program in this process: exit code, standard output, standard error."""

    def do(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["deeplog-grpc", *map(str, arguments)])
        code: object = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
        output = capsys.readouterr()
        assert isinstance(code, int)
        return code, output.out, output.err

    return do


@pytest.fixture
def fake() -> Iterator[FakeService]:
    """A server with prepared answers."""
    with fake_service() as service:
        yield service


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output plugin of Fluent Bit; skips where it cannot be built."""
    return build(tmp_path_factory.mktemp("plugin"))
