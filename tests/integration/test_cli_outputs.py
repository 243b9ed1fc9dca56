"""The commands on outputs, and a server that sends what it finds."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deeplog_grpc.cli.app import app
from deeplog_grpc.errors import InputError


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["outputs", *arguments], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_the_list_says_what_goes_where() -> None:
    outputs = {
        "lake": "{type: file, path: x.jsonl}",
        "back": "{type: otlp, endpoint: 'http://otel:4317'}",
        "all": "{type: forward, address: 'bit:24224', what: records}",
        "pager": "{type: alertmanager, url: 'http://am:9093'}",
        "hook": "{type: webhook, url: 'https://h/s3cret?key=s3cret'}",
        "chat": "{type: slack, url: s3cret}",
    }
    found = run("list", *(word for name, text in outputs.items() for word in ("--set", f"outputs.{name}={text}")))
    assert [line.split() for line in found.splitlines()] == [
        ["name", "type", "what", "to"],
        ["lake", "file", "anomalies", "x.jsonl"],
        ["back", "otlp", "anomalies", "http://otel:4317"],
        ["all", "forward", "records", "bit:24224"],
        ["pager", "alertmanager", "alerts", "http://am:9093"],
        ["hook", "webhook", "alerts", "https://h"],
        ["chat", "slack", "alerts"],
    ]


def test_a_list_of_nothing_says_so() -> None:
    assert run("list").startswith("no outputs")


def test_a_try_of_a_file_writes_a_record(tmp_path: Path) -> None:
    assert run("test", "lake", "--set", f"outputs.lake={{type: file, path: {tmp_path / 'x'}}}") == "lake took it\n"
    assert json.loads((tmp_path / "x").read_text())["attributes"]["deeplog.output"] == "lake"


class _Refusing(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.send_response(403)
        self.end_headers()
        self.wfile.write(b"invalid_token")

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def test_a_try_says_what_came_back() -> None:
    server = HTTPServer(("127.0.0.1", 0), _Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/s3cret"
    with pytest.raises(InputError) as refused:
        run("test", "chat", "--set", f"outputs.chat={{type: slack, url: '{url}'}}")
    server.shutdown()
    server.server_close()
    assert str(refused.value) == "chat: refused it: HTTP status 403: invalid_token"
    with pytest.raises(InputError) as away:
        run("test", "chat", "--set", f"outputs.chat={{type: slack, url: '{url}'}}")
    assert str(away.value).startswith("chat: did not take it, and may do so later: ClientConnectorError: Connect call")


def test_a_name_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="there is no output 'b' in the configuration; there are: a"):
        run("test", "b", "--set", "outputs.a={type: file, path: x}")
