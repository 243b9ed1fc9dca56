"""What was answered before is answered from memory, within bounds."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from deeplog_grpc.errors import InputError, QueueFullError
from deeplog_grpc.serving.config import DeliveriesConfig
from deeplog_grpc.serving.deliveries import Deliveries
from deeplog_grpc.serving.delivery import Key

KEY: Key = ("score", b"batch")


def does(answer: str, done: list[str]) -> Callable[[], Awaitable[str]]:
    async def work() -> str:
        done.append(answer)
        await asyncio.sleep(0)
        return answer

    return work


async def test_a_repetition_while_the_first_is_under_way_waits_for_its_answer() -> None:
    deliveries, done = Deliveries(DeliveriesConfig()), list[str]()
    answers = await asyncio.gather(*(deliveries.once(KEY, b"d", does(name, done), len) for name in ("one", "two")))
    assert answers == [("one", False), ("one", True)]
    assert (done, deliveries.repeats) == (["one"], 1)


async def test_a_caller_that_goes_away_does_not_undo_the_work() -> None:
    deliveries, done, go_on = Deliveries(DeliveriesConfig()), list[str](), asyncio.Event()

    async def work() -> str:
        await go_on.wait()
        done.append("one")
        return "one"

    caller = asyncio.create_task(deliveries.once(KEY, b"d", work, len))
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.wait([caller])
    go_on.set()
    assert await deliveries.once(KEY, b"d", does("two", done), len) == ("one", True)
    assert done == ["one"]


async def test_a_failure_is_told_to_all_that_wait_and_is_forgotten() -> None:
    deliveries, done = Deliveries(DeliveriesConfig()), list[str]()

    async def refuse() -> str:
        await asyncio.sleep(0)
        raise QueueFullError("full")

    results = await asyncio.gather(*(deliveries.once(KEY, b"d", refuse, len) for _ in range(2)), return_exceptions=True)
    assert [type(result) for result in results] == [QueueFullError] * 2
    assert await deliveries.once(KEY, b"d", does("one", done), len) == ("one", False)


async def test_a_failure_that_nobody_waits_for_is_not_reported_by_the_event_loop() -> None:
    deliveries, reported = Deliveries(DeliveriesConfig()), list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))

    async def refuse() -> str:
        raise QueueFullError("full")

    answer, _ = deliveries.begin(KEY, b"d", refuse, len)
    answer.cancel()
    await asyncio.sleep(0.01)
    assert not reported
    assert (await deliveries.once(KEY, b"d", does("one", []), len))[1] is False


@pytest.mark.parametrize("is_done", [False, True])
async def test_other_content_under_a_known_name_is_refused(is_done: bool) -> None:
    deliveries, done = Deliveries(DeliveriesConfig()), list[str]()
    first, _ = deliveries.begin(KEY, b"d", does("one", done), len)
    if is_done:
        await first
    with pytest.raises(InputError, match=r"^batch_id: names a delivery that was sent before with other content"):
        await deliveries.once(KEY, b"e", does("two", done), len, field="batch_id")
    assert await first == "one"


async def test_work_starts_in_the_order_of_the_calls() -> None:
    deliveries, done = Deliveries(DeliveriesConfig()), list[str]()
    futures = [deliveries.begin(("s", number), b"", does(str(number), done), len)[0] for number in range(20)]
    await asyncio.gather(*futures)
    assert done == [str(number) for number in range(20)]


async def test_answers_that_must_make_room_are_counted_and_said_once() -> None:
    deliveries = Deliveries(DeliveriesConfig(max_mb=1))
    with capture_logs() as logs:
        for number in range(5):
            await deliveries.once(("s", number), b"", does("x" * 2**19, []), len)
    assert (len(deliveries), deliveries.forgotten_early) == (1, 4)
    assert [log["log_level"] for log in logs] == ["warning"]


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 400_000), st.integers(0, 4)), max_size=40),
    max_count=st.integers(1, 4),
)
def test_it_behaves_as_a_list_of_the_newest_answers(steps: list[tuple[int, int, int]], max_count: int) -> None:
    now = 0.0
    deliveries = Deliveries(DeliveriesConfig(max_age_s=5, max_count=max_count, max_mb=1), clock=lambda: now)
    model: list[tuple[int, str, float]] = []

    async def run() -> None:
        nonlocal now, model
        for name, size, wait_s in steps:
            now += wait_s
            model = [one for one in model if now - one[2] < 5]
            expected = next((answer for known, answer, _ in model if known == name), None)
            answer, is_repeat = await deliveries.once(("s", name), b"", does("x" * size, []), len)
            assert is_repeat == (expected is not None)
            if is_repeat:
                assert answer == expected
                continue
            model.append((name, answer, now))
            while len(model) > max_count or sum(len(one[1]) + 512 + 9 for one in model) > 2**20:
                model.pop(0)
            assert len(deliveries) == len(model)
            assert deliveries.size_bytes == sum(len(one[1]) + 512 + 9 for one in model)

    asyncio.run(run())
    assert len(deliveries) <= max_count
