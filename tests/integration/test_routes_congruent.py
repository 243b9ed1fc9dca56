"""The same raw lines by every route give the same verdicts."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.congruence import Row, judged, lines_of
from benchmarks.routes import ROUTES, Line, native_plugin
from deeplog_grpc.detection.verdicts import Kind
from deeplog_grpc.storage import load_bundle
from deeplog_grpc.testing import EPOCH_S, simulate_log

LINES = 1_200


@pytest.fixture(scope="module")
def lines() -> Sequence[Line]:
    log = simulate_log(150, seed=5, fault_rate=0.2, start_s=EPOCH_S + 86_400)
    return lines_of(log.lines[:LINES])


@pytest.fixture(scope="module")
def expected() -> dict[str, list[Row]]:
    """What the first route gave, once it has run."""
    return {}


@pytest.mark.parametrize("name", ROUTES)
async def test_a_route_gives_the_verdicts_of_score(
    name: str, lines: Sequence[Line], expected: dict[str, list[Row]], small_bundle: Path
) -> None:
    if not expected:
        expected["Score"] = await judged(load_bundle(small_bundle), lines, ROUTES["Score"])
    rows = await judged(load_bundle(small_bundle), lines, ROUTES[name])
    assert len(rows) == len(lines)
    assert sum(row.kind != Kind.NORMAL for row in rows) >= 5
    assert rows == expected["Score"]


async def test_the_native_plugin_gives_the_verdicts_of_score(
    lines: Sequence[Line], library: Path, small_bundle: Path
) -> None:
    expected = await judged(load_bundle(small_bundle), lines, ROUTES["Score"])
    assert await judged(load_bundle(small_bundle), lines, native_plugin(library)) == expected


async def test_another_order_is_told(lines: Sequence[Line], small_bundle: Path) -> None:
    """The comparison can fail."""
    other = [
        *lines[:-2],
        replace(lines[-1], body="something else", text="2023-11-15 23:59:59 something else"),
        lines[-2],
    ]
    first = await judged(load_bundle(small_bundle), lines, ROUTES["Score"])
    assert await judged(load_bundle(small_bundle), other, ROUTES["OTLP/gRPC"]) != first
