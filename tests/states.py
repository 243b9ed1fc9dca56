"""State folders as a server leaves them, kept so that later releases are tried on them.

``python -m tests.states NAME`` writes ``tests/data/states/NAME`` with the program as it is now: a bundle, the state of
a server that was stopped while a session was open, and what is known of it.
"""

import asyncio
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from deeplog_grpc.storage import save_bundle
from deeplog_grpc.testing import Fault
from deeplog_grpc.v1 import feedback_pb2
from tests.integration.served import entries_in, served
from tests.trained import order, train_small

FOLDERS = Path(__file__).parent / "data" / "states"
OPEN_SESSION = "order-left-open"
SEED = 5
"""Of the order that is left open."""


async def _filled(bundle: Path, folder: Path) -> dict[str, Any]:
    """Serve for a while; returns what a later server has to know."""
    batch = order(SEED)
    async with served(bundle, folder) as up:
        (slow,) = [one for one in await up.alarm(Fault.SLOW, flush=True) if one.verdict_id][:1]
        await up.alarm(Fault.WRONG_ORDER, flush=True)
        answer = await up.client.feedback(feedback_pb2.FEEDBACK_LABEL_FALSE_POSITIVE, verdict_id=slow.verdict_id)
        await up.score(entries_in(batch.slice(0, len(batch) // 2), OPEN_SESSION))
        anomalies = [
            {"verdict_id": one.verdict.verdict_id, "kind": one.verdict.kind, "session": one.verdict.session}
            for one in await up.stored()
        ]
    return {"model_version": answer.model_version, "anomalies": anomalies}


def write(name: str) -> None:
    """Write a folder."""
    target = FOLDERS / name
    with tempfile.TemporaryDirectory() as made:
        bundle, state = Path(made) / "model", Path(made) / "state"
        save_bundle(train_small(), bundle, report={"entries": 1})
        known = asyncio.run(_filled(bundle, state))
        (state / "lock").unlink()
        (Path(made) / "known.json").write_text(json.dumps(known, indent=1) + "\n")
        shutil.copytree(made, target)


if __name__ == "__main__":
    write(sys.argv[1])
