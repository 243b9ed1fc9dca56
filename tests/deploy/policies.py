"""What every pod has to keep to, and what cannot be seen from a schema."""

import re
from typing import Any

import kubernetes_validate
import pytest

from deeplog_grpc.settings import Settings, load_settings
from tests.deploy.tools import Object, configuration, of_kind, the

OLDEST, NEWEST = "1.27", kubernetes_validate.latest_version()
"""Versions of Kubernetes for which objects are checked: the chart's oldest, and the newest known here."""
OF_THE_OPERATOR = ("ServiceMonitor", "PrometheusRule")
WORKLOADS = ("StatefulSet", "DaemonSet")
MEBI = {"Mi": 1, "Gi": 1024}
_TAGGED = re.compile(r"[a-z0-9./-]+:(?!latest)[\w][\w.-]*")


def check_schema(objects: list[Object], *versions: str) -> None:
    """Each object is one that Kubernetes takes, without a key that it does not know."""
    assert objects
    for one in objects:
        if one["kind"] in OF_THE_OPERATOR:
            assert (one["apiVersion"], set(one)) == (
                "monitoring.coreos.com/v1",
                {"apiVersion", "kind", "metadata", "spec"},
            )
            continue
        for version in versions or (OLDEST, NEWEST):
            kubernetes_validate.validate(one, version, strict=True)
    names = [(one["kind"], one["metadata"]["name"]) for one in objects]
    assert len(names) == len(set(names))


def check_server(objects: list[Object]) -> None:
    """The server's pods are restricted, watched and bounded, and everything fits together."""
    workload = the(objects, "StatefulSet")
    pod = workload["spec"]["template"]["spec"]
    check_pod(pod)
    security = pod["securityContext"]
    assert security["runAsNonRoot"] is True
    assert min(security["runAsUser"], security["runAsGroup"], security["fsGroup"]) >= 10_000
    assert the(objects, "ServiceAccount")["automountServiceAccountToken"] is False
    assert pod["automountServiceAccountToken"] is False
    # Variables of services would be taken for misspelt keys: see test_start_command.
    assert pod["enableServiceLinks"] is False
    (container,) = pod["containers"]
    _check_probes(container)
    _check_ports(objects, container)
    _check_volumes(workload, container)
    labels = workload["spec"]["template"]["metadata"]["labels"]
    for budget in of_kind(objects, "PodDisruptionBudget"):
        assert budget["spec"]["maxUnavailable"] == 1
        assert budget["spec"]["selector"]["matchLabels"].items() <= labels.items()
    for policy in of_kind(objects, "NetworkPolicy"):
        assert set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"}
        assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    (spread,) = pod["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"].items() <= labels.items()


def check_pod(pod: Object) -> None:
    """A pod, the server's or a shipper's."""
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    for container in [*pod["containers"], *pod.get("initContainers", [])]:
        assert _TAGGED.fullmatch(container["image"]), container["image"]
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["readOnlyRootFilesystem"] is True
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert "privileged" not in security
        resources = container["resources"]
        assert resources["requests"].keys() == {"cpu", "memory"}
        assert resources["limits"].keys() == {"memory"}  # no limit of the processor: it would only throttle
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        mounts = {mount["name"] for mount in container.get("volumeMounts", [])}
        assert mounts >= volumes, "a volume that nothing mounts"


