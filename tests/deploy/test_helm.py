"""The chart: rendered by Helm, every object checked, for every set of values that comes with it."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from deeplog_grpc import __version__
from deeplog_grpc.settings import Settings
from tests.deploy.policies import OF_THE_OPERATOR, check_configuration, check_schema, check_server
from tests.deploy.tools import CHART, ROOT, configuration, of_kind, rendered, run, the

VALUES = sorted((CHART / "ci").glob("*-values.yaml"))
OPERATOR = ("--api-versions", "monitoring.coreos.com/v1")
TYPOS = {
    "replicas=2": "additional properties 'replicas' not allowed",
    "image.tga=1": "additional properties 'tga' not allowed",
    "image.tag=latest": "'/image/tag'",
    "config.servers.listen=x": "additional properties 'servers' not allowed",
    "replicaCount=many": "'/replicaCount'",
    "tls.enabled=maybe": "'/tls/enabled'",
    "persistence.size=10Gb": "'/persistence/size'",
    "service.sessionAffinity=Cookie": "'/service/sessionAffinity'",
    "networkPolicy.shipperNamespaces[0]=Log Ging": "'/networkPolicy/shipperNamespaces/0'",
}
CONTRADICTIONS = {
    "tls.enabled=true": "tls.secretName must be given",
    "tokens.secretName=t": "tokens do not hold for the Forward protocol",
    "tls.enabled=true,tls.secretName=t,tls.clientCa=true,serviceMonitor.enabled=true": "give serviceMonitor.tlsConfig",
    "config.outputs.pager.type=slack": "the network policy would hold back output 'pager'",
}


def of_file(path: Path) -> str:
    return path.name.removesuffix("-values.yaml")


@pytest.fixture(params=VALUES, ids=of_file)
def values(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_helm_finds_nothing_wrong(helm: Path, values: Path) -> None:
    assert "0 chart(s) failed" in run(helm, "lint", "--strict", CHART, "--values", values)


def test_every_object_keeps_to_the_rules(helm: Path, values: Path) -> None:
    objects = rendered(helm, "--values", values, *OPERATOR)
    check_schema(objects)
    check_server(objects)
    assert {one["metadata"]["namespace"] for one in objects if "namespace" in one["metadata"]} <= {"deeplog"}


def test_the_server_takes_the_configuration(helm: Path, values: Path) -> None:
    check_configuration(rendered(helm, "--values", values))


@pytest.mark.parametrize(("assignment", "said"), TYPOS.items())
def test_a_typo_is_refused_before_anything_is_installed(helm: Path, assignment: str, said: str) -> None:
    assert said in run(helm, "template", CHART, "--set", assignment, code=1)


@pytest.mark.parametrize(("assignment", "said"), CONTRADICTIONS.items())
def test_a_contradiction_is_refused_with_the_remedy(helm: Path, assignment: str, said: str) -> None:
    assert said in run(helm, "template", CHART, "--set", assignment, code=1)


def test_what_the_operator_needs_comes_only_where_it_is(helm: Path) -> None:
    monitored = CHART / "ci" / "monitored-values.yaml"
    kinds = {one["kind"] for one in rendered(helm, "--values", monitored)}
    assert not kinds & {*OF_THE_OPERATOR}
    kinds = {one["kind"] for one in rendered(helm, "--values", monitored, *OPERATOR)}
    assert kinds >= {*OF_THE_OPERATOR}
    assert not {one["kind"] for one in rendered(helm, *OPERATOR)} & {*OF_THE_OPERATOR}


def test_rules_and_dashboard_are_those_of_the_files(helm: Path) -> None:
    objects = rendered(helm, "--values", CHART / "ci" / "monitored-values.yaml", *OPERATOR)
    rules = yaml.safe_load((CHART / "files" / "rules.yaml").read_text())
    assert the(objects, "PrometheusRule")["spec"] == rules
    dashboard = the(objects, "ConfigMap", "-dashboard")
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(dashboard["data"]["deeplog-grpc.json"]) == json.loads(
        (CHART / "files" / "dashboard.json").read_text()
    )


def test_the_configuration_of_values_goes_over_that_of_the_chart(helm: Path) -> None:
    objects = rendered(helm, "--values", CHART / "ci" / "outputs-values.yaml")
    server = configuration(objects)["server"]
    assert server == {"listen": "0.0.0.0:4317", "allow_public": True, "drain_delay_s": 10, "grace_s": 60.5}
    # 10 s of draining, 60.5 s of work under way, 30 s to write and end.
    assert the(objects, "StatefulSet")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 101


def test_another_configuration_restarts_the_pods_and_the_same_does_not(helm: Path) -> None:
    def checksum(*options: object) -> str:
        workload = the(rendered(helm, *options), "StatefulSet")
        return str(workload["spec"]["template"]["metadata"]["annotations"]["checksum/config"])

    assert checksum() == checksum("--set", "replicaCount=2")
    assert checksum() != checksum("--set", "config.learning.min_s=60")


def test_secrets_are_mounted_and_named_but_not_in_the_configuration(helm: Path) -> None:
    objects = rendered(helm, "--values", CHART / "ci" / "secure-values.yaml")
    assert not of_kind(objects, "Secret")
    pod = the(objects, "StatefulSet")["spec"]["template"]["spec"]
    secrets = {volume["name"]: volume["secret"] for volume in pod["volumes"] if "secret" in volume}
    assert {name: one["secretName"] for name, one in secrets.items()} == {
        "tls": "deeplog-grpc-tls",
        "tokens": "deeplog-grpc-tokens",
    }
    assert {one["defaultMode"] for one in secrets.values()} == {0o440}
    (container,) = pod["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    (key,) = (one for one in container["env"] if one["name"] == "DEEPLOG_GRPC_RECEIVERS__FORWARD__SHARED_KEY")
    assert key["valueFrom"]["secretKeyRef"] == {"name": "deeplog-grpc-forward", "key": "shared-key"}
    content = configuration(objects)
    assert content["access"] == {"tokens_file": f"{mounts['tokens']}/tokens.yaml"}
    tls = mounts["tls"]
    assert content["tls"] == {"cert": f"{tls}/tls.crt", "key": f"{tls}/tls.key", "client_ca": f"{tls}/ca.crt"}
    forward = content["receivers"]["forward"]
    assert {key: forward[f"tls_{key}"] for key in content["tls"]} == content["tls"]


def test_only_shippers_and_monitoring_may_connect(helm: Path) -> None:
    policy = the(rendered(helm, "--set", "networkPolicy.shipperCidrs={10.1.0.0/16}"), "NetworkPolicy")["spec"]
    entries, metrics = policy["ingress"]
    assert [port["port"] for port in metrics["ports"]] == ["metrics"]
    assert "metrics" not in {port["port"] for port in entries["ports"]}
    client = {"podSelector": {"matchLabels": {"logs-deeplog-grpc-client": "true"}}}
    assert entries["from"] == [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "logging"}}},
        {"ipBlock": {"cidr": "10.1.0.0/16"}},
        client,
    ]
    assert metrics["from"] == [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}},
        client,
    ]
    (names,) = policy["egress"]
    assert {port["port"] for port in names["ports"]} == {53}


def test_the_scaler_decides_the_number_and_takes_servers_away_slowly(helm: Path) -> None:
    objects = rendered(helm, "--values", CHART / "ci" / "scaled-values.yaml")
    assert "replicas" not in the(objects, "StatefulSet")["spec"]
    scaler = the(objects, "HorizontalPodAutoscaler")["spec"]
    assert scaler["scaleTargetRef"]["name"] == the(objects, "StatefulSet")["metadata"]["name"]
    assert scaler["behavior"]["scaleDown"]["stabilizationWindowSeconds"] >= 300
    assert not of_kind(rendered(helm), "HorizontalPodAutoscaler")
    assert the(rendered(helm), "StatefulSet")["spec"]["replicas"] == 1


def test_the_test_of_a_release_is_restricted_too_and_no_part_of_its_services(helm: Path, values: Path) -> None:
    objects = rendered(helm, "--values", values)
    pod = the(objects, "Pod", "-test")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    for service in of_kind(objects, "Service"):
        assert not service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    spec = pod["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert (spec["automountServiceAccountToken"], spec["enableServiceLinks"]) == (False, False)
    assert spec["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True


def test_every_value_has_a_type_a_comment_and_a_place_in_the_readme() -> None:
    text = (CHART / "values.yaml").read_text()
    readme = (CHART / "README.md").read_text()
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load(text)
    assert schema["properties"].keys() - {"global"} == values.keys()
    for name, value in values.items():
        properties = schema["properties"][name].get("properties")
        if isinstance(value, dict) and value and properties is not None:
            assert properties.keys() == value.keys()
        assert re.search(rf"^# .*\n(#.*\n)*(\w+: .*\n)*{name}:", text, re.MULTILINE), f"{name} has no comment"
        assert re.search(rf"`{name}[`.]", readme), f"{name} is not in README.md"


def test_every_section_of_the_configuration_may_be_given() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert schema["properties"]["config"]["properties"].keys() >= Settings.model_fields.keys()


def test_all_name_the_version_of_the_program() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    base = yaml.safe_load((ROOT / "deploy" / "kubernetes" / "base" / "kustomization.yaml").read_text())
    compose = yaml.safe_load((ROOT / "deploy" / "docker" / "compose.yaml").read_text())
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    dockerfile = (ROOT / "deploy" / "docker" / "Dockerfile").read_text()
    assert {
        chart["appVersion"],
        base["images"][0]["newTag"],
        compose["services"]["server"]["image"].rpartition(":")[2],
        project["version"],
        *re.findall(r'image\.version="(.*?)"', dockerfile),
    } == {__version__}
