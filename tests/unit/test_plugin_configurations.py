"""The configurations for shippers: they can be read, both forms say the same, and nothing against loss is missing."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

PLUGINS = Path(__file__).parents[2] / "plugins"
FLUENT_BIT = PLUGINS / "fluent-bit"
ROUTES = ("otlp-grpc", "otlp-http", "forward", "deeplog")
Sections = dict[str, list[dict[str, str]]]

EVERYWHERE = {
    "service": {"scheduler.cap": "30", "storage.path": "${STATE_PATH}/chunks"},
    "inputs": {"db": "${STATE_PATH}/tail.db", "storage.type": "filesystem", "skip_long_lines": "on"},
    "outputs": {"retry_limit": "no_limits"},
}
OWN = {
    "otlp-grpc": {
        "grpc": "on",
        "net.keepalive": "off",
        "batch_size": "1000000",
        "net.io_timeout": "60s",
        "logs_body_key_attributes": "on",
    },
    "otlp-http": {"batch_size": "1000000", "net.io_timeout": "60s", "logs_body_key_attributes": "on"},
    "forward": {"require_ack_response": "on", "net.io_timeout": "60s"},
    "deeplog": {"workers": "1"},
}


def texts(found: Mapping[str, Any]) -> dict[str, str]:
    """A section; the values of a key that is given several times are put together."""
    return {key: "; ".join(value) if isinstance(value, list) else str(value) for key, value in found.items()}


def from_yaml(text: str) -> Sections:
    found = yaml.load(text, yaml.BaseLoader)  # text only: `on` stays `on`
    return {
        "service": [texts(found["service"])],
        "inputs": [texts(one) for one in found["pipeline"]["inputs"]],
        "outputs": [texts(one) for one in found["pipeline"]["outputs"]],
    }


def from_classic(text: str) -> Sections:
    names = {"[SERVICE]": "service", "[INPUT]": "inputs", "[OUTPUT]": "outputs"}
    found: Sections = {name: [] for name in names.values()}
    section: dict[str, str] = {}
    for line in map(str.strip, text.splitlines()):
        if line in names:
            section = {}
            found[names[line]].append(section)
        elif line and not line.startswith("#"):
            key, value = line.split(maxsplit=1)
            section[key] = f"{section[key]}; {value}" if key in section else value
    return found


def files(*endings: str) -> list[Path]:
    return [path for path in sorted(PLUGINS.rglob("*")) if path.suffix in endings]


@pytest.mark.parametrize("path", files(".yaml", ".json"), ids=lambda path: str(path.relative_to(PLUGINS)))
def test_a_file_can_be_read(path: Path) -> None:
    documents = list(yaml.safe_load_all(path.read_text()))
    assert all(documents)
    if path.suffix == ".json":
        assert json.loads(path.read_text()) == documents[0]


@pytest.mark.parametrize("route", ROUTES)
def test_both_forms_say_the_same(route: str) -> None:
    of_yaml = from_yaml((FLUENT_BIT / f"{route}.yaml").read_text())
    assert from_classic((FLUENT_BIT / f"{route}.conf").read_text()) == of_yaml
    assert all(len(sections) == 1 for sections in of_yaml.values())


@pytest.mark.parametrize("route", ROUTES)
def test_what_saves_from_loss_is_there(route: str) -> None:
    found = from_yaml((FLUENT_BIT / f"{route}.yaml").read_text())
    for section, settings in EVERYWHERE.items():
        assert settings.items() <= found[section][0].items()
    assert OWN[route].items() <= found["outputs"][0].items()


@pytest.mark.parametrize("name", ["forward", "deeplog"])
def test_kubernetes_has_the_same_output_and_mounts_what_it_names(name: str) -> None:
    documents = list(yaml.load_all((FLUENT_BIT / "kubernetes" / f"{name}.yaml").read_text(), yaml.BaseLoader))
    config, daemons = documents
    inside = from_yaml(config["data"]["fluent-bit.yaml"])
    alone = from_yaml((FLUENT_BIT / f"{name}.yaml").read_text())
    differing = {"match", "source", "on_anomaly", "add_option", "time"}  # a container's record has its own time
    ours, theirs = (
        {key: value for key, value in found["outputs"][0].items() if key not in differing} for found in (inside, alone)
    )
    assert ours == theirs
    pod = daemons["spec"]["template"]["spec"]
    volumes = {volume["name"] for volume in pod["volumes"]}
    containers = [*pod["containers"], *pod.get("initContainers", [])]
    assert {mount["name"] for container in containers for mount in container["volumeMounts"]} == volumes


def test_docker_says_the_same_for_a_machine_and_for_a_service() -> None:
    machine = json.loads((PLUGINS / "docker" / "daemon.json").read_text())
    compose = yaml.safe_load((PLUGINS / "docker" / "compose.yaml").read_text())
    logging = compose["services"]["web"]["logging"]
    assert logging["driver"] == machine["log-driver"] == "fluentd"
    address = {"fluentd-address": "tcp://127.0.0.1:24224"}
    assert logging["options"] | address == machine["log-opts"]
    assert all(isinstance(value, str) for value in machine["log-opts"].values())


def test_vector_waits_for_the_answer_and_keeps_what_waits_on_disk() -> None:
    for path in sorted((PLUGINS / "vector").glob("*.yaml")):
        sink = yaml.safe_load(path.read_text())["sinks"]["deeplog"]
        assert sink["acknowledgements"] == {"enabled": True}
        assert (sink["buffer"]["type"], sink["buffer"]["when_full"]) == ("disk", "block")
        assert sink.get("protocol", sink)["compression"] == "gzip"


@pytest.mark.skipif("FLUENT_BIT" not in os.environ, reason="FLUENT_BIT names no Fluent Bit")
@pytest.mark.parametrize("form", ["yaml", "conf"])
@pytest.mark.parametrize("route", [route for route in ROUTES if route != "deeplog"])
def test_fluent_bit_accepts_it(route: str, form: str, tmp_path: Path) -> None:
    environment = {
        "DEEPLOG_HOST": "127.0.0.1",
        "DEEPLOG_PORT": "1",
        "LOG_PATH": str(tmp_path / "*.log"),
        "STATE_PATH": str(tmp_path),
    }
    command = [os.environ["FLUENT_BIT"], "--dry-run", "-c", str(FLUENT_BIT / f"{route}.{form}")]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert "configuration test is successful" in ran.stdout + ran.stderr
