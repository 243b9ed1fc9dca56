"""Reads the metrics of a server where they are counted anyway, at the moment when somebody asks.

Called on the event loop. What other threads write is read as a whole: a number, or a copy of a dictionary.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from deeplog_grpc import __version__
from deeplog_grpc.detection.verdicts import Kind
from deeplog_grpc.serving.logs import MESSAGES
from deeplog_grpc.serving.receiver_counts import ReceiverCounts
from deeplog_grpc.v1 import application_pb2, feedback_pb2

if TYPE_CHECKING:
    from deeplog_grpc.serving.server import Server

MAX_APPLICATIONS = 200
"""Values of the label ``application``: each costs some twenty series."""
OTHER = "other"
"""Stands for all applications past them."""
APPLICATION_STATES = ("LEARNING", "TRAINING", "DETECTING", "RETRAINING")
_STATE_PREFIX = "APPLICATION_STATE_"
_OUTCOME_PREFIX = "FEEDBACK_OUTCOME_"


def counter(name: str, about: str, labels: Iterable[str] = (), values: Mapping[Any, float] | float = 0) -> Metric:
    """A family of counters; ``name`` is without ``_total``, values are by the label or labels."""
    return _filled(CounterMetricFamily(name, about, labels=list(labels)), values)


def gauge(name: str, about: str, labels: Iterable[str] = (), values: Mapping[Any, float] | float = 0) -> Metric:
    """A family of gauges; values are by the label or labels."""
    return _filled(GaugeMetricFamily(name, about, labels=list(labels)), values)


def _filled(family: Any, values: Mapping[Any, float] | float) -> Metric:
    if isinstance(values, Mapping):
        for labels, value in values.items():
            family.add_metric([labels] if isinstance(labels, str) else list(labels), value)
    else:
        family.add_metric([], values)
    metric: Metric = family
    return metric


class ServerCollector(Collector):
    """The metrics of a server that are read when they are asked for.

    Parameters
    ----------
    server : Server
    """

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._labelled: dict[str, None] = {}

    def describe(self) -> Iterable[Metric]:
        """Nothing: else the registry would ask a server that is not made yet for its metrics."""
        return []

    def collect(self) -> Iterator[Metric]:
        """See :class:`prometheus_client.registry.Collector`."""
        yield from self._entries()
        yield from self._detection()
        yield from self._recovery()
        yield from self._memory()
        yield from self._calls()
        yield from self._learning()
        yield from self._health()

    def _entries(self) -> Iterator[Metric]:
        book, queue, config = self._server.metrics.entries, self._server.queue, self._server.config
        scored = self._by_application({(name,): count for name, count in book.scored.items()})
        yield counter("deeplog_received_entries", "Entries of deliveries that are no repetition.", (), book.received)
        yield counter("deeplog_scored_entries", "Entries judged or learned from.", ("application",), scored)
        yield counter("deeplog_rejected_entries", "Entries that never will be judged.", ("reason",), book.rejected)
        yield counter("deeplog_refused_entries", "Entries that are to be sent again.", ("reason",), book.refused)
        yield counter(
            "deeplog_refused_unread_deliveries", "Deliveries refused unread.", ("reason",), book.unread_deliveries
        )
        yield counter("deeplog_repeated_entries", "Entries of repeated deliveries.", (), book.repeated)
        yield gauge(
            "deeplog_queue_entries", "Entries that were accepted and are not answered.", (), queue.waiting_entries
        )
        yield gauge("deeplog_queue_bytes", "Bytes that were accepted and are not answered.", (), queue.waiting_bytes)
        yield gauge("deeplog_queue_limit_entries", "Entries that may wait.", (), config.max_queue_entries)
        yield gauge("deeplog_queue_limit_bytes", "Bytes that may wait.", (), config.max_queue_bytes)

    def _detection(self) -> Iterator[Metric]:
        state, detectors = self._server.state, self._server.worker.detectors
        anomalies: dict[tuple[str, ...], float] = {}
        ended: dict[tuple[str, ...], float] = {}
        if state is not None:
            anomalies = {(name, Kind(kind).name): n for (name, kind), n in state.watch.anomalies.copy().items()}
            ended = {(name, reason.name): n for (name, reason), n in state.watch.ended.copy().items()}
            stored = state.anomalies.totals()
            yield counter("deeplog_lost_anomalies", "Anomalies that could not be stored.", (), state.recorder.lost)
            yield gauge("deeplog_stored_anomalies", "Anomalies stored.", (), stored.anomalies)
            yield gauge("deeplog_stored_anomaly_groups", "Groups of anomalies stored.", (), stored.groups)
            yield gauge("deeplog_stored_evidence_bytes", "Bytes of evidence stored.", (), stored.evidence_bytes)
        opened = self._sessions(detectors, "open_sessions")
        evicted = self._sessions(detectors, "evicted_sessions")
        late, labels = self._server.late, ("application", "reason")
        yield counter(
            "deeplog_anomalies", "Abnormal verdicts.", ("application", "kind"), self._by_application(anomalies)
        )
        yield gauge("deeplog_open_sessions", "Sessions that have begun and not ended.", labels[:1], opened)
        yield counter(
            "deeplog_ended_sessions", "Sessions that ended and were judged.", labels, self._by_application(ended)
        )
        yield counter("deeplog_evicted_sessions", "Sessions dropped unjudged: too many.", labels[:1], evicted)
        yield gauge("deeplog_late_ends", "Ends of sessions that no client was told of yet.", (), len(late))
        yield counter("deeplog_dropped_late_ends", "Ends of sessions that no client will be told of.", (), late.dropped)

    def _recovery(self) -> Iterator[Metric]:
        state = self._server.state
        if state is None or state.recovery is None:
            return
        recovery = state.recovery
        yield counter("deeplog_recovery_written_bytes", "Written down of what was scored.", (), recovery.written_bytes)
        yield counter("deeplog_recovery_saves", "Times that open sessions were saved.", (), recovery.saves)
        yield counter("deeplog_recovery_failures", "Times that all saved was dropped.", (), recovery.failures)

    def _memory(self) -> Iterator[Metric]:
        memory = self._server.memory
        held, limit = (0, 0) if memory is None else (memory.held_bytes, memory.limit_bytes)
        yield gauge("deeplog_memory_held_bytes", "Memory held, as the guard counts it; 0 = no guard.", (), held)
        yield gauge("deeplog_memory_limit_bytes", "Memory that may be held; 0 = no guard.", (), limit)

    def _sessions(self, detectors: Mapping[str, Any], attribute: str) -> Mapping[Any, float]:
        """Of those that track sessions: one that still learns does not."""
        return self._by_application({(name,): getattr(one, attribute, 0) for name, one in detectors.items()})

    def _calls(self) -> Iterator[Metric]:
        server, calls, deliveries = self._server, self._server.metrics.calls, self._server.deliveries
        receivers = server.receiver_counts
        ended = {**calls.ended, **_of(receivers, "requests")}
        connections = {name: counts.connections for name, counts in receivers.items()}
        forgotten = {"age": deliveries.forgotten_by_age, "room": deliveries.forgotten_early}
        labels = ("receiver", "reason")
        yield counter("deeplog_requests", "Calls and requests that ended.", ("method", "code"), ended)
        yield gauge("deeplog_open_calls", "gRPC calls under way.", (), calls.open)
        yield gauge("deeplog_open_streams", "StreamScore calls under way.", (), server.open_streams)
        yield gauge("deeplog_receiver_connections", "Connections of a receiver.", labels[:1], connections)
        yield counter(
            "deeplog_receiver_closed_connections", "Connections closed by the server.", labels, _of(receivers, "closed")
        )
        yield gauge("deeplog_remembered_answers", "Answers remembered for repetitions.", (), len(deliveries))
        yield gauge("deeplog_remembered_answer_bytes", "What these answers take.", (), deliveries.size_bytes)
        yield counter("deeplog_forgotten_answers", "Answers no longer remembered.", ("cause",), forgotten)
        yield counter("deeplog_repeated_deliveries", "Deliveries that were not applied again.", (), deliveries.repeats)

    def _learning(self) -> Iterator[Metric]:
        server, state = self._server, self._server.state
        states = server.application_states()
        counts = dict.fromkeys(APPLICATION_STATES, 0) | Counter(states.values())
        infos = {(self._label(name), said): 1.0 for name, said in states.items()}
        versions = {self._label(name): float(one.model_version) for name, one in server.worker.detectors.items()}
        versions.pop(OTHER, None)
        yield gauge("deeplog_applications", "Applications.", ("state",), counts)
        yield gauge("deeplog_application_info", "State of an application.", ("application", "state"), infos)
        yield gauge("deeplog_model_version", "Version of the models in force; 0 = none.", ("application",), versions)
        refused = getattr(getattr(server.applications, "all", None), "refused", 0)
        yield counter("deeplog_refused_applications", "Times that an application was not admitted.", (), refused)
        if state is None or server.learning is None:
            return
        drifting = {self._label(name): float(drifts) for name, drifts in state.watch.drift.items()}
        drifting.pop(OTHER, None)
        trainings = {} if server.trainings is None else server.trainings.outcomes
        feedback = {
            (kind, feedback_pb2.FeedbackOutcome.Name(outcome).removeprefix(_OUTCOME_PREFIX)): times
            for (kind, outcome), times in server.learning.outcomes.items()
        }
        shards = state.shards
        yield gauge("deeplog_application_drifting", "Whether an application drifts.", ("application",), drifting)
        yield counter("deeplog_trainings", "Trainings that ended.", ("outcome",), trainings)
        yield counter(
            "deeplog_sample_write_failures", "Batches not kept for training.", (), state.watch.sample_failures
        )
        yield counter("deeplog_feedback", "Feedback that was worked on.", ("kind", "outcome"), feedback)
        yield gauge("deeplog_shard_processes", "Scoring processes.", (), 0 if shards is None else len(shards))
        yield counter(
            "deeplog_shard_restarts", "Scoring processes started anew.", (), 0 if shards is None else shards.restarts
        )

    def _health(self) -> Iterator[Metric]:
        health = self._server.health
        checks = {name: float(not problem) for name, problem in health.problems().items()}
        yield gauge("deeplog_ready", "Whether the server takes entries.", (), float(all(checks.values())))
        yield gauge("deeplog_check_passed", "Whether a check of readiness passes.", ("check",), checks)
        yield gauge("deeplog_scoring_stalled_seconds", "How long the run under way has lasted.", (), health.run_s())
        yield gauge("deeplog_build_info", "Version of the program.", ("version",), {__version__: 1})
        yield counter("deeplog_log_messages", "Warnings and errors logged.", ("level",), MESSAGES.copy())

    def _by_application(self, values: Mapping[tuple[str, ...], float]) -> Mapping[Any, float]:
        """The same with those past :data:`MAX_APPLICATIONS` added up; the application is the first label."""
        summed: Counter[tuple[str, ...]] = Counter()
        for (name, *labels), value in values.items():
            summed[self._label(name), *labels] += value  # type: ignore[assignment]  # counters are of int, by the stubs
        return summed

    def _label(self, name: str) -> str:
        if name not in self._labelled:
            if len(self._labelled) >= MAX_APPLICATIONS:
                return OTHER
            self._labelled[name] = None
        return name


def state_name(state: int) -> str:
    """Name of an ``ApplicationState`` as a label has it."""
    return application_pb2.ApplicationState.Name(state).removeprefix(_STATE_PREFIX)


def _of(receivers: Mapping[str, ReceiverCounts], attribute: str) -> dict[tuple[str, str], int]:
    return {
        (name, label): count
        for name, counts in receivers.items()
        for label, count in getattr(counts, attribute).items()
    }
