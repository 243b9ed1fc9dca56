"""Asks the callers of the HTTP listeners who they are, as :mod:`deeplog_grpc.serving.guard` does for gRPC."""

from typing import Any

import structlog
from aiohttp import web

from deeplog_grpc.access.gate import HEADER, Gate
from deeplog_grpc.access.grants import current_grant
from deeplog_grpc.access.roles import Role
from deeplog_grpc.errors import AccessError, RoleMissingError
from deeplog_grpc.serving.scarce_log import ScarceLog

_log: Any = structlog.get_logger("deeplog_grpc.access")
UNAUTHORISED = {"WWW-Authenticate": "Bearer"}
"""Header that an answer 401 has to have."""


class HttpGuard:
    """Refuses requests without the token that they need.

    Parameters
    ----------
    gate : Gate, optional
        Knows the tokens; None = nobody is asked.
    """

    def __init__(self, gate: Gate | None) -> None:
        self._gate = gate
        self._faults = ScarceLog(_log)

    def check(self, request: web.BaseRequest, role: Role) -> None:
        """Let a request pass, with what its token is for as the grant of the running task.

        Raises
        ------
        AccessError
            If its caller may not do this.
        """
        if self._gate is None:
            return
        try:
            current_grant.set(self._gate.admit(request.headers.get(HEADER), role)[0])
        except AccessError as error:
            self._faults.warning("request refused", peer=request.remote, reason=error.reason, message=str(error))
            raise


def http_status(error: AccessError) -> int:
    """The status that answers an error.

    Examples
    --------
    >>> http_status(RoleMissingError("no"))
    403
    """
    return 403 if isinstance(error, RoleMissingError) else 401
