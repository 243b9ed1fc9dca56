"""One alert for each group, over HTTP: told of, told again, resolved."""

import json
import logging
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import trustme
from aiohttp import web

from deeplog_grpc.storage import AnomalyState, AnomalyStore
from tests.integration.output_harness import Web, running, until
from tests.kept_anomalies import open_store, put

HOUR_NS = 3_600_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AnomalyStore]:
    opened = open_store(tmp_path)
    yield opened
    opened.close()


def has_ended(bodies: list[list[dict[str, Any]]]) -> bool:
    """Whether the last alert that was sent ends before the one before it did."""
    return len(bodies) > 2 and bodies[-1][0]["endsAt"] < bodies[-2][0]["endsAt"]


async def test_a_webhook_that_fails_twice_is_told_once_for_a_group(store: AnomalyStore, tmp_path: Path) -> None:
    busy = web.Response(status=503, headers={"Retry-After": "1"})
    async with Web(busy, web.Response(status=503)).serving() as server:
        keys = {"type": "webhook", "url": f"{server.url}/hook", "token": "s3cret", "headers": {"X-Team": "shop"}}
        begin = time.monotonic()
        async with running(store, tmp_path, pager=keys) as outputs:
            put(store, 3)
            await until(lambda: outputs.status()[0].sent == 1)
        assert time.monotonic() - begin >= 1
    assert len(server.bodies) == 3
    assert server.headers[-1]["Authorization"] == "Bearer s3cret"
    assert server.headers[-1]["X-Team"] == "shop"
    said = server.bodies[-1]
    assert {name: said[name] for name in ("output", "status", "application", "kind", "group_id", "key", "count")} == {
        "output": "pager",
        "status": "firing",
        "application": "shop",
        "kind": "unseen_key",
        "group_id": "g-1",
        "key": 7,
        "count": 3,
    }
    assert said["summary"] == "3 times: shop: a log message that training did not have"


async def test_reminder_and_resolved_also_over_a_restart(store: AnomalyStore, tmp_path: Path) -> None:
    async with Web().serving() as server:
        keys = {"type": "webhook", "url": server.url, "repeat_s": 1, "resolve_s": 4}
        async with running(store, tmp_path, pager=keys):
            put(store)
            await until(lambda: len(server.bodies) == 1)
        put(store, 2)
        async with running(store, tmp_path, pager=keys):
            await until(lambda: len(server.bodies) == 3)
    assert [(said["status"], said["count"], said["new_count"]) for said in server.bodies] == [
        ("firing", 1, 1),
        ("reminder", 3, 2),
        ("resolved", 3, 0),
    ]


async def test_feedback_resolves_and_mute_silences(store: AnomalyStore, tmp_path: Path) -> None:
    async with (
        Web().serving() as server,
        running(store, tmp_path, pager={"type": "webhook", "url": server.url}) as outputs,
    ):
        numbers = put(store, 2)
        await until(lambda: outputs.status()[0].sent == 1)
        store.set_state(numbers[:1], AnomalyState.FALSE_POSITIVE, "f")
        put(store, group_id="g-other")
        await until(lambda: outputs.status()[0].sent == 2)
        store.set_state(numbers[1:], AnomalyState.EXPLAINED, "f")
        await until(lambda: outputs.status()[0].sent == 3)
        store.mute("g-other", time.time_ns() + HOUR_NS)
        await until(lambda: outputs.status()[0].sent == 4)
        put(store, group_id="g-other")
        put(store, group_id="g-last")
        await until(lambda: outputs.status()[0].sent == 5)
    assert [(said["status"], said["group_id"]) for said in server.bodies] == [
        ("firing", "g-1"),
        ("firing", "g-other"),
        ("resolved", "g-1"),
        ("resolved", "g-other"),
        ("firing", "g-last"),
    ]


async def test_a_flood_of_groups_is_a_few_alerts(store: AnomalyStore, tmp_path: Path) -> None:
    for number in range(50):
        put(store, group_id=f"g-{number}")
    async with (
        Web().serving() as server,
        running(store, tmp_path, chat={"type": "slack", "url": server.url, "max_per_minute": 3}) as outputs,
    ):
        await until(lambda: outputs.status()[0].sent == 4)
    assert len(server.bodies) == 4
    texts = [said["text"] for said in server.bodies]
    assert sum("more groups of anomalies" in text for text in texts) == 1
    assert any("and 47 more groups" in text for text in texts)
    assert "`disk &lt;*&gt;`" in texts[0]


