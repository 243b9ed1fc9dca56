"""An operator who knows the truth, beside the scoring path of the server: worker, stored anomalies, updates.

In one process and without a network, so that feedback comes at once: before the next entry is scored.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self, cast

from deeplog_grpc.detection import ApplicationModel, DetectorConfig, EntryBatch
from deeplog_grpc.feedback import DriftConfig, FeedbackConfig
from deeplog_grpc.ingest import Part
from deeplog_grpc.serving.answers import AnswerOptions
from deeplog_grpc.serving.lineage import Meant
from deeplog_grpc.serving.scoring import AdoptJob, FlushOrder, ScoreJob, ScoringWorker
from deeplog_grpc.serving.state import ServerState
from deeplog_grpc.storage import AnomalyState, NewRecord, StateConfig, number_of
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from deeplog_grpc.v1 import feedback_pb2

_OPTIONS = AnswerOptions(anomalies_only=True, full=False)


@dataclass(slots=True)
class Clicks:
    """What the operator did."""

    labels: int = 0
    """Feedback given."""
    refused: list[str] = field(default_factory=list)
    """Why an update was refused."""
    explained: int = 0
    """Open alarms that were resolved by feedback on others."""
    update_s: list[float] = field(default_factory=list)
    """Time of each update, the disk included."""
    steps: list[int] = field(default_factory=list)
    """Gradient steps of each update."""


class Service:
    """One application, served in this process.

    Parameters
    ----------
    model : ApplicationModel
    folder : Path
        For its state; empty.
    """

    def __init__(self, model: ApplicationModel, folder: Path) -> None:
        self.state = ServerState(
            folder,
            {model.application: (model, "benchmark")},
            state=StateConfig(max_age_s=None),
            feedback=FeedbackConfig(),
            drift=DriftConfig(),
            detector=DetectorConfig(),
        )
        self._application = model.application
        self._worker = ScoringWorker(self.state.detectors, watch=self.state.watch)
        self._updater = self.state.updaters[self._application]
        self.clicks = Clicks()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.state.close()

    def score(self, batch: EntryBatch, *, end: str = "") -> pb.ScoreResponse:
        """Judge entries, and then the end of a session if one is named."""
        part = Part(
            application=self._application,
            positions=range(len(batch)),
            entry_ids=[""] * len(batch),
            batch=batch,
        )
        flush = FlushOrder(application=self._application, sessions=(end,)) if end else None
        job = ScoreJob(parts=(part,), faults=(), flush=flush, options=_OPTIONS, entry_count=len(batch))
        (reply,) = self._worker([job])
        if isinstance(reply, Exception):
            raise reply
        return cast(pb.ScoreResponse, reply)

    def false_positives(self, verdict_ids: Sequence[str]) -> None:
        """Click on alarms one after the other, but for those that an earlier click has explained."""
        for verdict_id in verdict_ids:
            stored = self.state.anomalies.get(number_of(verdict_id))
            if stored is not None and stored.state is AnomalyState.OPEN:
                self._give("false_positive", self._updater.lineage.meant([stored], anywhere=False))

    def confirm(self, verdict_id: str) -> None:
        """Confirm an anomaly."""
        stored = self.state.anomalies.get(number_of(verdict_id))
        if stored is not None:
            self._give("confirmed", self._updater.lineage.meant([stored], anywhere=False))

    def _give(self, label: str, meant: Meant) -> None:
        self.clicks.labels += 1
        name = f"click {self.clicks.labels}"
        started = time.perf_counter()
        record = self.state.journal.accept(
            NewRecord(
                application=self._application,
                feedback_id=name,
                kind="feedback",
                digest=name,
                content={"label": label, **meant.to_json()},
            )
        ).record
        applied = self._updater.apply(record)
        if applied.response.outcome == feedback_pb2.FEEDBACK_OUTCOME_REFUSED:
            self.clicks.refused.append(applied.response.message)
        if applied.judges is not None:
            self.clicks.update_s.append(time.perf_counter() - started)
            self.clicks.steps.append(applied.response.steps)
            self._worker([AdoptJob(application=self._application, judges=applied.judges, is_adapted=False)])
        self.clicks.explained += applied.response.explained
