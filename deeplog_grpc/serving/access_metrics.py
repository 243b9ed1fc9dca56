"""What certificates and tokens tell of themselves."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from deeplog_grpc.access.certificates import Certificates
from deeplog_grpc.access.gate import Gate

REASONS = ("TOKEN_MISSING", "TOKEN_UNKNOWN", "ROLE_MISSING")
"""Of refusals. Applications out of scope are not among them: most of these are entries, and counted as such."""


class AccessMetrics(Collector):
    """Counts kept by others, as metrics.

    Parameters
    ----------
    certificates : Certificates, optional
    gate : Gate, optional
    """

    def __init__(self, certificates: Certificates | None, gate: Gate | None) -> None:
        self._certificates = certificates
        self._gate = gate

    def collect(self) -> Iterator[CounterMetricFamily]:
        """The metrics of now; all of them whatever is configured."""
        refused = CounterMetricFamily("deeplog_access_refusals", "Calls refused for their token.", labels=["reason"])
        for reason in REASONS:
            refused.add_metric([reason], 0 if self._gate is None else self._gate.refusals[reason])
        yield refused
        failed = CounterMetricFamily(
            "deeplog_access_reload_failures",
            "Changes of certificates or tokens that could not be used.",
            labels=["file"],
        )
        for name, source in (("certificate", self._certificates), ("tokens", self._gate)):
            failed.add_metric([name], 0 if source is None else source.failed_reloads)
        yield failed