async def test_what_is_refused_is_a_dead_letter_and_the_next_one_is_sent(store: AnomalyStore, tmp_path: Path) -> None:
    async with (
        Web(web.Response(status=400, text="no such channel")).serving() as server,
        running(store, tmp_path, chat={"type": "slack", "url": server.url}) as outputs,
    ):
        put(store)
        await until(lambda: outputs.status()[0].refused == 1)
        put(store, group_id="g-2")
        await until(lambda: outputs.status()[0].sent == 1)
    assert len(server.bodies) == 2
    letter = json.loads((tmp_path / "dead-letters" / "chat.jsonl").read_text())
    assert (letter["error"], letter["answer"]) == ("HTTP status 400", "no such channel")
    assert letter["letter"]["group_id"] == "g-1"


async def test_a_template_that_fails_is_a_dead_letter(store: AnomalyStore, tmp_path: Path) -> None:
    put(store)
    keys = {"type": "webhook", "url": "http://localhost:9", "template": "{{ alert.nothing.deeper }}"}
    async with running(store, tmp_path, hook=keys) as outputs:
        await until(lambda: outputs.status()[0].refused == 1)


async def test_a_template_of_ones_own(store: AnomalyStore, tmp_path: Path) -> None:
    put(store, body='a "quote"')
    template = '{"title": {{ alert.summary | tojson }}, "n": {{ alert.count }}, "s": "{{ alert.status }}"}'
    async with Web().serving() as server:
        keys = {"type": "webhook", "url": server.url, "template": template, "method": "PUT"}
        async with running(store, tmp_path, hook=keys) as outputs:
            await until(lambda: outputs.status()[0].sent == 1)
    assert server.bodies == [{"title": "shop: a log message that training did not have", "n": 1, "s": "firing"}]


async def test_alertmanager_keeps_alerts_up_over_tls_and_ends_them(store: AnomalyStore, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(tls)
    keys = {
        "type": "alertmanager",
        "ca_file": str(tmp_path / "ca.pem"),
        "resend_s": 1,
        "resolve_s": 2.5,
        "labels": {"severity": "warning"},
    }
    async with Web().serving(tls) as server, running(store, tmp_path, am=keys | {"url": server.url}):
        put(store, 2)
        await until(lambda: has_ended(server.bodies))
    alerts: list[dict[str, Any]] = [alert for body in server.bodies for alert in body]
    assert set(server.paths) == {"/api/v2/alerts"}
    assert alerts[0]["labels"] == {
        "alertname": "LogAnomaly",
        "severity": "warning",
        "application": "shop",
        "kind": "unseen_key",
        "group_id": "g-1",
        "key": "7",
    }
    assert alerts[0]["annotations"]["count"] == "2"
    assert alerts[0]["annotations"]["diagnosis"] == "no task has it"
    assert all(alert["labels"] == alerts[0]["labels"] for alert in alerts)
    assert all(alert["startsAt"] == alerts[0]["startsAt"] for alert in alerts)
    assert alerts[0]["endsAt"] < alerts[1]["endsAt"]
    assert alerts[-1]["endsAt"] < alerts[-2]["endsAt"]


async def test_no_secret_and_no_log_text_is_logged(store: AnomalyStore, tmp_path: Path) -> None:
    put(store, body="card 4711")
    with structlog.testing.capture_logs() as logged:
        async with Web(*[web.Response(status=400, text="card 4711 s3cret")] * 9).serving() as server:
            keys = {"token": "s3cret", "headers": {"X-Key": "s3cret"}, "ca_file": None}
            async with running(
                store,
                tmp_path,
                chat={"type": "slack", "url": "http://localhost:9/s3cret"} | keys,
                odd={"type": "slack", "url": "s3cret"} | keys,
                hook={"type": "webhook", "url": server.url} | keys,
            ) as outputs:
                await until(lambda: all(status.refused or status.is_failing for status in outputs.status()))
                text = repr(outputs._config)
    assert {one["event"] for one in logged} >= {"outputs", "refused by the other side: see the dead letters"}
    assert logging.getLevelName(logging.WARNING).lower() in {one["log_level"] for one in logged}
    for place in (str(logged), text):
        assert "s3cret" not in place
        assert "4711" not in place
