"""Each promise of docs/specs/reliability.md names tests, and each of them is there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/specs/reliability.md").read_text()
PROMISES = {part.partition("\n")[0]: part for part in re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]}
NAMED = re.compile(r"`(tests/[\w/]+\.py)::([\w:]+)`")


def defined_in(path: Path) -> set[str]:
    """Names of the functions of a file, those of classes with the class."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {
                f"{node.name}::{own.name}"
                for own in node.body
                if isinstance(own, ast.FunctionDef | ast.AsyncFunctionDef)
            }
    return found


def test_the_promises_are_numbered() -> None:
    assert [title.partition(".")[0] for title in PROMISES] == [f"P{number}" for number in range(1, 15)]


@pytest.mark.parametrize("title", PROMISES, ids=lambda title: title.partition(".")[0])
def test_a_promise_is_proved_by_tests_that_are_there(title: str) -> None:
    named = NAMED.findall(PROMISES[title])
    assert named
    assert re.search(r"\b(MUST|SHOULD)\b", PROMISES[title])
    missing = [f"{path}::{name}" for path, name in named if name not in defined_in(ROOT / path)]
    assert not missing
    assert all(name.rpartition("::")[2].startswith("test_") for _, name in named)
