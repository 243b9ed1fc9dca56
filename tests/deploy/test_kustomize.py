"""The folders of kustomize: built by kubectl, every object checked, and the base beside the chart."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.policies import check_configuration, check_pod, check_schema, check_server, mebibytes
from tests.deploy.tools import CHART, KUBERNETES, ROOT, Object, built, configuration, of_kind, rendered, the

SERVERS = ("base", "overlays/dev", "overlays/prod")
SHIPPERS = ("shippers/fluent-bit", "shippers/vector", "shippers/vector-tls")


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, kubectl: Path) -> list[Object]:
    return built(kubectl, request.param)


@pytest.fixture(params=SHIPPERS)
def shipper(request: pytest.FixtureRequest, kubectl: Path) -> list[Object]:
    return built(kubectl, request.param)


def test_every_object_of_a_server_keeps_to_the_rules(server: list[Object]) -> None:
    check_schema(server)
    check_server(server)
    namespace = the(server, "Namespace")
    assert {one["metadata"].get("namespace") for one in server if one is not namespace} == {"deeplog"}
    enforced = namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
    assert (namespace["metadata"]["name"], enforced) == ("deeplog", "restricted")


def test_the_server_takes_the_configuration(server: list[Object]) -> None:
    check_configuration(server)


def test_the_base_is_what_the_chart_makes(helm: Path, kubectl: Path) -> None:
    theirs, ours = rendered(helm, "--set", "fullnameOverride=deeplog-grpc"), built(kubectl, "base")
    assert configuration(ours) == configuration(theirs)
    for kind, ending in (
        ("StatefulSet", ""),
        ("Service", "deeplog-grpc"),
        ("Service", "-headless"),
        ("PodDisruptionBudget", ""),
        ("NetworkPolicy", ""),
        ("ServiceAccount", ""),
    ):
        assert _alike(the(ours, kind, ending)) == _alike(the(theirs, kind, ending))


def test_production_is_encrypted_asks_for_tokens_and_is_watched(kubectl: Path) -> None:
    objects, base = built(kubectl, "overlays/prod"), built(kubectl, "base")
    content = configuration(objects)
    assert {"tls", "access"} <= content.keys()
    assert "allow_public" not in content["server"]
    assert content["receivers"]["forward"] == {"listen": None}  # it knows no tokens
    (container,) = the(objects, "StatefulSet")["spec"]["template"]["spec"]["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    files = [content["tls"]["cert"], content["tls"]["key"], content["access"]["tokens_file"]]
    assert [str(Path(file).parent) for file in files] == [mounts["tls"], mounts["tls"], mounts["tokens"]]
    (small,) = the(base, "StatefulSet")["spec"]["template"]["spec"]["containers"]
    larger, smaller = (mebibytes(one["resources"]["limits"]["memory"]) for one in (container, small))
    assert larger > smaller
    assert larger - content["limits"]["memory_mb"] >= 1024  # for trainings
    the(objects, "ServiceMonitor")
    files_of = {one["metadata"]["name"]: one["data"] for one in of_kind(objects, "ConfigMap")}
    files_here = CHART / "files"
    dashboard = json.loads(files_of["deeplog-grpc-dashboard"]["deeplog-grpc.json"])
    assert dashboard == json.loads((files_here / "dashboard.json").read_text())
    assert files_of["deeplog-grpc-rules"]["deeplog-grpc.yaml"] == (files_here / "rules.yaml").read_text()


def test_every_object_of_a_shipper_keeps_to_the_rules(shipper: list[Object]) -> None:
    check_schema(shipper)
    daemons = the(shipper, "DaemonSet")
    pod = daemons["spec"]["template"]["spec"]
    check_pod(pod)
    account = the(shipper, "ServiceAccount")["metadata"]["name"]
    assert pod["serviceAccountName"] == account
    binding = the(shipper, "ClusterRoleBinding")
    assert [(one["name"], one["namespace"]) for one in binding["subjects"]] == [(account, "logging")]
    assert binding["roleRef"]["name"] == the(shipper, "ClusterRole")["metadata"]["name"]
    for rule in the(shipper, "ClusterRole")["rules"]:
        assert set(rule["verbs"]) == {"get", "list", "watch"}
    (container,) = pod["containers"]
    (state,) = (volume["hostPath"] for volume in pod["volumes"] if volume["name"] == "state")
    assert state["type"] == "DirectoryOrCreate"  # outlives the pod
    logs = {mount["name"]: mount.get("readOnly", False) for mount in container["volumeMounts"]}
    assert logs["logs"] is True
    assert {"livenessProbe", "readinessProbe"} <= container.keys()


def test_shippers_send_to_the_service_from_a_namespace_that_may(kubectl: Path) -> None:
    objects = built(kubectl, "base")
    service = the(objects, "Service", "deeplog-grpc")
    host = f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc"
    (grpc,) = (port["port"] for port in service["spec"]["ports"] if port["name"] == "grpc")
    fluent_bit, vector = (_environment(built(kubectl, folder)) for folder in SHIPPERS[:2])
    assert (fluent_bit["DEEPLOG_HOST"], fluent_bit["DEEPLOG_PORT"]) == (host, str(grpc))
    assert vector["DEEPLOG_ADDRESS"] == f"{host}:{grpc}"
    allowed = the(objects, "NetworkPolicy")["spec"]["ingress"][0]["from"][0]["namespaceSelector"]["matchLabels"]
    namespaces = {the(built(kubectl, folder), "DaemonSet")["metadata"]["namespace"] for folder in SHIPPERS}
    assert namespaces == {allowed["kubernetes.io/metadata.name"]}


def test_fluent_bit_sends_as_it_does_elsewhere() -> None:
    here = _text(KUBERNETES / "shippers" / "fluent-bit" / "fluent-bit.yaml")
    alone = _text(ROOT / "plugins" / "fluent-bit" / "otlp-grpc.yaml")
    ours, theirs = here["pipeline"]["outputs"][0], alone["pipeline"]["outputs"][0]
    own = {"match", "header"}  # records of containers have a time and a source of their own
    assert {key: value for key, value in ours.items() if key not in own and not key.startswith("tls")} == {
        key: value for key, value in theirs.items() if key not in own
    }
    kept = ("scheduler.cap", "storage.path", "storage.sync")
    assert [here["service"][key] for key in kept] == ["30", "/state/chunks", "normal"]
    (source,) = here["pipeline"]["inputs"]
    assert (source["db"], source["storage.type"], source["skip_long_lines"]) == ("/state/tail.db", "filesystem", "on")


def test_vector_sends_as_it_does_elsewhere() -> None:
    here = _text(KUBERNETES / "shippers" / "vector" / "vector.yaml")
    encrypted = _text(KUBERNETES / "shippers" / "vector-tls" / "vector.yaml")
    alone = _text(ROOT / "plugins" / "vector" / "vector.yaml")
    assert encrypted["sinks"]["deeplog"].pop("tls")["alpn_protocols"] == ["h2"]
    assert encrypted == here
    ours, theirs = here["sinks"]["deeplog"], alone["sinks"]["deeplog"]
    assert ours | {"address": theirs["address"]} == theirs


def _text(path: Path) -> Any:
    return yaml.load(path.read_text(), yaml.BaseLoader)  # text only: `on` stays `on`


def _environment(objects: list[Object]) -> dict[str, str]:
    (container,) = the(objects, "DaemonSet")["spec"]["template"]["spec"]["containers"]
    return {one["name"]: one["value"] for one in container["env"] if "value" in one}


def _alike(one: Object) -> Object:
    """An object without what the two tools name differently: labels, and the configuration with its checksum."""
    text = json.loads(json.dumps(one), object_hook=_without_names)
    text["metadata"] = {"name": one["metadata"]["name"]}
    found: Object = text
    return found


def _without_names(found: dict[str, Any]) -> dict[str, Any]:
    for key in ("labels", "annotations"):
        found.pop(key, None)
    for key in ("matchLabels", "selector"):
        if "app.kubernetes.io/instance" in found.get(key, {}):
            del found[key]
    if "configMap" in found:
        found["configMap"] = {}
    for key in ("volumes", "volumeMounts", "ports", "env"):
        if isinstance(found.get(key), list):
            found[key] = sorted(found[key], key=lambda item: json.dumps(item, sort_keys=True))
    # Where Kubernetes has the same default.
    if found.get("imagePullPolicy") == "IfNotPresent":
        del found["imagePullPolicy"]
    if found.get("type") == "ClusterIP":
        del found["type"]
    return {key: value for key, value in found.items() if value != {}} or found
