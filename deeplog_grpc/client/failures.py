"""Failed calls as the errors of :mod:`deeplog_grpc.errors`."""

from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from deeplog_grpc.errors import (
    AccessError,
    ApplicationForbiddenError,
    DeepLogError,
    InputError,
    NotFoundError,
    PreconditionError,
    RefusedError,
    RoleMissingError,
    TokenMissingError,
    TokenUnknownError,
)

_DETAILS_KEY = "grpc-status-details-bin"
_BROKEN_WRITE = "Internal error from Core"
"""What gRPC itself says, with the code INTERNAL, of a write to a stream whose connection has broken."""
_INPUT_ERRORS = {
    grpc.StatusCode.INVALID_ARGUMENT.value[0]: InputError,
    grpc.StatusCode.NOT_FOUND.value[0]: NotFoundError,
    grpc.StatusCode.FAILED_PRECONDITION.value[0]: PreconditionError,
}
_DENIED = (grpc.StatusCode.UNAUTHENTICATED.value[0], grpc.StatusCode.PERMISSION_DENIED.value[0])
_ACCESS_ERRORS = {error.reason: error for error in (TokenMissingError, TokenUnknownError, RoleMissingError)}

Detail = TypeVar("Detail", bound=Message)


def error_of(status: status_pb2.Status) -> DeepLogError:
    """The exception that stands for a status other than OK.

    Examples
    --------
    >>> error_of(status_pb2.Status(code=3, message="entries: must not be empty"))
    InputError('entries: must not be empty')
    """
    if status.code in _INPUT_ERRORS:
        violations = _detail(status, error_details_pb2.BadRequest()).field_violations
        field = violations[0].field if violations else ""
        return _INPUT_ERRORS[status.code](status.message.removeprefix(f"{field}: "), field=field)
    if status.code in _DENIED:
        return _denied(status)
    info = _detail(status, error_details_pb2.RetryInfo())
    return RefusedError(status.message, retry_after_s=info.retry_delay.ToNanoseconds() / 1e9 or 1.0)


def _denied(status: status_pb2.Status) -> DeepLogError:
    """Why who calls may not do it."""
    violations = _detail(status, error_details_pb2.BadRequest()).field_violations
    if violations:
        field = violations[0].field
        return ApplicationForbiddenError(status.message.removeprefix(f"{field}: "), field=field)
    reason = _detail(status, error_details_pb2.ErrorInfo()).reason
    return _ACCESS_ERRORS.get(reason, AccessError)(status.message)


def is_broken_write(error: Any) -> bool:
    """Whether a failed call tells only that the other side had ended it before all was written, and not why."""
    return bool(error.details() == _BROKEN_WRITE)


def error_of_call(error: Any) -> DeepLogError:
    """The exception that stands for a failed call (``grpc.RpcError``)."""
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY:
            return error_of(status_pb2.Status.FromString(value))
    # Without details it is not our server that speaks, but gRPC or a proxy.
    if error.code() is grpc.StatusCode.UNAVAILABLE or is_broken_write(error):
        cause = (error.details() or "").rpartition("last error: ")[2]
        return RefusedError(f"cannot reach the server, is it running? {cause}")
    if error.code().value[0] in _DENIED:
        return AccessError(f"{error.code().name}: {error.details()}")
    return DeepLogError(f"{error.code().name}: {error.details()}")


def _detail(status: status_pb2.Status, detail: Detail) -> Detail:
    """The detail of this type, left empty if the status has none."""
    for packed in status.details:
        if packed.Unpack(detail):
            break
    return detail
