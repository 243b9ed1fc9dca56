"""One server for all that is thrown at it: what one test does to it, the next one finds."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz.fuzzed_server import FuzzedServer, fuzzed_server

collect_ignore = ["atheris_targets.py"]
"""Not looked at for doctests: it needs atheris, and instruments what it imports."""


@pytest.fixture(scope="module")  # not alive beside other tests, whose words and event loops are in the same process
def server(small_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FuzzedServer]:
    with fuzzed_server(small_bundle, tmp_path_factory.mktemp("fuzzed") / "state") as running:
        yield running


@pytest.fixture
def well(server: FuzzedServer) -> Iterator[FuzzedServer]:
    """The server; it must be well after the test. What others logged before, in this process, is not its doing."""
    server.watched.events.clear()
    server.watched.loop_errors.clear()
    yield server
    server.check_well()
