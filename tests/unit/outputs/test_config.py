"""The section ``outputs``: read from each place, refused by name, shown without secrets."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from deeplog_grpc.cli.config import commented_yaml
from deeplog_grpc.detection.verdicts import Kind
from deeplog_grpc.errors import ConfigError
from deeplog_grpc.outputs.config import OUTPUT_TYPES, FileOutput, OtlpOutput, SlackOutput, kind_name, secret
from deeplog_grpc.settings import ENV_PREFIX, load_settings, parse_overrides

NEEDED: dict[str, dict[str, Any]] = {
    "otlp": {"endpoint": "http://collector:4317"},
    "forward": {"address": "fluentd:24224"},
    "file": {"path": "-"},
    "alertmanager": {"url": "http://alertmanager:9093"},
    "slack": {"url_file": "/run/secrets/slack"},
    "webhook": {"url": "https://example.org/hook"},
}


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings(overrides=parse_overrides([f"outputs.{text}"]))
    return str(caught.value)


@pytest.mark.parametrize("kind", OUTPUT_TYPES)
def test_each_type_needs_little_and_can_be_printed_and_read_back(kind: str, tmp_path: Path) -> None:
    settings = load_settings(overrides={"outputs": {"x": {"type": kind, "min_score": 0.5} | NEEDED[kind]}})
    assert type(settings.outputs["x"]) is OUTPUT_TYPES[kind]
    file = tmp_path / "printed.yaml"
    file.write_text(commented_yaml(settings))
    assert load_settings(file) == settings


def test_file_variables_and_flags_come_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "deeplog.yaml"
    file.write_text("outputs: {pager: {type: slack, repeat_s: 1, resolve_s: 1}}")
    monkeypatch.setenv(f"{ENV_PREFIX}OUTPUTS__PAGER__URL", "https://hooks/1")
    monkeypatch.setenv(f"{ENV_PREFIX}OUTPUTS__PAGER__REPEAT_S", "2")
    monkeypatch.setenv(f"{ENV_PREFIX}OUTPUTS__PAGER__APPLICATIONS", '["a*"]')
    monkeypatch.setenv(f"{ENV_PREFIX}OUTPUTS__LAKE__TYPE", "file")
    monkeypatch.setenv(f"{ENV_PREFIX}OUTPUTS__LAKE__PATH", "-")
    found = load_settings(file, {"outputs.pager.resolve_s": 3}).outputs
    pager = found["pager"]
    assert isinstance(pager, SlackOutput)
    assert (secret(pager.url, pager.url_file), pager.repeat_s, pager.resolve_s, pager.applications) == (
        "https://hooks/1",
        2,
        3,
        ("a*",),
    )
    assert found["lake"] == FileOutput(type="file", path="-")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x={type: otlp, headers: {a: s3cret}}", "outputs.x.endpoint: must be given"),
        ("x={token: s3cret}", "outputs.x.type: must be one of otlp, forward, file, alertmanager, slack, webhook"),
        ("x={type: mail, token: s3cret}", "outputs.x.type: must be one of otlp"),
        ("x={type: slack, token: s3cret}", "outputs.x: url or url_file must be given"),
        ("x={type: slack, url: {s3cret: 1}}", "outputs.x.url: Input should be a valid string"),
        ("x={type: webhook, url: 'http://me:s3cret@h/'}", "outputs.x.url: must be http://HOST:PORT or https://"),
        ("x={type: webhook, url: 'http://h', token: s3cret, token_file: t}", "outputs.x: token and token_file"),
        ("x={type: webhook, url: 'http://h', template: '{{ s3cret'}", "outputs.x.template: not a template, line 1"),
        ("x={type: otlp, endpoint: 'http://h', key_file: k}", "outputs.x: cert_file and key_file belong together"),
        ("x={type: forward, address: h}", "outputs.x.address: must be HOST:PORT"),
        ("x={type: file, path: a, minscore: 1}", "outputs.x.minscore: no such key"),
        ("x={type: file, pth: s3cret}", "outputs.x.pth: no such key"),
        ("x={type: file, path: a, min_score: 2}", "outputs.x.min_score: Input should be less than or equal to 1"),
        ("x={type: file, path: a, kinds: [normal]}", "outputs.x.kinds.0: Input should be 'unseen_key'"),
        ("X y={type: file, path: a}", "outputs.X y: the name of an output has lower case letters"),
    ],
)
def test_what_is_wrong_is_named_and_no_secret_is(text: str, message: str) -> None:
    found = refusal(text)
    assert found.startswith(message)
    assert "s3cret" not in found


def test_secrets_are_not_shown() -> None:
    settings = load_settings(
        overrides={
            "outputs": {
                "a": {"type": "slack", "url": "s3cret", "token": "s3cret"},
                "b": {"type": "otlp", "endpoint": "http://h", "headers": {"x": "s3cret"}},
                "c": {"type": "forward", "address": "h:1", "shared_key": "s3cret"},
            }
        }
    )
    printed = commented_yaml(settings)
    assert "s3cret" not in printed + repr(settings)
    assert "# shared_key is set, and not shown" in printed
    assert yaml.safe_load(printed)["outputs"]["b"] == {"type": "otlp", "endpoint": "http://h"}


def test_a_secret_in_a_file_is_read_when_it_is_used(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(" s3cret\n")
    assert secret(None, file) == "s3cret"
    file.write_text("new")
    assert secret(None, file) == "new"
    assert (secret(SecretStr("given"), None), secret(None, None)) == ("given", "")


def test_every_kind_of_anomaly_can_be_asked_for() -> None:
    kinds = [kind_name(kind) for kind in Kind if kind is not Kind.NORMAL]
    config = load_settings(overrides={"outputs": {"x": {"type": "otlp", "endpoint": "http://h", "kinds": kinds}}})
    output = config.outputs["x"]
    assert isinstance(output, OtlpOutput)
    assert output.kinds == tuple(kinds)
