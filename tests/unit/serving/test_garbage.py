"""Cyclic garbage goes, though most of what lives is not looked at."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from deeplog_grpc.serving.garbage import ShortPauses


class Node:
    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def pauses() -> Iterator[ShortPauses]:
    pauses = ShortPauses()
    pauses.start()
    yield pauses
    pauses.stop()


def test_a_cycle_that_dies_young_is_gone_with_the_next_collection(pauses: ShortPauses) -> None:
    dead = weakref.ref(Node())
    assert dead() is not None
    pauses.collect()
    assert dead() is None


def test_what_survives_is_not_looked_at_again(pauses: ShortPauses) -> None:
    kept: list[list[int]] = [[] for _ in range(1_000)]
    pauses.collect()
    assert not {id(one) for one in kept} & {id(one) for one in gc.get_objects()}


def test_a_cycle_that_dies_later_is_gone_when_much_was_set_aside(pauses: ShortPauses) -> None:
    node = Node()
    pauses.collect()  # sets it aside
    dead = weakref.ref(node)
    del node
    pauses.collect()
    pauses.sweep_if_due(is_quiet=True)
    assert dead() is not None
    left = gc.get_freeze_count()
    kept: list[list[int]] = [[] for _ in range(left + 1_000)]
    pauses.collect()
    pauses.sweep_if_due(is_quiet=False)
    assert dead() is not None  # not yet at any price
    pauses.sweep_if_due(is_quiet=True)
    assert dead() is None
    del kept


def test_under_load_there_is_a_bound_too(pauses: ShortPauses) -> None:
    node = Node()
    pauses.collect()
    dead = weakref.ref(node)
    del node
    kept: list[list[int]] = [[] for _ in range(3 * gc.get_freeze_count() + 1_000)]
    pauses.collect()
    pauses.sweep_if_due(is_quiet=False)
    assert dead() is None
    del kept


def test_the_collector_is_left_as_it_was() -> None:
    usual = gc.get_threshold()
    pauses = ShortPauses()
    pauses.start()
    assert gc.get_threshold() != usual
    pauses.stop()
    assert gc.get_threshold() == usual
    assert gc.get_freeze_count() == 0
