"""Alert rules and dashboard: Prometheus understands them, alerts come when they should, metrics are those there are."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.tools import CHART, ROOT, run

RULES = CHART / "files" / "rules.yaml"
DASHBOARD = CHART / "files" / "dashboard.json"
RULE_TESTS = Path(__file__).with_name("rules_test.yaml")
DOCUMENTED = ROOT / "docs" / "observability.md"
_METRIC = re.compile(r"\b(?:deeplog|process)_[a-z_]+\b")
_PARTS = re.compile(r"_(bucket|count|sum)$")
_GRAFANA = {"$__rate_interval": "5m", "$job": ".*", "$instance": ".*", "$application": ".*"}
WIDTH = 24
"""Columns of Grafana's grid."""


@pytest.fixture(scope="module")
def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return found


def expressions(dashboard: dict[str, Any]) -> Iterator[str]:
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield target["expr"]


def metrics(text: str) -> set[str]:
    return {_PARTS.sub("", name) for name in _METRIC.findall(text)}


def test_prometheus_takes_the_rules(promtool: Path, rules: list[dict[str, Any]]) -> None:
    assert f"{len(rules)} rules found" in run(promtool, "check", "rules", RULES)


def test_alerts_come_when_they_should_and_not_before(promtool: Path, tmp_path: Path) -> None:
    for file in (RULES, RULE_TESTS):
        shutil.copy(file, tmp_path)
    assert "SUCCESS" in run(promtool, "test", "rules", tmp_path / RULE_TESTS.name)


def test_every_alert_is_tested_both_ways_and_says_what_is_wrong(rules: list[dict[str, Any]]) -> None:
    cases = [one for group in yaml.safe_load(RULE_TESTS.read_text())["tests"] for one in group["alert_rule_test"]]
    names = {rule["alert"] for rule in rules}
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == names
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == names
    for rule in rules:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"].endswith(".")


def test_prometheus_takes_every_expression_of_the_dashboard(
    promtool: Path, dashboard: dict[str, Any], tmp_path: Path
) -> None:
    asked = []
    for number, text in enumerate(expressions(dashboard)):
        for variable, value in _GRAFANA.items():
            text = text.replace(variable, value)
        assert "$" not in text
        asked.append({"record": f"panel:{number}", "expr": text})
    file = tmp_path / "panels.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": asked}]}))
    assert f"{len(asked)} rules found" in run(promtool, "check", "rules", file)


def test_panels_have_a_place_of_their_own_and_say_what_they_show(dashboard: dict[str, Any]) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= WIDTH
        taken |= cells
        assert panel["title"]
    identifiers = [panel["id"] for panel in dashboard["panels"]]
    assert len(identifiers) == len(set(identifiers))
    variables = {one["name"] for one in dashboard["templating"]["list"]}
    assert set(re.findall(r"\$\{?([a-z]\w+)\}?", json.dumps(dashboard["panels"]))) <= variables


def test_every_metric_is_documented(rules: list[dict[str, Any]], dashboard: dict[str, Any]) -> None:
    used = {name for rule in rules for name in metrics(rule["expr"])}
    used |= {name for text in expressions(dashboard) for name in metrics(text)}
    used |= {name for one in dashboard["templating"]["list"] for name in metrics(json.dumps(one["query"]))}
    assert len(used) > 30
    if not DOCUMENTED.exists():
        pytest.skip(f"there is no {DOCUMENTED.name} to compare with")
    assert not used - metrics(DOCUMENTED.read_text())
