import os
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from deeplog_grpc.errors import ConfigError
from deeplog_grpc.settings import ENV_PREFIX, Settings, load_settings, parse_overrides

Write = Callable[[str], Path]


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith(ENV_PREFIX)]:
        monkeypatch.delenv(name)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def make(text: str) -> Path:
        (tmp_path / "deeplog.yaml").write_text(text)
        return tmp_path / "deeplog.yaml"

    return make


def refusal(path: Path | None = None, overrides: dict[str, Any] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings(path, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


SECTIONS: list[tuple[str, str, Any]] = [
    ("parser", "tau", 0.25),
    ("sessions", "timeout_s", 5.0),
    ("key_model", "history", 4),
    ("value_model", "history", 3),
    ("thresholds", "false_positive_rate", 0.01),
    ("detector", "cache_mb", 3),
    ("ingest", "max_attributes", 2),
    ("routing", "time", "body"),
    ("server", "torch_threads", 2),
    ("limits", "max_calls", 7),
    ("receivers", "forward.max_connections", 5),
    ("access", "reload_s", 5.0),
    ("client", "tls", True),
    ("metrics", "allow_public", True),
    ("logs", "level", "debug"),
    ("tracing", "sample_share", 0.5),
    ("deliveries", "max_count", 5),
    ("state", "keep_versions", 3),
    ("recovery", "max_entries", 5_000),
    ("feedback", "margin", 0.25),
    ("drift", "windows", 5),
    ("workflow", "distance", 7),
    ("redaction", "samples", False),
    ("learning", "min_entries", 7),
    ("ship", "batch_entries", 7),
]


def test_the_defaults_need_nothing() -> None:
    assert load_settings() == Settings()


def test_every_section_is_tried_below() -> None:
    # Keys of the section ``outputs`` are names that people choose: see tests/unit/outputs/test_config.py.
    # Each of ``tls`` needs another: see tests/unit/access/test_config.py.
    assert {section for section, _, _ in SECTIONS} == set(Settings.model_fields) - {"outputs", "tls"}


@pytest.mark.parametrize(("section", "key", "value"), SECTIONS)
def test_each_section_is_read_from_each_place(
    write: Write, monkeypatch: pytest.MonkeyPatch, section: str, key: str, value: Any
) -> None:
    read = attrgetter(f"{section}.{key}")
    text = f"{key.replace('.', ': {')}: {value}{'}' * key.count('.')}"
    assert read(Settings()) != value
    assert read(load_settings(write(f"{section}:\n  {text}\n"))) == value
    assert read(load_settings(overrides={f"{section}.{key}": value})) == value
    monkeypatch.setenv(f"{ENV_PREFIX}{section.upper()}__{key.upper().replace('.', '__')}", str(value))
    assert read(load_settings()) == value


def test_flags_go_before_the_environment_and_that_before_the_file(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write("key_model: {history: 3, candidates: 3, hidden: 3}\n")
    monkeypatch.setenv(f"{ENV_PREFIX}KEY_MODEL__CANDIDATES", "4")
    monkeypatch.setenv(f"{ENV_PREFIX}KEY_MODEL__HIDDEN", "4")
    found = load_settings(path, {"key_model.hidden": 5}).key_model
    assert (found.history, found.candidates, found.hidden, found.layers) == (3, 4, 5, 2)


def test_null_as_a_flag_goes_before_the_file_too(write: Write) -> None:
    path = write("sessions: {timeout_s: 5}\n")
    assert load_settings(path, parse_overrides(["sessions.timeout_s=null"])).sessions.timeout_s is None


def test_lists_come_from_each_place(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings(write("sessions:\n  patterns: ['a=(.)', b]\n")).sessions.patterns == ("a=(.)", "b")
    assert load_settings(overrides={"sessions.patterns": ["c"]}).sessions.patterns == ("c",)
    monkeypatch.setenv(f"{ENV_PREFIX}SESSIONS__PATTERNS", '["d"]')
    assert load_settings().sessions.patterns == ("d",)


def test_an_empty_file_is_the_defaults(write: Write) -> None:
    assert load_settings(write("")) == load_settings(write("# nothing yet\n")) == Settings()


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("key_model: {hsitory: 3}", "key_model.hsitory: "),
        ("modle: {history: 3}", "modle: "),
        ("key_model: {history: 0}", "key_model.history: Input should be greater than or equal to 1 (value 0)"),
        ("key_model: {history: many}", "key_model.history: "),
        ("sessions: {timeout_s: -1}", "sessions.timeout_s"),
        ("sessions: {patterns: {a: 1}}", "sessions.patterns: must be a list"),
        ("routing: {application: service.name}", "routing.application: must be a list, such as ['a', 'b']"),
        ("server: {listen: nonsense}", "server.listen: 'nonsense' is not HOST:PORT"),
        ("server: 5", "server: "),
    ],
)
def test_a_bad_key_or_value_is_named_with_its_path(write: Write, text: str, start: str) -> None:
    assert refusal(write(text)).startswith(start)


@pytest.mark.parametrize("text", ["a: [1", "a: b: c", "\tx: 1", "key_model: &a {history: *b}"])
def test_what_is_not_yaml_is_named_with_its_place(write: Write, text: str) -> None:
    path = write(text)
    message = refusal(path)
    assert message.startswith(f"{path}: is not YAML: ")
    assert "line 1" in message


@pytest.mark.parametrize("text", ["- a\n", "just text\n", "17\n"])
def test_yaml_that_is_no_mapping_is_refused(write: Write, text: str) -> None:
    assert "not a mapping of sections" in refusal(write(text))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.yaml") == f"{tmp_path / 'none.yaml'}: cannot be read: No such file or directory"
    assert refusal(tmp_path).endswith("cannot be read: Is a directory")


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00")
    assert "is not YAML" in refusal(tmp_path / "x.yaml")


@pytest.mark.parametrize(
    ("name", "value", "start"),
    [
        ("SERVR__LISTEN", "x", f"{ENV_PREFIX}SERVR__LISTEN: no such section"),
        ("SERVER__LISTN", "x", "server.listn: "),
        ("KEY_MODEL__HISTORY", "many", "key_model.history: "),
        ("KEY_MODEL", "many", ""),
    ],
)
def test_a_mistyped_variable_is_not_passed_over(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, start: str
) -> None:
    monkeypatch.setenv(ENV_PREFIX + name, value)
    assert refusal().startswith(start)


def test_the_variable_of_the_file_is_no_section(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{ENV_PREFIX}CONFIG", "somewhere.yaml")
    assert load_settings() == Settings()


@pytest.mark.parametrize("assignment", ["nothing", "a.b=[1", "x"])
def test_a_bad_flag_is_named(assignment: str) -> None:
    with pytest.raises(ConfigError, match=r"not KEY=VALUE|is not YAML"):
        parse_overrides([assignment])


@pytest.mark.parametrize(
    "overrides", [{"history": 3}, {"key_model.a.b": 3}, {"server": 5, "server.listen": "127.0.0.1:0"}, {"": 1}]
)
def test_flags_that_lead_nowhere_are_refused(overrides: dict[str, Any]) -> None:
    refusal(overrides=overrides)


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().server = None  # type: ignore[misc, assignment]


def test_a_section_with_all_keys_commented_out_has_its_defaults(write: Write) -> None:
    assert load_settings(write("server:\n  # listen: 127.0.0.1:1\n")) == load_settings()


def test_the_tick_is_a_time_or_off() -> None:
    assert load_settings(overrides={"server.tick_s": None}).server.tick_s is None
    with pytest.raises(ConfigError, match=r"^server.tick_s: Input should be greater than 0"):
        load_settings(overrides={"server.tick_s": 0})
