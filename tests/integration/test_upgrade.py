"""A server takes over the state folder of an earlier release, and an earlier one is not misled by it later."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from deeplog_grpc.serving.state import RECOVERY
from deeplog_grpc.testing import Fault
from deeplog_grpc.v1 import verdict_pb2
from tests.integration.served import entries_in, served
from tests.states import FOLDERS, OPEN_SESSION, SEED
from tests.trained import LATER_S, order, with_times

REST = order(SEED)
REST = with_times(REST, [LATER_S + second for second in range(len(REST))])
REST = REST.slice(len(REST) // 2, len(REST))


@pytest.fixture(params=sorted(path.name for path in FOLDERS.iterdir()))
def left(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """What a release left behind: its bundle, its state folder, and what is known of them."""
    shutil.copytree(FOLDERS / request.param, tmp_path / "left")
    return tmp_path / "left"


def known(left: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((left / "known.json").read_text())
    return found


async def test_what_was_learned_and_stored_is_there(left: Path) -> None:
    expected = known(left)
    async with served(left / "model", left / "state") as up:
        assert up.state.detectors["orders"].model_version == expected["model_version"]
        stored = {one.verdict.verdict_id: one.verdict for one in await up.stored()}
        assert {name: (one.kind, one.session) for name, one in stored.items()} == {
            one["verdict_id"]: (one["kind"], one["session"]) for one in expected["anomalies"]
        }
        assert await up.alarm(Fault.WRONG_ORDER, flush=True)
        assert len(await up.stored()) > len(stored)


async def test_an_open_session_goes_on_where_it_was_saved(left: Path) -> None:
    is_saved = (left / "state" / RECOVERY).exists()
    async with served(left / "model", left / "state") as up:
        assert up.state.detectors["orders"].open_sessions == int(is_saved)  # type: ignore[attr-defined] # a Detector
        said = await up.score(entries_in(REST, OPEN_SESSION), flush=True)
    assert {one.kind for one in said} == {verdict_pb2.KIND_NORMAL}
    is_judged = [one.rank > 0 for one in said[: len(REST)]]
    assert all(is_judged) == is_saved, "where the beginning is not known, nothing is judged until a window is full"


async def test_after_a_rollback_sessions_of_before_are_not_taken_up(left: Path) -> None:
    """The release before knows no saved sessions, and leaves them where they are."""
    kept = left / "kept"
    async with served(left / "model", left / "state") as up:
        await up.score(entries_in(REST.slice(0, 2), "left-open"))
    shutil.copytree(left / "state" / RECOVERY, kept)
    async with served(left / "model", left / "state"):
        pass
    shutil.rmtree(left / "state" / RECOVERY)
    shutil.copytree(kept, left / "state" / RECOVERY)
    async with served(left / "model", left / "state") as up:
        assert up.state.restored.entries == 0
        assert up.state.detectors["orders"].open_sessions == 0  # type: ignore[attr-defined] # a Detector
