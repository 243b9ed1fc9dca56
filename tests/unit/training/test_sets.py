"""The benchmark's way to read data sets; that it learns and counts is tested on a simulated log."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeplog_grpc.detection import EntryBatch
from deeplog_grpc.testing import EPOCH_S, simulate_log
from tests.trained import entries_of

sets: Any = pytest.importorskip("benchmarks.sets")

DATA = Path(os.environ.get("DATA") or Path(__file__).parents[3] / ".." / "shared" / "data")


def test_entries_are_put_in_the_order_of_their_times() -> None:
    left = EntryBatch.of(["a", "b", "c"], times_ns=[3, 3, 9])
    right = EntryBatch.of(["d", "e"], times_ns=[1, 3])
    assert sets.by_time([left, right]).bodies == ["d", "a", "b", "e", "c"]


def test_a_line_of_a_stack_trace_has_the_time_of_its_entry() -> None:
    batch = sets._container("run/c1", ["2015-10-17 15:38:04,118 ERROR failed", "\tat java.lang.Thread.run", ""])
    assert batch.sessions == ["run/c1"] * 2
    assert batch.times_ns[0] == batch.times_ns[1] > 0


@pytest.mark.parametrize(
    ("record", "body"),
    [
        (json.dumps({"log": "16:42:22.382 INFO  done\n"}), "INFO  done"),
        (json.dumps({"log": "\n"}), json.dumps({"log": "\n"})),  # an entry needs a body
        ("no json", "no json"),
    ],
)
def test_the_body_of_a_container_record(record: str, body: str) -> None:
    assert sets._body(record) == body


def test_a_group_is_flagged_when_one_of_its_sessions_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sets.console, "quiet", True)
    train = simulate_log(120, seed=1)
    judged = simulate_log(30, seed=2, fault_rate=0.3, start_s=EPOCH_S + 3600)
    batch = entries_of(judged.lines)
    session_of = [next(name for name in judged.faults if name in body) for body in batch.bodies]
    group_of = {name: "good" if fault is None else f"bad {fault}" for name, fault in judged.faults.items()}
    bad = sorted({group for group in group_of.values() if group != "good"})
    found = sets.judge_groups(
        entries_of(train.lines),
        replace(batch, sessions=[f"{group_of[name]}/{name}" for name in session_of]),
        group_of=lambda session: session.split("/")[0],
        abnormal=bad,
        normal=["good", "silent"],
    )
    assert (found.groups.combined.normal, found.groups.combined.abnormal) == (2, len(bad))
    assert found.groups.combined.fn == 0
    assert found.sessions.combined.normal + found.sessions.combined.abnormal == 30
    assert found.groups.combined.fp == int(found.sessions.combined.fp > 0)
    assert set(found.groups.baselines) == set(found.sessions.baselines)


@pytest.mark.shared
@pytest.mark.skipif(not (DATA / "nezha_trainticket").is_dir(), reason="the real logs are not here")
@pytest.mark.parametrize("by_service", [False, True])
def test_traces_of_a_minute_are_in_order(by_service: bool) -> None:
    path = DATA / "nezha_trainticket" / "normal" / "2023-01-29_08_50_log.csv"
    batch = sets._records(path, "w", by_service=by_service)
    trace = min(sets._traces(batch))
    part = sets._of_traces(batch, {trace}, "v")
    assert len(batch) == 2489
    assert all(session.startswith(f"v/{trace}") for session in part.sessions)
    assert (len(set(part.sessions)) > 1) is by_service
    assert (np.diff(sets.by_time([batch]).times_ns) >= 0).all()