def check_configuration(objects: list[Object]) -> Settings:
    """The server takes the configuration, and stops in the time that the pod has."""
    check_guarded(configuration(objects))
    settings = load(configuration(objects))
    server = settings.server
    pod = the(objects, "StatefulSet")["spec"]["template"]["spec"]
    assert server.drain_delay_s >= 5  # until every node knows
    assert pod["terminationGracePeriodSeconds"] >= server.drain_delay_s + server.grace_s + 20
    (container,) = pod["containers"]
    mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert str(settings.state.directory) == mounted["state"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    listen = {
        "grpc": server.listen,
        "metrics": settings.metrics.listen,
        "otlp-http": settings.receivers.otlp_http.listen,
        "forward": settings.receivers.forward.listen,
    }
    assert ports == {name: int(at.rpartition(":")[2]) for name, at in listen.items() if at is not None}
    return settings


def check_guarded(content: Object) -> None:
    """Ports are opened by a flag only where neither certificates with tokens nor those of clients guard them."""
    tls = content.get("tls", {})
    is_guarded = bool(tls) and ("client_ca" in tls or "tokens_file" in content.get("access", {}))
    for section in (content["server"], content["receivers"]["otlp_http"]):
        if section["listen"] is not None:
            assert section.get("allow_public", False) is not is_guarded


def load(content: Object) -> Settings:
    """A configuration as the server reads it."""
    missing = sorted(content.keys() - Settings.model_fields.keys())
    if missing:
        pytest.skip(f"the configuration has no {', '.join(missing)} yet")
    return load_settings(overrides=_dotted(content))


def _dotted(content: Object) -> dict[str, Any]:
    return {f"{section}.{key}": value for section, keys in content.items() for key, value in keys.items()}


def _check_probes(container: Object) -> None:
    is_encrypted = any(mount["name"] == "tls" for mount in container["volumeMounts"])
    wanted = {"startupProbe": "", "livenessProbe": "", "readinessProbe": "deeplog_grpc.v1.DeepLogService"}
    for name, service in wanted.items():
        probe = container[name]
        if is_encrypted:  # native probes cannot do TLS
            path = "/readyz" if service else "/healthz"
            assert probe["httpGet"] == {"path": path, "port": "metrics", "scheme": "HTTPS"}
            assert "grpc" not in probe
        else:
            grpc = next(port["containerPort"] for port in container["ports"] if port["name"] == "grpc")
            assert probe["grpc"] == {"port": grpc, "service": service}
    startup = container["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 300
    liveness = container["livenessProbe"]
    assert liveness["periodSeconds"] * liveness["failureThreshold"] >= 60


def _check_ports(objects: list[Object], container: Object) -> None:
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    headless = the(objects, "Service", "-headless")
    assert headless["spec"]["clusterIP"] == "None"
    assert the(objects, "StatefulSet")["spec"]["serviceName"] == headless["metadata"]["name"]
    (service,) = (one for one in of_kind(objects, "Service") if one is not headless)
    offered = {port["targetPort"]: port["port"] for port in service["spec"]["ports"]}
    assert offered == {name: port for name, port in ports.items() if name != "metrics"}
    assert {port["targetPort"]: port["port"] for port in headless["spec"]["ports"]} == ports
    for policy in of_kind(objects, "NetworkPolicy"):
        named = {port["port"] for rule in policy["spec"]["ingress"] for port in rule.get("ports", [])}
        assert named <= ports.keys()
    for monitor in of_kind(objects, "ServiceMonitor"):
        assert monitor["spec"]["selector"]["matchLabels"].items() <= headless["metadata"]["labels"].items()
        assert not monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        (endpoint,) = monitor["spec"]["endpoints"]
        assert endpoint["port"] == "metrics"
        is_encrypted = "tls" in {mount["name"] for mount in container["volumeMounts"]}
        assert (endpoint.get("scheme") == "https", "tlsConfig" in endpoint) == (is_encrypted, is_encrypted)


def _check_volumes(workload: Object, container: Object) -> None:
    claims = {claim["metadata"]["name"] for claim in workload["spec"]["volumeClaimTemplates"]}
    assert claims == {"state"}
    volumes = {volume["name"]: volume for volume in workload["spec"]["template"]["spec"]["volumes"]}
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert mounts.keys() == volumes.keys() | claims
    writable = {name for name, mount in mounts.items() if not mount.get("readOnly")}
    assert writable == {"state", "tmp"}
    assert mounts["tmp"]["mountPath"] == "/tmp"
    memory = container["resources"]
    assert memory["requests"]["memory"] == memory["limits"]["memory"]  # what kills the server is lost work
    assert mebibytes(memory["limits"]["memory"]) >= 1024


def mebibytes(quantity: str) -> int:
    """A quantity of memory such as ``2Gi``."""
    return int(quantity[:-2]) * MEBI[quantity[-2:]]
