"""What the statistics of a slot say of simulated values."""

import json
import random
import uuid
from collections.abc import Callable

import pytest

from deeplog_grpc.parsing import Parser, SlotColumn, SlotStatistics, SlotTable, ValueKind
from deeplog_grpc.parsing.slots import CAPACITY, kept_text
from deeplog_grpc.parsing.values import NO_CONTEXT, SlotContext, context_of

Simulator = Callable[[random.Random, int], str]


def slot_of(texts: list[str], context: SlotContext = NO_CONTEXT, size: int = 997) -> SlotStatistics:
    slot = SlotStatistics(context=context)
    for start in range(0, len(texts), size):
        slot.update(SlotColumn(texts=texts[start : start + size], context=context), lines=range(start, start + size))
    return slot


def simulated(simulator: Simulator, count: int = 5000) -> list[str]:
    rng = random.Random(5)
    return [simulator(rng, n) for n in range(count)]


def zipf(rng: random.Random, n: int) -> str:
    return f"user{int(rng.paretovariate(1.0))}"


@pytest.mark.parametrize(
    "simulator",
    [
        lambda rng, n: str(uuid.UUID(int=rng.getrandbits(128))),
        lambda rng, n: f"req-{n}",
        lambda rng, n: str(1000 + n),  # a sequence number
        lambda rng, n: str(rng.randrange(10**9, 10**10)),  # a reference
        lambda rng, n: f"blk_{n // 3}",  # each block three times
        lambda rng, n: f"/data/{n}",
    ],
)
def test_identifiers_are_told(simulator: Simulator) -> None:
    slot = slot_of(simulated(simulator))
    assert slot.is_identifier
    assert not slot.is_categorical(CAPACITY)


@pytest.mark.parametrize(
    ("simulator", "context"),
    [
        (lambda rng, n: f"{rng.lognormvariate(0, 2):.7f}", NO_CONTEXT),
        (lambda rng, n: str(rng.randrange(10**9)), context_of("sent ", " bytes")),
        (lambda rng, n: str(int(rng.lognormvariate(9, 2))), NO_CONTEXT),
        (lambda rng, n: f"{rng.random():.6f}s", NO_CONTEXT),
        (lambda rng, n: rng.choice(("GET", "PUT")), NO_CONTEXT),
        (lambda rng, n: f"10.0.0.{rng.randrange(250)}", NO_CONTEXT),
        (zipf, NO_CONTEXT),
    ],
)
def test_amounts_and_names_are_no_identifiers(simulator: Simulator, context: SlotContext) -> None:
    assert not slot_of(simulated(simulator), context).is_identifier


def test_little_is_said_of_few_values() -> None:
    slot = slot_of([f"req-{n}" for n in range(20)])
    assert not slot.is_identifier
    assert not slot.is_categorical(CAPACITY)
    assert not slot.is_constant
    assert slot_of(["x"]).is_constant
    assert (slot_of([]).kind, slot_of([]).novelty, slot_of([]).numeric_share) == (ValueKind.EMPTY, 1.0, 0.0)


def test_categories_are_a_few_values_that_come_again() -> None:
    slot = slot_of(simulated(lambda rng, n: rng.choice("abcde")))
    assert slot.is_categorical(5)
    assert not slot.is_categorical(4)
    assert sorted(slot.values) == list("abcde")
    assert slot.novelty == 0.0


@pytest.mark.parametrize("true", [100, 128, 129, 1000, 20_000])
def test_the_number_of_distinct_values(true: int) -> None:
    slot = slot_of([f"name{n % true}" for n in range(3 * true)])
    assert slot.is_complete == (true <= CAPACITY)
    assert slot.distinct == pytest.approx(true, rel=0.0 if true <= CAPACITY else 0.3)
    assert set(slot.values.values()) == {3}
    assert len(slot.values) == min(true, CAPACITY)


def test_the_estimate_has_its_stated_error() -> None:
    errors = [slot_of([f"{prefix}{n}" for n in range(4000)]).distinct / 4000 - 1 for prefix in range(40)]
    assert (sum(error**2 for error in errors) / len(errors)) ** 0.5 < 0.13
    assert abs(sum(errors) / len(errors)) < 0.05


def test_novelty_is_the_rate_at_which_new_values_came() -> None:
    texts = simulated(lambda rng, n: f"new{n}" if rng.random() < 0.1 else f"old{rng.randrange(20)}")
    assert slot_of(texts).novelty == pytest.approx(0.1, abs=0.04)


def test_kinds_and_numbers_are_shares_of_the_values() -> None:
    slot = slot_of(["7", "7", "9", "-"] * 25, context_of("took ", " ms"))
    assert slot.kinds == {ValueKind.DURATION: 0.75, ValueKind.IDENTIFIER: 0.25}
    assert slot.numeric_share == 0.75


def test_batches_and_saving_change_nothing() -> None:
    texts = simulated(lambda rng, n: rng.choice((f"{rng.getrandbits(12)}", "a" * 200 + str(n % 3), "\ud800", "")))
    whole = slot_of(texts)
    assert slot_of(texts, size=7) == whole
    half = slot_of(texts[:1234])
    loaded = SlotStatistics.from_state(json.loads(json.dumps(half.state())), NO_CONTEXT)
    loaded.update(SlotColumn(texts=texts[1234:], context=NO_CONTEXT), lines=range(1234, len(texts)))
    assert loaded == whole


def test_slots_keep_what_was_learned_where_a_template_grows() -> None:
    parser, table = Parser(), SlotTable()
    table.update(parser.parse([f"session {n} opened for user ann" for n in range(3)]))
    assert [slot.count for slot in table.slots(0)] == [3]
    table.update(parser.parse(["session 4 opened for user bob"]))
    assert [slot.count for slot in table.slots(0)] == [4, 1]
    loaded = SlotTable.from_state(json.loads(json.dumps(table.state())))
    assert loaded.slots(0) == table.slots(0)
    loaded.drop(0)
    assert loaded.slots(0) == ()


def test_a_hostile_slot_stays_small() -> None:
    slot = slot_of([f"{n:06d}" * 2000 for n in range(3000)])
    assert len(json.dumps(slot.state())) < 20_000


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_the_first_line_of_each_value_is_kept(size: int) -> None:
    texts = [f"v{n // 50}" for n in range(200)]
    slot = slot_of(texts, size=size)
    assert {value: slot.first_seen(value).ordinal for value in slot.values} == {"v0": 0, "v1": 50, "v2": 100, "v3": 150}
    assert SlotStatistics.from_state(slot.state(), NO_CONTEXT).first_seen("v2") == (100, 100)


def test_what_is_kept_of_a_value_can_be_written_to_a_file() -> None:
    assert kept_text("caf\u00e9 \ud800") == "caf\u00e9 ?"
    assert kept_text("\udfff" * 500).encode()
