"""Who may reach the server, and what for: certificates, tokens, roles, and the applications that a token is for.

Nothing here knows a connection. :mod:`deeplog_grpc.serving.guard` asks for gRPC, :mod:`deeplog_grpc.serving.http_guard`
for the HTTP listeners.
"""

from typing import TYPE_CHECKING

from deeplog_grpc.lazy import lazy

if TYPE_CHECKING:
    from deeplog_grpc.access.certificates import Certificates
    from deeplog_grpc.access.config import AccessConfig, TlsConfig
    from deeplog_grpc.access.gate import Gate
    from deeplog_grpc.access.grants import Grant, current_grant
    from deeplog_grpc.access.roles import Role, role_of

__all__ = ["AccessConfig", "Certificates", "Gate", "Grant", "Role", "TlsConfig", "current_grant", "role_of"]

__getattr__ = lazy(
    __name__,
    {
        "certificates": "Certificates",
        "config": "AccessConfig TlsConfig",
        "gate": "Gate",
        "grants": "Grant current_grant",
        "roles": "Role role_of",
    },
)
