"""Who is let pass, and what happens when the file of tokens changes."""

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from deeplog_grpc.access.config import AccessConfig, TlsConfig
from deeplog_grpc.access.gate import Gate
from deeplog_grpc.access.grants import Grant, current_grant
from deeplog_grpc.access.roles import Role
from deeplog_grpc.access.scope import ScopedApplications, check_scope
from deeplog_grpc.access.tokens import digest_of, new_token, token_line
from deeplog_grpc.errors import (
    ApplicationForbiddenError,
    ConfigError,
    RoleMissingError,
    TokenMissingError,
    TokenUnknownError,
)
from deeplog_grpc.ingest.applications import FixedApplications, admitted

TOKEN = new_token()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens.yaml"
    path.write_text(token_line("node", TOKEN, [Role.INGEST], ["shop-*"]))
    return path


def test_a_token_is_let_pass_with_what_it_is_for(file: Path) -> None:
    gate = Gate(AccessConfig(tokens_file=file))
    for header in (f"Bearer {TOKEN}", f"bearer {TOKEN} ", f"BEARER  {TOKEN}"):
        grant, digest = gate.admit(header, Role.INGEST)
        assert grant == Grant(name="node", roles=frozenset({Role.INGEST}), applications=("shop-*",))
        assert gate.recheck(digest) == grant


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer  ", "{token}", "Basic {token}", "Token {token}"])
def test_what_is_no_bearer_token_counts_as_none(file: Path, header: str) -> None:
    gate = Gate(AccessConfig(tokens_file=file))
    for given in (header.format(token=TOKEN), None):
        with pytest.raises(TokenMissingError) as refusal:
            gate.admit(given, Role.INGEST)
        assert TOKEN not in str(refusal.value)
    assert gate.refusals == {"TOKEN_MISSING": 2}


def test_a_wrong_token_and_a_wrong_role_differ_and_show_nothing(file: Path) -> None:
    gate = Gate(AccessConfig(tokens_file=file))
    wrong = new_token()
    with pytest.raises(TokenUnknownError) as unknown:
        gate.admit(f"Bearer {wrong}", Role.INGEST)
    with pytest.raises(RoleMissingError, match="the token 'node' does not have the role 'read'") as missing:
        gate.admit(f"Bearer {TOKEN}", Role.READ)
    for error in (unknown.value, missing.value):
        assert wrong[:12] not in str(error)
        assert TOKEN[:12] not in str(error)


def test_callers_without_a_token_may_be_given_roles(file: Path) -> None:
    gate = Gate(AccessConfig(tokens_file=file, without_token=(Role.INGEST,)))
    grant, digest = gate.admit(None, Role.INGEST)
    assert (grant.name, gate.recheck(digest)) == ("", grant)
    with pytest.raises(RoleMissingError, match="a call without a token"):
        gate.admit(None, Role.READ)
    with pytest.raises(TokenUnknownError):  # a wrong one is not as good as none
        gate.admit(f"Bearer {new_token()}", Role.INGEST)


def test_the_file_is_read_again_and_a_broken_one_is_not_taken(file: Path) -> None:
    gate = Gate(AccessConfig(tokens_file=file))
    assert not gate.reload()
    second = new_token()
    for broken in ("- {name: x, token: ", None):
        if broken is None:
            file.unlink()
        else:
            file.write_text(broken)
        with capture_logs() as logs:
            assert not gate.reload()
            assert not gate.reload()  # said once
        assert [entry["log_level"] for entry in logs] == ["error"]
        gate.admit(f"Bearer {TOKEN}", Role.INGEST)
    assert gate.failed_reloads == 2
    file.write_text(token_line("other", second, [Role.READ]))
    assert gate.reload()
    assert gate.recheck(digest_of(TOKEN)) is None
    gate.admit(f"Bearer {second}", Role.READ)
    with pytest.raises(TokenUnknownError):
        gate.admit(f"Bearer {TOKEN}", Role.INGEST)


def test_a_link_that_leads_elsewhere_is_a_change(tmp_path: Path) -> None:
    # So Kubernetes exchanges a mounted secret: all names lead through one link, which is put in place at once.
    tokens = [new_token(), new_token()]
    for number, token in enumerate(tokens):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "tokens.yaml").write_text(token_line("node", token, [Role.READ]))
    (tmp_path / "..data").symlink_to("0")
    (tmp_path / "tokens.yaml").symlink_to("..data/tokens.yaml")
    gate = Gate(AccessConfig(tokens_file=tmp_path / "tokens.yaml"))
    (tmp_path / "new").symlink_to("1")
    os.replace(tmp_path / "new", tmp_path / "..data")
    assert gate.reload()
    gate.admit(f"Bearer {tokens[1]}", Role.READ)


def test_no_file_or_a_bad_one_at_the_start_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^access\.tokens_file"):
        Gate(AccessConfig())
    with pytest.raises(ConfigError, match="cannot be read"):
        Gate(AccessConfig(tokens_file=tmp_path / "none"))
    (tmp_path / "empty").write_text("")
    with pytest.raises(ConfigError, match="no list of tokens"):
        Gate(AccessConfig(tokens_file=tmp_path / "empty"))


def test_options_that_would_do_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^access\.without_token: needs access\.tokens_file"):
        AccessConfig(without_token=(Role.READ,))
    with pytest.raises(ConfigError, match=r"^access\.metrics: needs access\.tokens_file"):
        AccessConfig(metrics=True)
    with pytest.raises(ConfigError, match=r"^tls\.cert: a certificate and its key"):
        TlsConfig(key=Path("k"))
    with pytest.raises(ConfigError, match=r"^tls\.client_ca: needs cert and key"):
        TlsConfig(client_ca=Path("a"))


def test_a_caller_sees_the_applications_that_its_token_is_for() -> None:
    applications = ScopedApplications(FixedApplications(["shop-cart", "billing", "shop-pay"]))
    assert list(applications.names) == ["shop-cart", "billing", "shop-pay"]
    reset = current_grant.set(Grant(applications=("shop-*",)))
    try:
        assert list(applications.names) == ["shop-cart", "shop-pay"]
        assert applications.admit("shop-pay")
        assert not applications.admit("billing")
        with pytest.raises(ApplicationForbiddenError) as refusal:
            check_scope("billing", field="options.application")
        assert refusal.value.field == "options.application"
    finally:
        current_grant.reset(reset)


def test_what_a_token_is_not_for_does_not_end_up_in_the_default() -> None:
    applications = ScopedApplications(FixedApplications(["shop-cart"]))
    assert admitted(applications, "unknown") == "shop-cart"
    reset = current_grant.set(Grant(applications=("shop-*",)))
    try:
        assert admitted(applications, "shop-unknown") == "shop-cart"
        assert admitted(applications, "unknown") == ""
        current_grant.set(Grant(applications=("billing",)))
        assert admitted(applications, "") == ""
    finally:
        current_grant.reset(reset)
