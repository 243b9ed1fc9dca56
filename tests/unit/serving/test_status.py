"""What of the status table does not need a socket; the rows themselves are tested over one in tests/integration."""

import errno
import os

import pytest
from google.rpc import code_pb2
from structlog.testing import capture_logs

from deeplog_grpc.client import error_of
from deeplog_grpc.errors import (
    DrainingError,
    DrawingError,
    ExpiredError,
    InputError,
    NotFoundError,
    PreconditionError,
    QueueFullError,
    RefusedError,
)
from deeplog_grpc.ingest import EntryFault
from deeplog_grpc.serving.status import EntriesRejectedError, log_unexpected, status_of


def test_the_client_makes_of_a_status_the_error_that_it_was() -> None:
    wrong = error_of(status_of(InputError("must not be empty", field="entries[3].body")))
    assert isinstance(wrong, InputError)
    assert (wrong.field, wrong.message) == ("entries[3].body", "must not be empty")
    for refusal in (QueueFullError("full", retry_after_s=2.5), DrainingError("stopping", retry_after_s=2.5)):
        again = error_of(status_of(refusal))
        assert isinstance(again, RefusedError)
        assert (str(again), again.retry_after_s) == (str(refusal), 2.5)
    assert isinstance(error_of(status_of(ExpiredError("too late"))), RefusedError)


@pytest.mark.parametrize(
    ("error", "code", "kind"),
    [
        (NotFoundError("there is no task 7", field="task"), code_pb2.NOT_FOUND, NotFoundError),
        (PreconditionError("the model has none", field="f"), code_pb2.FAILED_PRECONDITION, PreconditionError),
        (DrawingError("no Graphviz", field="format"), code_pb2.FAILED_PRECONDITION, PreconditionError),
    ],
)
def test_what_is_missing_has_codes_of_its_own(error: InputError, code: int, kind: type[InputError]) -> None:
    status = status_of(error)
    assert status.code == code
    told = error_of(status)
    assert type(told) is kind
    assert (str(told), str(status.message)) == (str(error), str(error))


def test_a_status_stays_far_below_what_a_trailer_may_have() -> None:
    faults = tuple(
        EntryFault(index=i, entry_id="x" * 64, field=f"entries[{i}].application", reason="R", message="é" * 9000)
        for i in range(10_000)
    )
    assert len(status_of(EntriesRejectedError(faults)).SerializeToString()) < 8192
    assert len(status_of(InputError("x" * 100_000, field="f")).SerializeToString()) < 4096


@pytest.mark.parametrize("error", [RuntimeError("secret"), ValueError("secret"), TimeoutError("secret")])
def test_an_unforeseen_error_is_logged_where_it_arose_without_its_text(error: Exception) -> None:
    with capture_logs() as logs:
        try:
            raise error
        except Exception as raised:
            status = status_of(raised)
    assert "secret" not in str(status) + str(logs)
    assert logs[0]["error_type"] == type(error).__name__
    assert "test_status.py" in logs[0]["where"][-1]


def test_what_the_system_says_of_a_full_disk_is_logged() -> None:
    with capture_logs() as logs:
        log_unexpected(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "name-of-a-file"))
    assert logs[0]["error"] == "No space left on device"
    assert "name-of-a-file" not in str(logs)
