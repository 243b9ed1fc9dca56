"""Whether a server is alive, ready, and detects: over gRPC and HTTP."""

import asyncio
import threading
from typing import Any

import aiohttp
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.integration.metrics_harness import listening, total
from tests.integration.server_harness import BOUND_S, Running, request, running, until

SERVICE = "deeplog_grpc.v1.DeepLogService"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def asked(url: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as http, http.get(url) as response:
        is_json = response.content_type == "application/json"
        return response.status, await (response.json() if is_json else response.text())


def health_of(up: Running) -> Any:
    stub: Any = health_pb2_grpc.HealthStub
    return stub(up.channel)


async def status(up: Running, name: str) -> int:
    answer = await health_of(up).Check(health_pb2.HealthCheckRequest(service=name), timeout=BOUND_S)
    found: int = answer.status
    return found


async def says(up: Running, wanted: int, *names: str) -> None:
    """Wait until the health service says something of some names."""
    async with asyncio.timeout(BOUND_S):
        for name in names:
            watch = health_of(up).Watch(health_pb2.HealthCheckRequest(service=name))
            while (await watch.read()).status != wanted:
                continue
            watch.cancel()


async def test_the_index_names_the_paths() -> None:
    async with running() as up, listening(up.server) as url:
        found, text = await asked(f"{url}/")
        assert found == 200
        for path in ("/metrics", "/healthz", "/readyz"):
            assert path in text
            assert (await asked(f"{url}{path}"))[0] == 200


async def test_a_server_is_ready_between_its_start_and_its_draining() -> None:
    async with running(stop=False) as up, listening(up.server) as url:
        ready = {"ready": True, "checks": {"serving": "ok", "scoring": "ok", "memory": "ok"}}
        assert await asked(f"{url}/readyz") == (200, ready)
        with up.server.queue.hold():
            waiting = asyncio.create_task(up.score(request(["open"])))
            await until(lambda: up.server.queue.waiting_entries == 1)
            stopping = asyncio.create_task(up.server.stop())
            await until(lambda: up.server.is_draining)
            found, body = await asked(f"{url}/readyz")
            assert (found, body["checks"]["serving"]) == (503, "draining")
            assert (await asked(f"{url}/healthz"))[0] == 200
            assert total(up.server, "deeplog_ready") == 0
        await waiting
        await stopping


async def test_a_run_that_stands_still_makes_it_not_ready_and_then_not_alive() -> None:
    free = threading.Event()
    async with running("app", stall_s=0.05, dead_s=0.3) as up, listening(up.server) as url:
        score = up.detectors["app"].score

        def stuck(batch: Any) -> Any:
            assert free.wait(BOUND_S)
            return score(batch)

        up.detectors["app"].score = stuck  # type: ignore[method-assign]  # the defect
        waiting = asyncio.create_task(up.score(request(["open"])))
        try:
            await until(lambda: not up.server.health.is_ready)
            found, body = await asked(f"{url}/readyz")
            assert (found, body["ready"]) == (503, False)
            assert body["checks"] == {"serving": "ok", "scoring": "a run lasts longer than 0.05 s", "memory": "ok"}
            await until(lambda: not up.server.health.is_alive)
            assert (await asked(f"{url}/healthz"))[0] == 503
            assert total(up.server, "deeplog_scoring_stalled_seconds") > 0.3
            await says(up, NOT_SERVING, SERVICE, "")
        finally:
            free.set()
        assert (await waiting).entry_count == 1
        await says(up, SERVING, SERVICE, f"{SERVICE}/app", "")
        assert (await asked(f"{url}/readyz"))[0] == 200


async def test_a_check_of_another_part_counts_too() -> None:
    async with running() as up, listening(up.server) as url:
        up.server.health.add_check("memory", lambda: "over its limit")
        assert await asked(f"{url}/readyz") == (
            503,
            {"ready": False, "checks": {"serving": "ok", "scoring": "ok", "memory": "over its limit"}},
        )
        assert up.server.metrics.registry.get_sample_value("deeplog_check_passed", {"check": "memory"}) == 0


async def test_an_application_that_is_not_there_is_not_found() -> None:
    async with running("app") as up:
        assert await status(up, f"{SERVICE}/app") == SERVING
        call = health_of(up).Check(health_pb2.HealthCheckRequest(service=f"{SERVICE}/other"), timeout=BOUND_S)
        assert (await call.code()).name == "NOT_FOUND"
