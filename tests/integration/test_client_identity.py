"""What clients name is counted once by a real server."""

from collections.abc import AsyncIterator

from deeplog_grpc.client import StreamItem
from tests.integration.server_harness import entries, running


async def test_a_named_batch_and_a_named_stream_are_counted_once() -> None:
    async with running() as up:
        batch = entries(["open", "write"])
        first = await up.client.score(batch, batch_id="b-1")
        again = await up.client.score(batch, batch_id="b-1")
        other = await up.client.score(batch)
        assert (first.is_repeat, again.is_repeat, other.is_repeat) == (False, True, False)

        async def items() -> AsyncIterator[StreamItem]:
            yield entries(["open"], session="t")

        told = []
        for sequence in (5, 5, 6):
            results = up.client.stream(items(), client_id="me", first_sequence=sequence)
            told += [(result.sequence, result.response.is_repeat) async for result in results]
        assert told == [(5, False), (5, True), (6, False)]
