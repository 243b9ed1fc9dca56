from typing import Any

import pytest
from pydantic import ValidationError

from deeplog_grpc.errors import ConfigError
from deeplog_grpc.receivers import ForwardConfig, OtlpHttpConfig, ReceiversConfig
from deeplog_grpc.settings import load_settings


def test_a_public_address_of_forward_needs_leave_or_a_guard() -> None:
    public: Any = {"listen": "0.0.0.0:1"}
    unguarded: Any
    for unguarded in ({}, {"shared_key": "k"}, {"tls_cert": "c", "tls_key": "k"}):
        with pytest.raises(ConfigError, match=r"^receivers\.forward\.listen: .* set receivers\.forward\.allow_public"):
            ForwardConfig(**public, **unguarded)
    ForwardConfig(**public, allow_public=True)
    ForwardConfig(**public, shared_key="k", tls_cert="c", tls_key="k")  # type: ignore[arg-type]  # as a file has them
    ForwardConfig(**public, tls_client_ca="a", tls_cert="c", tls_key="k")  # type: ignore[arg-type]  # as above


@pytest.mark.parametrize("kind", [ForwardConfig, OtlpHttpConfig])
def test_what_is_no_address_is_refused(kind: Any) -> None:
    with pytest.raises(ConfigError, match="is not HOST:PORT"):
        kind(listen="4318")
    assert kind(listen=None).listen is None


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"users": {"a": "b"}}, "users"),
        ({"tls_cert": "c"}, "tls_key"),
        ({"tls_key": "k"}, "tls_cert"),
        ({"tls_client_ca": "a"}, "tls_client_ca"),
    ],
)
def test_what_goes_together_is_asked_for_together(options: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        ForwardConfig(**options)
    assert refusal.value.field == f"receivers.forward.{field}"


def test_secrets_are_not_shown() -> None:
    config = ReceiversConfig(forward=ForwardConfig(shared_key="s3cret", users={"u": "pa55"}))  # type: ignore[arg-type, dict-item]  # as a file has them
    assert "s3cret" not in repr(config)
    assert "pa55" not in repr(config)


@pytest.mark.parametrize(
    "secrets", [{"shared_key": 12345}, {"shared_key": "k", "users": {"u": 12345}}, {"users": [12345]}]
)
def test_a_secret_of_the_wrong_type_is_not_shown_either(secrets: dict[str, Any]) -> None:
    with pytest.raises((ConfigError, ValidationError)) as refusal:
        load_settings(overrides={f"receivers.forward.{key}": value for key, value in secrets.items()})
    assert "12345" not in str(refusal.value)


def test_the_shared_key_comes_by_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPLOG_GRPC_RECEIVERS__FORWARD__SHARED_KEY", "s3cret")
    monkeypatch.setenv("DEEPLOG_GRPC_RECEIVERS__FORWARD__USERS", '{"u": "p"}')
    forward = load_settings().receivers.forward
    assert forward.shared_key is not None
    assert forward.shared_key.get_secret_value() == "s3cret"
    assert forward.users["u"].get_secret_value() == "p"
