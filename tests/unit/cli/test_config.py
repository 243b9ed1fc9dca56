"""The printed configuration is a configuration, and the documentation is what is printed."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deeplog_grpc.cli.config import commented_yaml
from deeplog_grpc.settings import ENV_PREFIX, Settings, load_settings

DOCUMENT = Path(__file__).parents[3] / "docs" / "config.yaml"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own variables must not change what is compared."""
    for name in [name for name in os.environ if name.upper().startswith(ENV_PREFIX)]:
        monkeypatch.delenv(name)


def test_the_document_is_current() -> None:
    assert DOCUMENT.read_text() == commented_yaml(load_settings()), "run: make docs"


def test_what_is_printed_can_be_read_back(tmp_path: Path) -> None:
    settings = load_settings(overrides={"key_model.history": 5, "sessions.patterns": ["a(b)", "c: d"]})
    file = tmp_path / "printed.yaml"
    file.write_text(commented_yaml(settings))
    assert load_settings(file) == settings


def test_every_key_is_explained() -> None:
    lines = commented_yaml(load_settings()).splitlines()
    sections = yaml.safe_load("\n".join(lines))
    assert set(sections) == set(Settings.model_fields)
    keys = [number for number, line in enumerate(lines) if re.match(" +[a-z_]", line)]
    assert sum(map(_keys_in, sections.values())) == len(keys)
    assert all(lines[number - 1].lstrip().startswith("# ") for number in keys)
    assert "# None" not in "\n".join(lines)


def _keys_in(group: Any) -> int:
    return sum(1 + _keys_in(value) for value in group.values()) if isinstance(group, dict) else 0


def test_secrets_are_not_printed() -> None:
    users = {"receivers.forward.shared_key": "s3cret", "receivers.forward.users": {"node": "pa55word"}}
    printed = commented_yaml(load_settings(overrides=users))
    assert "# shared_key is set, and not shown" in printed
    assert "# users is set, and not shown" in printed
    assert not any(secret in printed for secret in ("s3cret", "pa55word", "*****"))
