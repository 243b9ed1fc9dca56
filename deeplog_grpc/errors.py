"""Every error that deeplog-grpc raises on purpose.

The tree::

    DeepLogError
      InputError            the caller's input is wrong: say it again, corrected   (INVALID_ARGUMENT, exit 2)
        ConfigError         a key of the configuration is wrong
        BundleError         a model bundle is damaged, or of a format not known here
        CheckpointError     a checkpoint of a training is damaged, or of another training
        StateError          a database of the server is damaged, not known here, or no longer has what is asked for
        NotFoundError       what is named is not there                            (NOT_FOUND)
        PreconditionError   the input is fine, but what it needs is missing here  (FAILED_PRECONDITION)
          DrawingError      a picture cannot be drawn here
        ApplicationForbiddenError  the caller's token is not for this application  (PERMISSION_DENIED)
      RefusedError          the input is fine, the moment is not: try again        (UNAVAILABLE + RetryInfo)
        QueueFullError      the bounded queue has no room
        PeerLimitError      one sender has more of the server than its share
        MemoryPressureError the server is near its limit of memory
        StreamAgeError      the stream has been open for as long as one may be
        SpoolFullError      the bounded queue on disk has no room
        DrainingError       the server is about to stop
        ExpiredError        the call waited until its deadline                    (DEADLINE_EXCEEDED)
      AccessError           who calls may not do this: come with another token
        TokenMissingError   there is no token                                     (UNAUTHENTICATED)
        TokenUnknownError   the token is not one of the server's                  (UNAUTHENTICATED)
        RoleMissingError    the token is not for this method                      (PERMISSION_DENIED)

Each class carries its ``reason`` (upper snake case, never changes its meaning) and whether a retry of the same
call can succeed. ``serving/status.py`` is the only place that turns them into a gRPC status; the CLI prints the
message in one line and exits with 2.
"""

from typing import ClassVar


class DeepLogError(Exception):
    """Base of all errors raised on purpose; catch this one to catch them all."""

    reason: ClassVar[str] = "INTERNAL"
    retryable: ClassVar[bool] = False


class InputError(DeepLogError):
    """The input is wrong.

    Parameters
    ----------
    message : str
        What is wrong, with the value, and the remedy.
    field : str
        The path of the field or option, for example ``entries[3].body``; empty when there is none.

    Examples
    --------
    >>> str(InputError("must not be empty: give the text of the log entry", field="entries[3].body"))
    'entries[3].body: must not be empty: give the text of the log entry'
    """

    reason: ClassVar[str] = "INVALID_INPUT"

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.message = message
        self.field = field


class ConfigError(InputError):
    """A key of the configuration is wrong; ``field`` is its path, for example ``key_model.history``."""

    reason: ClassVar[str] = "INVALID_CONFIGURATION"


class BundleError(InputError):
    """A model bundle is damaged, incomplete, or of a format that this version does not read."""

    reason: ClassVar[str] = "INVALID_BUNDLE"


class CheckpointError(InputError):
    """A checkpoint is damaged, of a format that this version does not read, or of a training with other arguments."""

    reason: ClassVar[str] = "INVALID_CHECKPOINT"


class StateError(InputError):
    """A database of the server is damaged, of a format that this version does not read, or has let go what is meant."""

    reason: ClassVar[str] = "INVALID_STATE"


class NotFoundError(InputError):
    """What is named is not there; ``field`` is what names it, for example ``verdict_id``."""

    reason: ClassVar[str] = "NOT_FOUND"


class PreconditionError(InputError):
    """The input is fine, but something that it needs is missing here; the message says how to come by it."""

    reason: ClassVar[str] = "PRECONDITION"


class DrawingError(PreconditionError):
    """A picture cannot be drawn: Graphviz is missing, fails, or takes too long."""

    reason: ClassVar[str] = "NO_PICTURE"


class ApplicationForbiddenError(InputError):
    """The caller's token is not for the application; ``field`` is what names it."""

    reason: ClassVar[str] = "APPLICATION_FORBIDDEN"


class RefusedError(DeepLogError):
    """The server cannot take the call now; nothing of it was applied.

    Parameters
    ----------
    message : str
        Why.
    retry_after_s : float
        Seconds after which a retry makes sense, > 0.
    """

    reason: ClassVar[str] = "REFUSED"
    retryable: ClassVar[bool] = True

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class QueueFullError(RefusedError):
    """The bounded queue in front of the scoring worker has no room."""

    reason: ClassVar[str] = "QUEUE_FULL"


class PeerLimitError(RefusedError):
    """A peer has as many calls or streams, or sends as many entries, or has as much of the queue, as one may."""

    reason: ClassVar[str] = "PEER_LIMIT"


class MemoryPressureError(RefusedError):
    """The server is near its limit of memory and takes nothing new until it holds less."""

    reason: ClassVar[str] = "MEMORY"


class StreamAgeError(RefusedError):
    """A stream has been open for as long as one may be: what came on it is answered, and it can be opened again."""

    reason: ClassVar[str] = "STREAM_AGE"


class SpoolFullError(RefusedError):
    """A bounded queue on disk has no room, or the disk has none."""

    reason: ClassVar[str] = "SPOOL_FULL"


class DrainingError(RefusedError):
    """The server has been told to stop: it finishes what it accepted and takes nothing new."""

    reason: ClassVar[str] = "DRAINING"


class ExpiredError(RefusedError):
    """The call waited in the queue until its deadline."""

    reason: ClassVar[str] = "EXPIRED"


class AccessError(DeepLogError):
    """Who calls may not do this. The message never holds anything of a token."""

    reason: ClassVar[str] = "ACCESS_DENIED"


class TokenMissingError(AccessError):
    """The call has no token, or not in the form that is read."""

    reason: ClassVar[str] = "TOKEN_MISSING"


class TokenUnknownError(AccessError):
    """The token is not one of the server's, or no longer."""

    reason: ClassVar[str] = "TOKEN_UNKNOWN"


class RoleMissingError(AccessError):
    """The token does not have the role that the method needs."""

    reason: ClassVar[str] = "ROLE_MISSING"
