"""Fluent Bit itself, with the very configurations that are delivered: every line is scored, over a kill of the server.

Needs a Fluent Bit, named by ``FLUENT_BIT``; skipped without.
"""

import os

import pytest

from benchmarks.fluent_bit import FORMS, ROUTES, measure

LINES = 30_000
pytestmark = [
    pytest.mark.skipif("FLUENT_BIT" not in os.environ, reason="FLUENT_BIT names no Fluent Bit"),
    pytest.mark.timeout(400),
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("route", ROUTES)
def test_no_line_is_lost(route: str, form: str, request: pytest.FixtureRequest) -> None:
    plugin = request.getfixturevalue("library") if route == "deeplog" else None
    found = measure(route, os.environ["FLUENT_BIT"], LINES, plugin=plugin, form=form, kill=False)
    assert (found["lost"], found["doubled"]) == (0, 0)


@pytest.mark.parametrize("route", ROUTES)
def test_no_line_is_lost_when_the_server_is_killed(route: str, request: pytest.FixtureRequest) -> None:
    plugin = request.getfixturevalue("library") if route == "deeplog" else None
    found = measure(route, os.environ["FLUENT_BIT"], LINES, plugin=plugin)
    assert found["lost"] == 0
