"""How sending fails. Texts name neither URLs nor what was sent: a URL may be a secret."""

from typing import ClassVar

from deeplog_grpc.errors import DeepLogError


class TryAgainError(DeepLogError):
    """The other side is away or busy; the same may be sent again.

    Parameters
    ----------
    message : str
    retry_after_s : float
        Seconds that the other side asked for; 0 = it did not.
    answer : str
        What the other side said; never for the log: it may repeat what was sent.
    """

    reason: ClassVar[str] = "OUTPUT_AWAY"
    retryable: ClassVar[bool] = True

    def __init__(self, message: str, *, retry_after_s: float = 0.0, answer: str = "") -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.answer = answer


class NotTakenError(DeepLogError):
    """The other side refused what was sent, and would refuse it again.

    Parameters
    ----------
    message : str
    answer : str
        What the other side said; for the dead letter, and never for the log: it may repeat what was sent.
    """

    reason: ClassVar[str] = "OUTPUT_REFUSED"

    def __init__(self, message: str, *, answer: str = "") -> None:
        super().__init__(message)
        self.answer = answer
