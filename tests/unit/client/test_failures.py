import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError, Metadata

from deeplog_grpc.client.failures import error_of_call
from deeplog_grpc.errors import RefusedError


@pytest.mark.parametrize(
    ("code", "details", "is_retryable"),
    [
        (StatusCode.UNAVAILABLE, "Connection reset by peer", True),
        (StatusCode.INTERNAL, "Internal error from Core", True),
        (StatusCode.INTERNAL, "too many things at once", False),
        (StatusCode.UNIMPLEMENTED, "Method not found!", False),
    ],
)
def test_a_broken_connection_can_be_tried_again_whichever_side_of_grpc_sees_it(
    code: StatusCode, details: str, is_retryable: bool
) -> None:
    error = error_of_call(AioRpcError(code, Metadata(), Metadata(), details))
    assert isinstance(error, RefusedError) == error.retryable == is_retryable
    assert details in str(error)
