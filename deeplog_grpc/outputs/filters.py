"""Which anomalies and records an output wants."""

from fnmatch import fnmatchcase

from deeplog_grpc.outputs.config import Output, kind_name

_MAX_KNOWN = 10_000
"""Applications whose answer is remembered: the question is asked of every record."""


class Filter:
    """The filter of an output.

    Parameters
    ----------
    config : Output

    Examples
    --------
    >>> from deeplog_grpc.outputs.config import FileOutput
    >>> wanted = Filter(FileOutput(type="file", path="-", applications=("shop-*",), kinds=("unseen_key",)))
    >>> wanted.has_anomaly("shop-eu", kind=2, score=1.0), wanted.has_anomaly("shop-eu", kind=3, score=1.0)
    (True, False)
    """

    def __init__(self, config: Output) -> None:
        self._applications = config.applications
        self._kinds = frozenset(config.kinds)
        self._min_score = config.min_score
        self._known: dict[str, bool] = {}

    def has_application(self, application: str) -> bool:
        """Whether an application is wanted."""
        wanted = self._known.get(application)
        if wanted is None:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            wanted = any(fnmatchcase(application, pattern) for pattern in self._applications)
            self._known[application] = wanted
        return wanted

    def has_anomaly(self, application: str, *, kind: int, score: float) -> bool:
        """Whether an anomaly is wanted. ``kind`` as ``deeplog_grpc.v1.Kind``."""
        return (
            score >= self._min_score
            and (not self._kinds or kind_name(kind) in self._kinds)
            and self.has_application(application)
        )
