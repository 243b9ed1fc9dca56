"""The one table from errors to gRPC statuses.

=============================  ===================  ======================================
error                          code                 details
=============================  ===================  ======================================
``NotFoundError``              NOT_FOUND            ErrorInfo, BadRequest
``PreconditionError``          FAILED_PRECONDITION  ErrorInfo, BadRequest
``ApplicationForbiddenError``  PERMISSION_DENIED    ErrorInfo, BadRequest
other ``InputError``           INVALID_ARGUMENT     ErrorInfo, BadRequest
``RoleMissingError``           PERMISSION_DENIED    ErrorInfo
other ``AccessError``          UNAUTHENTICATED      ErrorInfo
``ExpiredError``               DEADLINE_EXCEEDED    ErrorInfo
other ``RefusedError``         UNAVAILABLE          ErrorInfo, RetryInfo
anything else                  UNAVAILABLE          ErrorInfo (INTERNAL_RETRY), RetryInfo
=============================  ===================  ======================================

Shippers agree on the meaning of these codes only: they drop what is INVALID_ARGUMENT and send the rest again. An error
that nobody foresaw is therefore not INTERNAL or UNKNOWN, on which some drop the logs; its text, which may hold log
lines, goes neither to the client nor to the log.
"""

import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

import grpc
import structlog
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from deeplog_grpc.access.scope import FORBIDDEN
from deeplog_grpc.errors import (
    AccessError,
    ApplicationForbiddenError,
    DeepLogError,
    ExpiredError,
    InputError,
    NotFoundError,
    PreconditionError,
    RefusedError,
    RoleMissingError,
)
from deeplog_grpc.ingest import EntryFault

DOMAIN = "deeplog-grpc"
MAX_VIOLATIONS = 10
"""Fields named in one status. The trailer must stay well below the 8 KiB that HTTP/2 peers take."""
_MAX_TEXT = 300
"""Characters of one message in a status; for the same reason."""
_INTERNAL_RETRY_S = 1.0

DETAILS_KEY = "grpc-status-details-bin"
PUSHBACK_KEY = "grpc-retry-pushback-ms"
"""The form of RetryInfo that the retry policy inside gRPC's clients obeys (gRFC A6)."""

_log = structlog.get_logger("deeplog_grpc.serving")


class EntriesRejectedError(InputError):
    """No entry of a request is good.

    Parameters
    ----------
    faults : sequence of EntryFault
        What is wrong with each, at least one.
    """

    def __init__(self, faults: tuple[EntryFault, ...]) -> None:
        super().__init__(f"all {len(faults)} entries are bad; the first: {faults[0].message}", field=faults[0].field)
        self.faults = faults


def check_any_in_scope(faults: Sequence[EntryFault]) -> None:
    """Refuse a request of which no entry is good since none is of an application that the caller's token is for.

    Raises
    ------
    ApplicationForbiddenError
        With what the first fault says.
    """
    if faults and all(fault.reason == FORBIDDEN for fault in faults):
        raise ApplicationForbiddenError(faults[0].message, field=faults[0].field)


def status_of(error: BaseException) -> status_pb2.Status:
    """The status that answers an error; one that was not foreseen is logged.

    Examples
    --------
    >>> status = status_of(InputError("must not be empty", field="entries"))
    >>> status.code == code_pb2.INVALID_ARGUMENT, status.message
    (True, 'entries: must not be empty')
    """
    if isinstance(error, InputError):
        return _status(_input_code(error), error, _bad_request(error))
    if isinstance(error, AccessError):
        is_known = isinstance(error, RoleMissingError)
        return _status(code_pb2.PERMISSION_DENIED if is_known else code_pb2.UNAUTHENTICATED, error)
    if isinstance(error, ExpiredError):
        return _status(code_pb2.DEADLINE_EXCEEDED, error)
    if isinstance(error, RefusedError):
        return _status(code_pb2.UNAVAILABLE, error, _retry_info(error.retry_after_s))
    log_unexpected(error, "unexpected error, answered as INTERNAL_RETRY")
    return _unexpected_status()


async def abort(context: "grpc.aio.ServicerContext[Any, Any]", error: BaseException) -> NoReturn:
    """End the call with the status of an error."""
    status = status_of(error)
    metadata: list[tuple[str, str | bytes]] = [(DETAILS_KEY, status.SerializeToString())]
    if status.code == code_pb2.UNAVAILABLE:
        delay_s = error.retry_after_s if isinstance(error, RefusedError) else _INTERNAL_RETRY_S
        metadata.append((PUSHBACK_KEY, str(round(delay_s * 1000))))
    await context.abort(_CODES[status.code], status.message, trailing_metadata=tuple(metadata))
    raise AssertionError("abort returned")  # it never does; this tells the type checker


_CODES = {
    code_pb2.INVALID_ARGUMENT: grpc.StatusCode.INVALID_ARGUMENT,
    code_pb2.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    code_pb2.FAILED_PRECONDITION: grpc.StatusCode.FAILED_PRECONDITION,
    code_pb2.PERMISSION_DENIED: grpc.StatusCode.PERMISSION_DENIED,
    code_pb2.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    code_pb2.DEADLINE_EXCEEDED: grpc.StatusCode.DEADLINE_EXCEEDED,
    code_pb2.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
}


def _input_code(error: InputError) -> int:
    code: int = code_pb2.INVALID_ARGUMENT
    if isinstance(error, NotFoundError):
        code = code_pb2.NOT_FOUND
    elif isinstance(error, PreconditionError):
        code = code_pb2.FAILED_PRECONDITION
    elif isinstance(error, ApplicationForbiddenError):
        code = code_pb2.PERMISSION_DENIED
    return code


def _status(code: int, error: DeepLogError, *details: Message) -> status_pb2.Status:
    return _pack(code, str(error)[:_MAX_TEXT], error.reason, *details)


def _unexpected_status() -> status_pb2.Status:
    message = "an error inside the server, which logged it: send the request again"
    return _pack(code_pb2.UNAVAILABLE, message, "INTERNAL_RETRY", _retry_info(_INTERNAL_RETRY_S))


def _pack(code: int, message: str, reason: str, *details: Message) -> status_pb2.Status:
    status = status_pb2.Status(code=code, message=message)
    for detail in (error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN), *details):
        status.details.add().Pack(detail)
    return status


def _bad_request(error: InputError) -> error_details_pb2.BadRequest:
    request = error_details_pb2.BadRequest()
    if isinstance(error, EntriesRejectedError):
        for fault in error.faults[:MAX_VIOLATIONS]:
            request.field_violations.add(field=fault.field, description=fault.message[:_MAX_TEXT], reason=fault.reason)
    else:
        request.field_violations.add(field=error.field, description=error.message[:_MAX_TEXT], reason=error.reason)
    return request


def _retry_info(delay_s: float) -> error_details_pb2.RetryInfo:
    info = error_details_pb2.RetryInfo()
    info.retry_delay.FromNanoseconds(round(delay_s * 1e9))
    return info


def log_unexpected(error: BaseException, event: str = "unexpected error") -> None:
    """Log where an error arose, innermost call last, without its text, but for what the system says of a full disk."""
    frames = traceback.extract_tb(error.__traceback__)
    where = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    said = {"error": error.strerror} if isinstance(error, OSError) and error.strerror else {}
    _log.error(event, error_type=type(error).__qualname__, **said, where=where)
