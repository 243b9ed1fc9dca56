"""The compose file: what it mounts is there, what it names fits together, and nothing is open to the network."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from deeplog_grpc.settings import load_settings
from tests.deploy.tools import CHART, DEPLOY, ROOT, run

COMPOSE = DEPLOY / "docker" / "compose.yaml"
KEYS = {
    *("image", "build", "init", "tmpfs", "volumes", "environment", "ports", "stop_grace_period", "mem_limit"),
    *("command", "cap_add", "cap_drop", "user", "depends_on", "restart", "read_only", "security_opt"),
}
"""Of the specification, what is used here."""


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return found


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = compose["services"]
    return found


def mounts(service: dict[str, Any]) -> dict[str, str]:
    """Place in the container -> what is mounted there."""
    parts = (re.split(r":(?=/)", one.removesuffix(":ro")) for one in service["volumes"])
    return {place: source for source, place in parts}


def test_docker_takes_it() -> None:
    docker = shutil.which("docker")
    if docker is None:
        pytest.skip("no docker here")
    try:
        run(docker, "compose", "version")
    except AssertionError:
        pytest.skip("docker here has no compose")
    run(docker, "compose", "--file", COMPOSE, "config", "--quiet")


def test_every_service_is_hardened_and_reached_from_this_machine_only(
    compose: dict[str, Any], services: dict[str, Any]
) -> None:
    assert set(compose) == {"name", "x-hardened", "services", "volumes"}
    for service in services.values():
        assert service.keys() <= KEYS
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert re.fullmatch(r"[a-z0-9./-]+:(?!latest)\S+", service["image"])
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        assert set(service.get("depends_on", [])) <= services.keys()
    named = {source for service in services.values() for source in mounts(service).values() if "/" not in source}
    assert named == compose["volumes"].keys()


def test_every_file_that_is_mounted_is_there(services: dict[str, Any]) -> None:
    sources = [source for service in services.values() for source in mounts(service).values() if source[0] == "."]
    assert len(sources) == 6
    assert all((COMPOSE.parent / source).is_file() for source in sources)
    build = services["server"]["build"]
    context = (COMPOSE.parent / build["context"]).resolve()
    assert (context, (context / build["dockerfile"]).is_file()) == (ROOT, True)


def test_the_server_takes_its_environment(services: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    service = services["server"]
    for name, value in service["environment"].items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.server.listen == "0.0.0.0:50051"
    assert settings.metrics.listen == "0.0.0.0:9464"
    published = {port.rpartition(":")[2] for port in service["ports"]}
    receivers = settings.receivers
    listening = [settings.server.listen, receivers.otlp_http.listen, receivers.forward.listen]
    assert {str(at).rpartition(":")[2] for at in listening} == published
    seconds = int(service["stop_grace_period"].removesuffix("s"))
    assert seconds > settings.server.drain_delay_s + settings.server.grace_s + 10


def test_fluent_bit_has_what_its_configuration_asks_for(services: dict[str, Any]) -> None:
    service = services["fluent-bit"]
    text = (COMPOSE.parent / mounts(service)["/config/fluent-bit.yaml"]).read_text()
    asked = set(re.findall(r"\$\{(\w+)\}", re.sub(r"#.*", "", text)))
    assert service["environment"].keys() == asked
    assert service["environment"]["DEEPLOG_HOST"] in services
    assert service["command"][1] in mounts(service)
    assert {"/state", "/logs"} <= mounts(service).keys()


def test_prometheus_scrapes_the_server_and_has_the_rules(services: dict[str, Any], promtool: Path) -> None:
    mounted = mounts(services["prometheus"])
    file = COMPOSE.parent / mounted["/etc/prometheus/prometheus.yml"]
    run(promtool, "check", "config", "--syntax-only", file)
    config = yaml.safe_load(file.read_text())
    ((target,),) = (one["targets"] for one in config["scrape_configs"][0]["static_configs"])
    port = services["server"]["environment"]["DEEPLOG_GRPC_METRICS__LISTEN"].rpartition(":")[2]
    assert target == f"server:{port}"
    (rules,) = config["rule_files"]
    assert (COMPOSE.parent / mounted[f"/etc/prometheus/{rules}"]).samefile(CHART / "files" / "rules.yaml")


def test_grafana_has_the_source_and_the_dashboard(services: dict[str, Any]) -> None:
    service = services["grafana"]
    mounted = mounts(service)
    provisioning = "/etc/grafana/provisioning"
    (source,) = yaml.safe_load((COMPOSE.parent / mounted[f"{provisioning}/datasources/prometheus.yaml"]).read_text())[
        "datasources"
    ]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    providers = (COMPOSE.parent / mounted[f"{provisioning}/dashboards/deeplog-grpc.yaml"]).read_text()
    folder = yaml.safe_load(providers)["providers"][0]["options"]["path"]
    home = service["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{folder}/deeplog-grpc.json"
    assert (COMPOSE.parent / mounted[home]).samefile(CHART / "files" / "dashboard.json")
