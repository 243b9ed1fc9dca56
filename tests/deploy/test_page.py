"""docs/kubernetes.md: what it shows can be given to the chart, and what it names is there."""

import re
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.policies import check_schema, check_server
from tests.deploy.tools import CHART, ROOT, rendered

PAGE = (ROOT / "docs" / "kubernetes.md").read_text()
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())


def blocks() -> list[dict[str, Any]]:
    return [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]


def test_the_values_that_it_shows_are_values_of_the_chart(helm: Path, tmp_path: Path) -> None:
    shown = [block for block in blocks() if block.keys() <= VALUES.keys()]
    assert len(shown) == 2
    for number, block in enumerate(shown):
        file = tmp_path / f"{number}.yaml"
        file.write_text(yaml.safe_dump(block))
        objects = rendered(helm, "--values", file, "--api-versions", "monitoring.coreos.com/v1")
        check_schema(objects)
        check_server(objects)


def test_the_scaler_asks_for_the_metric_that_the_adapter_gives() -> None:
    (block,) = (block for block in blocks() if "rules" in block)
    (rule,) = block["rules"]["custom"]
    assert rule["name"]["as"] == VALUES["autoscaling"]["metricName"]


def test_what_it_names_is_there() -> None:
    named = {match.rstrip("/") for match in re.findall(r"\bdeploy/[\w./-]+", PAGE)}
    links = set(re.findall(r"\]\(([^)#:]+)[^)]*\)", PAGE))
    assert len(named) > 5
    assert not [path for path in named if not (ROOT / path).exists()]
    assert not [link for link in links if not (ROOT / "docs" / link).exists()]
