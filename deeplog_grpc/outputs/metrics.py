"""What the outputs of a server say of themselves to Prometheus."""

from collections.abc import Iterable, Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from deeplog_grpc.outputs.service import Outputs
from deeplog_grpc.serving.collectors import counter, gauge

_LABELS = ("output",)


class OutputsCollector(Collector):
    """Asks the outputs at the moment when somebody reads the metrics.

    Parameters
    ----------
    outputs : Outputs
    """

    def __init__(self, outputs: Outputs) -> None:
        self._outputs = outputs

    def describe(self) -> Iterable[Metric]:
        """Nothing: the registry need not ask for the metrics to know that they are there."""
        return []

    def collect(self) -> Iterator[Metric]:
        """See :class:`prometheus_client.registry.Collector`."""
        found = {status.name: status for status in self._outputs.status()}
        sent = {name: one.sent for name, one in found.items()}
        retries = {name: one.retries for name, one in found.items()}
        refused = {name: one.refused for name, one in found.items()}
        missed = {name: one.missed for name, one in found.items()}
        waiting = {name: one.waiting for name, one in found.items()}
        failing = {name: float(one.is_failing) for name, one in found.items()}
        yield counter("deeplog_output_sent_items", "Items that the other side took.", _LABELS, sent)
        yield counter("deeplog_output_retries", "Tries that failed and were made again.", _LABELS, retries)
        yield counter("deeplog_output_dead_letters", "Items refused for good.", _LABELS, refused)
        yield counter("deeplog_output_missed_items", "Items gone before they were sent.", _LABELS, missed)
        yield gauge("deeplog_output_waiting_items", "Items that wait.", _LABELS, waiting)
        yield gauge("deeplog_output_failing", "Whether the last try failed.", _LABELS, failing)
