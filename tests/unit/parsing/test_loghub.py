"""Accuracy on real logs with known templates: one default configuration, online, one pass."""

import csv
import os
from pathlib import Path

import pytest

from deeplog_grpc.parsing import Parser, ParsingAccuracy, grouping_accuracy

DATA = Path(os.environ.get("DATA") or Path(__file__).parents[3] / ".." / "shared" / "data")
TRUTH = sorted((DATA / "loghub_2k").glob("*/*_structured_corrected.csv"))

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not TRUTH, reason="the real logs are not here"),
]


def accuracy(truth: Path) -> ParsingAccuracy:
    with truth.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    parser = Parser()
    lines = [row["Content"] for row in rows]
    keys = [
        key for start in range(0, len(lines), 100) for key in parser.parse(lines[start : start + 100]).keys.tolist()
    ]
    keys = [parser.resolve(key) for key in keys]
    return grouping_accuracy(keys, [row["EventTemplate"] for row in rows], [parser.template(key).text for key in keys])


@pytest.fixture(scope="module")
def results() -> dict[str, ParsingAccuracy]:
    return {truth.parent.name: accuracy(truth) for truth in TRUTH}


def test_grouping_accuracy(results: dict[str, ParsingAccuracy]) -> None:
    print(*(f"{name:12} {result}" for name, result in results.items()), sep="\n")
    assert sum(result.ga for result in results.values()) / len(results) >= 0.95
    assert min(result.ga for result in results.values()) >= 0.80


def test_grouping_accuracy_over_templates(results: dict[str, ParsingAccuracy]) -> None:
    assert sum(result.fga for result in results.values()) / len(results) >= 0.85
