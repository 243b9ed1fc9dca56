"""What holds for diagnoses whatever a detector reads."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deeplog_grpc.detection import ApplicationModel, Detector, EntryBatch, SessionConfig
from deeplog_grpc.detection.watermark import NS_PER_S
from deeplog_grpc.workflow import Diagnosis
from tests.learned_workflows import workflow_of_orders
from tests.trained import LATER_S, fresh_detector, order

_BODIES = [*order(1).bodies, *order(2).bodies, "disk 7 is on fire"]
_relaxed = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def diagnosed(trained: ApplicationModel) -> ApplicationModel:
    return replace(trained, workflow=workflow_of_orders(trained))


def diagnoses(detector: Detector, batch: EntryBatch, size: int) -> list[tuple[int, str, Diagnosis | None]]:
    """Those of all anomalies, with their places in the whole; ends are at negative ones."""
    found = []
    for start in range(0, len(batch), size):
        scored = detector.score(batch.slice(start, min(start + size, len(batch))))
        # The last first: what is asked for does not depend on what was.
        rows = [scored.verdict(row) for row in reversed(scored.anomalies())]
        found += [(start + verdict.index, verdict.session, verdict.diagnosis) for verdict in rows]
        ends = [end for end in scored.session_ends if end.is_anomaly]
        found += [(-start - end.index - 1, end.session, end.diagnosis) for end in ends]
    found += [(-len(batch) - 1, end.session, end.diagnosis) for end in detector.flush().session_ends if end.is_anomaly]
    return sorted(found, key=lambda one: one[:2])


@_relaxed
@given(
    st.lists(
        st.tuples(
            st.sampled_from(_BODIES), st.sampled_from(["a", "b", "c", ""]), st.sampled_from([0.0, 0.5, 30.0, 61.0])
        ),
        max_size=80,
    ),
    st.sampled_from([1, 3, 5, 70, 256]),
    st.sampled_from([2, 100]),
)
def test_batch_sizes_change_no_diagnosis(
    diagnosed: ApplicationModel, entries: list[tuple[str, str, float]], path_entries: int, max_open: int
) -> None:
    now_s, times_ns = LATER_S, []
    for _, _, step_s in entries:
        now_s += step_s
        times_ns.append(int(now_s * NS_PER_S))
    batch = EntryBatch.of(
        [body for body, _, _ in entries], times_ns=times_ns, sessions=[session for _, session, _ in entries]
    )
    found = [
        diagnoses(
            fresh_detector(
                diagnosed,
                timeout_s=60.0,
                sessions=SessionConfig(end_patterns=("order closed", "on fire")),
                path_entries=path_entries,
                max_open_sessions=max_open,
            ),
            batch,
            size,
        )
        for size in (1_000, 7, 1)
    ]
    assert found[0] == found[1] == found[2]
    assert all(diagnosis is not None for _, _, diagnosis in found[0])
