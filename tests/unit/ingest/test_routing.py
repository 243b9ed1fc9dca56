from typing import Any

import pytest

from deeplog_grpc.errors import ConfigError
from deeplog_grpc.ingest.records import Origin
from deeplog_grpc.ingest.routing import Route, Router, RoutingConfig, look_up

FLUENT_BIT_POD = {
    "pod_name": "cart-7d4-x1",
    "namespace_name": "shop",
    "pod_id": "e1",
    "container_name": "server",
    "labels": {"app": "cart"},
}
VECTOR_POD = {
    "pod_name": "cart-7d4-x1",
    "pod_namespace": "shop",
    "container_name": "server",
    "pod_labels": {"app.kubernetes.io/name": "cart", "app": "other"},
}


def route(attributes: dict[str, Any], origin: Origin | None = None, **config: Any) -> Route:
    return Router(RoutingConfig(**config)).route(attributes, origin or Origin())


@pytest.mark.parametrize(
    ("attributes", "origin", "application", "source"),
    [
        ({"kubernetes": FLUENT_BIT_POD}, Origin(tag="kube.x"), "shop/cart", "cart-7d4-x1/server"),
        ({"kubernetes": FLUENT_BIT_POD | {"labels": {}}}, Origin(), "shop/server", "cart-7d4-x1/server"),
        ({"kubernetes": VECTOR_POD, "host": "n1", "file": "/a"}, Origin(), "shop/cart", "cart-7d4-x1/server"),
        # The native plugin, and clients of our own contract, send flat names.
        (
            {"kubernetes.namespace_name": "shop", "kubernetes.labels.app": "cart", "kubernetes.pod_name": "cart-1"},
            Origin(),
            "shop/cart",
            "cart-1",
        ),
        ({}, Origin(resource={"service.name": "cart", "service.namespace": "shop"}), "shop/cart", ""),
        ({}, Origin(resource={"service.name": "cart", "host.name": "n1"}), "cart", "n1"),
        (
            {},
            Origin(resource={"k8s.namespace.name": "shop", "k8s.deployment.name": "cart", "k8s.pod.name": "cart-1"}),
            "shop/cart",
            "cart-1",
        ),
        ({"container_name": "/cart", "container_id": "9a"}, Origin(tag="docker"), "cart", "9a"),  # Docker's driver
        ({"_SYSTEMD_UNIT": "sshd.service", "host": "n1"}, Origin(), "sshd.service", "n1"),
        ({"message": "x"}, Origin(tag="app.log"), "", "app.log"),
        ({"deeplog.application": "a", "kubernetes": FLUENT_BIT_POD}, Origin(), "a", "cart-7d4-x1/server"),
        ({}, Origin(headers={"x-deeplog-application": "a", "x-deeplog-source": "n1"}), "a", "n1"),
        ({}, Origin(), "", ""),
    ],
)
def test_defaults(attributes: dict[str, Any], origin: Origin, application: str, source: str) -> None:
    found = route(attributes, origin)
    assert (found.application, found.source) == (application, source)


def test_the_first_rule_whose_names_all_have_values_counts() -> None:
    rules = ("{a}-{b}", "{b}:{c}", "c")
    assert route({"a": "1", "b": "2", "c": "3"}, application=rules).application == "1-2"
    assert route({"a": " ", "b": "2", "c": 3}, application=rules).application == "2:3"
    assert route({"a": None, "b": {"x": 1}, "c": "3"}, application=rules).application == "3"
    assert route({"c": [1]}, application=rules).application == ""


def test_names_look_in_the_record_before_its_resource_unless_they_say_where() -> None:
    origin = Origin(resource={"id": "resource"}, tag="t", scope="s")
    assert route({"id": "own"}, origin, session=("id",)).session == "own"
    assert route({"id": "own"}, origin, session=("resource.id",)).session == "resource"
    assert route({}, origin, session=("attributes.id", "tag")).session == "t"
    assert route({}, origin, session=("attributes.id", "scope")).session == "s"
    assert route({"attributes": {"id": "inner"}}, origin, session=("attributes.id",)).session == "inner"


def test_alike_records_with_other_values_are_routed_by_their_own() -> None:
    router = Router(RoutingConfig(application=("{a.b}", "c")))
    assert router.route({"a": {"b": "x"}, "c": "y"}, Origin()).application == "x"
    assert router.route({"a": {"d": "x"}, "c": "y"}, Origin()).application == "y"
    assert router.route({"a": "x", "c": "z"}, Origin()).application == "z"


def test_a_percent_sign_in_a_rule_is_text() -> None:
    assert route({"a": "1"}, application=("100%{a}%s",)).application == "100%1%s"


def test_identifiers_are_cut() -> None:
    found = route({"trace_id": "x" * 1_000, "container_name": "y" * 1_000}, max_id_chars=16)
    assert found == ("y" * 16, "x" * 16, "")


def test_expressions_search_the_body() -> None:
    router = Router(RoutingConfig(session=("trace_id", r"regex:order=(\w+)", "regex:job [0-9]+")))
    assert router.searches_bodies
    assert router.session_in("paid order=a17 by job 3") == "a17"
    assert router.session_in("job 3 done") == "job 3"
    assert router.session_in("nothing") == ""
    assert router.route({"trace_id": "t"}, Origin()).session == "t"
    assert not Router(RoutingConfig()).searches_bodies


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"application": ["{}"]}, r"routing.application\[0\]: '{}' names no attribute"),
        ({"application": ["a", "{a"]}, r"routing.application\[1\]: '{a' names no attribute"),
        ({"session": [""]}, r"routing.session\[0\]: '' names no attribute"),
        ({"session": ["regex:("]}, r"routing.session\[0\]: not a regular expression"),
        ({"session": ["{a}{}"]}, "names no attribute"),
    ],
)
def test_bad_rules_are_refused(config: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        RoutingConfig(**config)


def test_look_up_prefers_the_whole_name() -> None:
    assert look_up({"a.b": 1, "a": {"b": 2}}, "a.b") == 1
    assert look_up({"a": {"b.c": 3}, "a.b": {"d": 4}}, "a.b.c") == 3
    assert look_up({"a": [1]}, "a.0") is None


def test_hostile_attributes_cost_bounded_memory() -> None:
    router = Router(RoutingConfig())
    for number in range(10_000):
        router.route({f"key{number}": number}, Origin())
    assert len(router._plans) <= 4_096
