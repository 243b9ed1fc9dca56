"""The YAML files are written alike."""

from pathlib import Path

from tests.deploy.tools import CHART, DEPLOY, run

CONFIGURATION = """
extends: default
rules:
  braces: {max-spaces-inside: 1}
  comments: {min-spaces-from-content: 1}
  comments-indentation: disable
  document-start: disable
  line-length: {max: 120}
  octal-values: disable
  truthy: {check-keys: false, allowed-values: ["true", "false", "on", "off"]}
"""


def test_yaml_is_in_good_style(yamllint: Path) -> None:
    templates = CHART / "templates"  # YAML only once they are rendered
    files = [file for file in sorted(DEPLOY.rglob("*.yaml")) if templates not in file.parents]
    assert len(files) > 30
    run(yamllint, "--strict", "--config-data", CONFIGURATION.strip(), *files)
