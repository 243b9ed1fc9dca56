"""The one table of which role a method needs.

``admin`` includes the other roles; they do not include each other. A method that the table does not have needs
``admin``: what is added and forgotten here is closed, not open.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum


class Role(StrEnum):
    """What a caller may do."""

    INGEST = "ingest"
    """Send entries, and be told their verdicts."""
    READ = "read"
    """Look: anomalies, workflows, versions, drift, applications, metrics."""
    FEEDBACK = "feedback"
    """Say what anomalies were, which changes the models, and mute."""
    ADMIN = "admin"
    """All of these, and orders that change the models at large."""


_SERVICE = "/deeplog_grpc.v1.DeepLogService/"

METHODS: Mapping[str, Role | None] = {
    **{f"{_SERVICE}{name}": Role.INGEST for name in ("Parse", "Score", "StreamScore")},
    **{
        f"{_SERVICE}{name}": Role.READ
        for name in (
            *("ListAnomalies", "ListAnomalyGroups", "WatchAnomalies", "GetWorkflow"),
            *("ListModelVersions", "GetDrift", "ListApplications"),
        )
    },
    **{f"{_SERVICE}{name}": Role.FEEDBACK for name in ("Feedback", "MuteAnomalyGroup")},
    **{f"{_SERVICE}{name}": Role.ADMIN for name in ("Adapt", "RollbackModel", "TrainApplication")},
    "/opentelemetry.proto.collector.logs.v1.LogsService/Export": Role.INGEST,
    "/vector.Vector/PushEvents": Role.INGEST,
    # Vector and Kubernetes ask these before they send anything, and neither can send a token with them.
    "/vector.Vector/HealthCheck": None,
    **{f"/grpc.health.v1.Health/{name}": None for name in ("Check", "Watch", "List")},
}
"""Full name of a method -> the role that it needs; None = none, not even a token."""

_ADMIN_SERVICES = ("/grpc.reflection.", "/grpc.channelz.")
"""What tells how the server is made, and who is connected to it."""


def is_listed(method: str) -> bool:
    """Whether somebody has decided which role a method needs."""
    return method in METHODS or method.startswith(_ADMIN_SERVICES)


def role_of(method: str) -> Role | None:
    """The role that a method needs; None = none.

    Examples
    --------
    >>> role_of("/deeplog_grpc.v1.DeepLogService/Score")
    <Role.INGEST: 'ingest'>
    >>> role_of("/grpc.channelz.v1.Channelz/GetServers"), role_of("/new.Service/Method")
    (<Role.ADMIN: 'admin'>, <Role.ADMIN: 'admin'>)
    >>> role_of("/grpc.health.v1.Health/Check") is None
    True
    """
    return METHODS.get(method, Role.ADMIN)


def with_included(roles: Iterable[Role]) -> frozenset[Role]:
    """Roles and those that they include.

    Examples
    --------
    >>> sorted(with_included([Role.ADMIN])) == sorted(Role)
    True
    """
    given = frozenset(roles)
    return frozenset(Role) if Role.ADMIN in given else given
