"""The native output plugin of Fluent Bit over TLS."""

from pathlib import Path

import grpc
import pytest
import trustme

from tests.integration.plugin import DELIVERED, RETRY, chunk, hosted
from tests.integration.scripted_stream import scripted


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def files(authority: trustme.CA, tmp_path: Path) -> dict[str, str]:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    mine = authority.issue_cert("client.test")
    mine.cert_chain_pems[0].write_to_path(str(tmp_path / "crt.pem"))
    mine.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    return {f"tls_{name}_file": str(tmp_path / f"{name}.pem") for name in ("ca", "crt", "key")}


async def test_tls_on_both_sides_and_a_token_from_a_file(
    library: Path, authority: trustme.CA, files: dict[str, str], tmp_path: Path
) -> None:
    theirs = authority.issue_cert("deeplog.test", "127.0.0.1")
    credentials = grpc.ssl_server_credentials(
        [(theirs.private_key_pem.bytes(), theirs.cert_chain_pems[0].bytes())],
        root_certificates=authority.cert_pem.bytes(),
        require_client_auth=True,
    )
    token = tmp_path / "token"
    token.write_text("from-a-file\n")
    async with scripted(credentials) as script, hosted(library) as host:
        given = {"use_tls": "on", "token_file": str(token), **files}
        by_ip = await host.open(f"127.0.0.1:{script.port}", **given)
        assert await host.flush(by_ip, chunk(f"line {i}" for i in range(5_000))) == DELIVERED
        by_name = await host.open(f"localhost:{script.port}", tls_vhost="deeplog.test", **given)
        assert await host.flush(by_name, chunk(["other"])) == DELIVERED
        for number in (by_ip, by_name):
            assert await host.ask("exit", number) == 0
    assert len(script.entries) == 5_001
    assert [metadata["authorization"] for metadata in script.metadata] == ["Bearer from-a-file"] * 2
    assert not any("without TLS" in line for line in host.log)


async def test_a_server_that_cannot_prove_its_name_is_sent_nothing(
    library: Path, authority: trustme.CA, files: dict[str, str]
) -> None:
    stranger = trustme.CA().issue_cert("127.0.0.1")
    misnamed = authority.issue_cert("other.test")
    for theirs in (stranger, misnamed):
        pair = (theirs.private_key_pem.bytes(), theirs.cert_chain_pems[0].bytes())
        async with scripted(grpc.ssl_server_credentials([pair])) as script, hosted(library) as host:
            given = {"use_tls": "on", "tls_ca_file": files["tls_ca_file"], "timeout": "1"}
            number = await host.open(f"127.0.0.1:{script.port}", **given)
            assert await host.flush(number, chunk(["line"])) == RETRY
            unchecked = await host.open(f"127.0.0.1:{script.port}", use_tls="on", tls_verify="off")
            assert await host.flush(unchecked, chunk(["line"])) == DELIVERED
        assert any("certificate was refused" in line for line in host.log)
        assert len(script.entries) == 1
