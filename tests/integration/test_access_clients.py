"""The shipper and the commands, with certificates and tokens."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from deeplog_grpc.access.tokens import new_token, read_tokens
from deeplog_grpc.client import AsyncDeepLogClient, ClientConfig, DeepLogClient
from deeplog_grpc.errors import AccessError, ConfigError
from deeplog_grpc.shipping import ShipConfig, Shipper
from tests.integration.secured import Authority, Secured, secured
from tests.integration.server_harness import BOUND_S, entries, until


def shipper(up: Secured, folder: Path, client: ClientConfig, *, is_once: bool, **config: Any) -> Shipper:
    (folder / "app.log").write_text("".join(f"line {number}\n" for number in range(50)))
    settings = ShipConfig(
        files=(str(folder / "app.log"),), server=up.address, spool=folder / "spool", max_backoff_s=0.1, **config
    )
    return Shipper(settings, is_once=is_once, client=client)


async def test_a_shipper_with_a_certificate_and_a_token(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.write("client", "node-1")
    async with secured(tmp_path, authority=authority, mutual=True) as up, asyncio.timeout(BOUND_S):
        one = shipper(up, tmp_path, up.config("shipper", certificate="client"), is_once=True)
        assert await one.run(asyncio.Event())
        one.close()
        assert one.counts.entries_acknowledged == 50


async def test_a_shipper_waits_until_its_token_is_good_and_loses_nothing(tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    token_file.write_text(new_token())
    async with secured(tmp_path) as up, asyncio.timeout(BOUND_S):
        files: Any = up.authority.client()
        one = shipper(up, tmp_path, ClientConfig(**files, token_file=token_file), is_once=False)
        stopping = asyncio.Event()
        with capture_logs() as logs:
            run = asyncio.create_task(one.run(stopping))
            await until(lambda: any("is not known here" in str(entry.get("reason")) for entry in logs))
            token_file.unlink()  # as between two steps of an exchange
            await until(lambda: any("cannot be read" in str(entry.get("reason")) for entry in logs))
            token_file.write_text(up.tokens["shipper"])
            await until(lambda: one.counts.entries_acknowledged == 50)
            stopping.set()
            await run
        one.close()
        assert up.tokens["shipper"][4:12] not in str(logs)


async def test_a_shipper_that_runs_once_says_that_its_token_is_wrong(tmp_path: Path) -> None:
    async with secured(tmp_path) as up, asyncio.timeout(BOUND_S):
        one = shipper(up, tmp_path, up.config("reader"), is_once=True)
        with pytest.raises(AccessError, match="does not have the role 'ingest'"):
            await one.run(asyncio.Event())
        one.close()


async def test_lines_that_the_token_is_not_for_go_to_the_dead_letters(tmp_path: Path) -> None:
    async with secured(tmp_path, "shop-cart", "billing") as up, asyncio.timeout(BOUND_S):
        one = shipper(up, tmp_path, up.config("shop"), is_once=True, application="shop-cart")
        lines = [{"message": "theirs", "application": "billing"}, {"message": "ours", "application": "shop-cart"}]
        (tmp_path / "app.log").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        assert await one.run(asyncio.Event())
        one.close()
        dead = [json.loads(line) for line in (tmp_path / "spool.dead.jsonl").read_text().splitlines()]
        assert [letter["body"] for letter in dead] == ["theirs"]
        assert one.counts.entries_acknowledged == 2


async def test_the_commands_take_certificate_and_token(tmp_path: Path, call: Any) -> None:
    token_file = tmp_path / "token"
    async with secured(tmp_path) as up:
        ca_file = up.authority.ca_file
        (tmp_path / "app.log").write_text("a\nb\n")

        token_file.write_text(f"{up.tokens['shipper']}\n")
        options: tuple[Any, ...] = ("--ca-file", ca_file, "--token-file", token_file)
        assert (await asyncio.to_thread(score, call, up, tmp_path, options))[0] == 0
        token_file.write_text(up.tokens["reader"])
        code, _, said = await asyncio.to_thread(score, call, up, tmp_path, options)
        assert code == 2
        assert "deeplog-grpc: the token 'reader' does not have the role 'ingest'" in said
        code, _, said = await asyncio.to_thread(lambda: call(*options, "drift", "--server", up.address))
        assert (code, said[:32]) == (2, "deeplog-grpc: UNIMPLEMENTED: Met")


def score(call: Any, up: Secured, folder: Path, options: tuple[object, ...]) -> tuple[int, str, str]:
    answer: tuple[int, str, str] = call(*options, "score", folder / "app.log", "--server", up.address)
    return answer


def test_a_token_is_made_with_its_line(tmp_path: Path, call: Any) -> None:
    code, line, said = call("token", "node 1", "--role", "ingest", "--role", "read", "--application", "shop-*")
    assert code == 0
    (tmp_path / "tokens.yaml").write_text(line)
    token = said.split()[-1]
    assert token.startswith("dlg_")
    assert token not in line
    grant = read_tokens(tmp_path / "tokens.yaml").find(token)
    assert grant is not None
    assert (grant.name, sorted(grant.roles), grant.applications) == ("node 1", ["ingest", "read"], ("shop-*",))
    assert call("token", "x")[0] == 2  # a role must be given
    assert call("token", " ", "--role", "read")[0] == 2


async def test_a_token_does_not_leave_the_machine_in_plain_text() -> None:
    token: Any = new_token()
    config = ClientConfig(token=token)
    for address in ("logs.example.com:50051", "10.0.0.1:50051", "[2001:db8::1]:50051"):
        with pytest.raises(ConfigError, match=r"^client\.token: .* in plain text: set client\.tls") as refusal:
            DeepLogClient(address, config=config)
        assert token[4:12] not in str(refusal.value)
        AsyncDeepLogClient(address, config=ClientConfig(token=token, allow_plain_token=True))
    for address in ("127.0.0.1:1", "localhost:1", "[::1]:1"):
        await AsyncDeepLogClient(address, config=config).close()


def test_what_a_client_cannot_use_is_named(tmp_path: Path) -> None:
    token: Any = new_token()
    with pytest.raises(ConfigError, match=r"^client\.token_file: there is a token too"):
        ClientConfig(token=token, token_file=tmp_path / "t")
    with pytest.raises(ConfigError, match=r"^client\.key_file: a certificate and its key"):
        ClientConfig(cert_file=tmp_path / "c")
    with pytest.raises(ConfigError, match=r"^client\.token_file: .* cannot be read: No such file"):
        DeepLogClient("127.0.0.1:1", config=ClientConfig(token_file=tmp_path / "none"))
    for wrong in ("", "two\nlines", "\x00", "ü"):
        (tmp_path / "t").write_text(wrong)
        with pytest.raises(ConfigError, match="must hold a token and nothing else"):
            DeepLogClient("127.0.0.1:1", config=ClientConfig(token_file=tmp_path / "t"))
    with pytest.raises(ConfigError, match=r"^client: no certificates can be read .*none"):
        DeepLogClient("127.0.0.1:1", config=ClientConfig(ca_file=tmp_path / "none"))
    assert "dlg_" not in repr(ClientConfig(token=token))


async def test_calls_over_plain_text_take_a_token_too(tmp_path: Path) -> None:
    async with secured(tmp_path, plain=True) as up:
        token: Any = up.tokens["shipper"]
        async with AsyncDeepLogClient(up.address, config=ClientConfig(token=token)) as client:
            assert (await client.score(entries(["a"]))).entry_count == 1
