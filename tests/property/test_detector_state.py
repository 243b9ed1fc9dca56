"""A detector restored from what another one saved, after any entry, says all that the other would have said."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeplog_grpc.detection import EntryBatch
from deeplog_grpc.storage.recovery import packed_state, unpacked
from tests.property.test_sharded_detector import ModelOf, entries, model_of, options, relaxed, said
from tests.sharded import local_shards, sharded_detector
from tests.trained import fresh_detector

__all__ = ["model_of"]  # the fixture


@pytest.mark.parametrize("place", range(3))
@relaxed
@given(batch=entries(), sizes=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3)), max_size=8), options=options)
def test_restored_after_any_entry(
    model_of: ModelOf, place: int, batch: EntryBatch, sizes: list[tuple[int, int]], options: dict[str, Any]
) -> None:
    """By itself (0) or over some shards, in turn."""
    model = model_of(place)
    going_on = fresh_detector(model, **options)
    restored: Any = fresh_detector(model, **options)
    start = 0
    for size, count in [*sizes, (len(batch), 0)]:
        state = unpacked(packed_state(restored.state()))
        restored = (
            sharded_detector(model, local_shards(count), **options) if count else fresh_detector(model, **options)
        )
        restored.restore(state)
        assert restored.open_sessions == going_on.open_sessions
        assert restored.next_deadline_ns == going_on.next_deadline_ns
        part = batch.slice(start, start + size)
        start += size
        assert said(restored.score(part)) == said(going_on.score(part))
    assert said(restored.flush()) == said(going_on.flush())
