"""Verdicts -> response messages.

Each verdict that is sent costs a microsecond or less here, and one that is not sent costs nothing: only the rows that
the options select are looked at.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from deeplog_grpc.detection.verdicts import EndReason, Kind, Verdict
from deeplog_grpc.ingest import EntryFault, Part
from deeplog_grpc.parsing import Parameter, ValueKind
from deeplog_grpc.serving.detectors import ParsedBodies, ScoredBatch, Scorer
from deeplog_grpc.serving.recorder import LAST_ROW, Noted
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from deeplog_grpc.v1 import parameter_pb2, verdict_pb2
from deeplog_grpc.workflow import Deviation, Diagnosis
from deeplog_grpc.workflow.deviations import NO_STATE, NOWHERE

VALUE_KINDS = {kind: f"VALUE_KIND_{kind.name}" for kind in ValueKind}
END_REASONS = {
    EndReason.MARKER: verdict_pb2.SESSION_END_REASON_MARKER,
    EndReason.TIMEOUT: verdict_pb2.SESSION_END_REASON_TIMEOUT,
    EndReason.FLUSH: verdict_pb2.SESSION_END_REASON_FLUSH,
}
DEVIATIONS = {deviation: getattr(verdict_pb2, f"DEVIATION_{deviation.name}") for deviation in Deviation}


MAX_ENDS = 20_000
"""Ends of sessions in one answer at most; with half a kilobyte of evidence each it stays far below 64 MiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerOptions:
    """What a client wants to see."""

    anomalies_only: bool
    full: bool
    """Whether normal entries get full verdicts too; anomalies always do."""


class ScoreAnswer:
    """The response to one request, filled as its parts are scored.

    Parameters
    ----------
    options : AnswerOptions
        What to put in.
    faults : sequence of EntryFault
        The entries that were not scored.
    """

    def __init__(self, options: AnswerOptions, faults: Sequence[EntryFault]) -> None:
        self._options = options
        self._parts = 0
        self._noted: list[Noted] = []
        self._response = pb.ScoreResponse()
        add_faults(self._response, faults)

    def add_part(self, scorer: Scorer, part: Part, scored: ScoredBatch, start: int) -> None:
        """Add the verdicts on a part, whose entries are the rows from ``start`` of what was scored."""
        stop = start + len(part.batch)
        anomalies = np.flatnonzero(scored.kinds[start:stop] != Kind.NORMAL)
        self._parts += 1
        self._response.entry_count += len(part.batch)
        self._response.anomaly_count += len(anomalies)
        rows = anomalies if self._options.anomalies_only else np.arange(len(part.batch))
        self._add_rows(scorer, part, scored, start, rows)

    def add_end(self, scorer: Scorer, end: Verdict, part: Part, row: int) -> None:
        """Add the end of a session that was seen at a row of a part."""
        if message := _add_end(self._response, scorer.application, end, self._options):
            message.index = part.positions[row]
            message.entry_id = part.entry_ids[row]
            message.time_unix_nano = int(part.batch.times_ns[row])
            if end.is_anomaly:
                self._noted.append(Noted(message=message, row=end.index))

    def add_flushed(self, scorer: Scorer, ends: Iterable[Verdict], entry_count: int) -> None:
        """Add the ends that a flush after ``entry_count`` entries brought about."""
        for end in ends:
            if message := _add_end(self._response, scorer.application, end, self._options):
                message.index = entry_count
                if end.is_anomaly:
                    self._noted.append(Noted(message=message, row=LAST_ROW))

    def add_fault(self, fault: EntryFault) -> None:
        """Add an entry that turned out to be one that cannot be scored."""
        add_faults(self._response, [fault])
        self._response.errors.sort(key=lambda error: error.index)

    def take_noted(self) -> list[Noted]:
        """The abnormal verdicts that were added since it was asked last."""
        noted, self._noted = self._noted, []
        return noted

    def finish(self) -> pb.ScoreResponse:
        """The response, in the order of the request."""
        # All of them are counted, and the abnormal ones stored by now; the answer has to fit a message.
        del self._response.session_ends[MAX_ENDS:]
        if self._parts > 1:
            self._response.verdicts.sort(key=lambda verdict: verdict.index)
            self._response.session_ends.sort(key=lambda verdict: verdict.index)
        return self._response

    def _add_rows(self, scorer: Scorer, part: Part, scored: ScoredBatch, start: int, rows: np.ndarray) -> None:
        add, full, normal = self._response.verdicts.add, self._options.full, int(Kind.NORMAL)
        application, model_version = scorer.application, scorer.model_version
        positions, entry_ids, sessions = part.positions, part.entry_ids, scored.sessions
        columns = (scored.kinds, scored.keys, scored.ranks, scored.probabilities, scored.scores)
        stands_for = scored.stands_for
        at = rows + start
        for row, time_ns, kind, key, rank, probability, score in zip(
            rows.tolist(), part.batch.times_ns[rows].tolist(), *(column[at].tolist() for column in columns), strict=True
        ):
            # Field by field: half the time of passing them all to add().
            message = add()
            message.index = positions[row]
            message.kind = kind
            message.key = key
            message.rank = rank
            message.probability = probability
            message.score = score
            message.session = sessions[start + row]
            message.model_version = model_version
            message.application = application
            message.time_unix_nano = time_ns
            if entry_id := entry_ids[row]:
                message.entry_id = entry_id
            if stands_for and (known := stands_for.get(start + row)) is not None:
                message.stands_for = known
            if full or kind != normal:
                _add_evidence(message, scored.verdict(start + row))
            if kind != normal:
                self._noted.append(Noted(message=message, row=start + row))


def add_late(response: pb.ScoreResponse, application: str, ends: Iterable[Verdict], options: AnswerOptions) -> None:
    """Put ends that came with the clock before the ends that a response has."""
    asked = list(response.session_ends)
    del response.session_ends[response.late_end_count :]
    for end in ends:
        if message := _add_end(response, application, end, options):
            message.time_unix_nano = end.ended_ns
            message.verdict_id = end.verdict_id
    late = len(response.session_ends)
    response.session_ends.extend(asked[response.late_end_count :])
    response.late_end_count = late


def late_end(application: str, end: Verdict) -> verdict_pb2.Verdict:
    """The message of an end that came with the clock, with all its evidence."""
    message = _add_end(pb.ScoreResponse(), application, end, AnswerOptions(anomalies_only=False, full=True))
    if message is None:
        raise AssertionError("with these options every end has a message")
    message.time_unix_nano = end.ended_ns
    return message


def add_faults(response: pb.ScoreResponse, faults: Sequence[EntryFault]) -> None:
    """List entries that were not scored."""
    for fault in faults:
        response.errors.add(
            index=fault.index,
            entry_id=fault.entry_id,
            field=fault.field,
            reason=fault.reason,
            message=fault.message,
        )


def parse_response(scorer: Scorer, parsed: ParsedBodies) -> pb.ParseResponse:
    """The answer to a ``Parse`` call."""
    response = pb.ParseResponse()
    columns = (parsed.keys.tolist(), parsed.is_new.tolist(), parsed.is_changed.tolist())
    for row, (key, is_new, is_changed) in enumerate(zip(*columns, strict=True)):
        body = response.bodies.add(key=key, template=scorer.template(key), is_new=is_new, is_changed=is_changed)
        for parameter in parsed.typed_parameters(row):
            body.parameters.append(parameter.text)
            body.typed_parameters.append(_parameter(parameter))
    return response


def _add_end(
    response: pb.ScoreResponse, application: str, end: Verdict, options: AnswerOptions
) -> verdict_pb2.Verdict | None:
    """Add what does not depend on the place in a request; None if the end is not wanted."""
    response.session_end_count += 1
    if options.anomalies_only and not end.is_anomaly:
        return None
    message = response.session_ends.add(
        kind=verdict_pb2.Kind.ValueType(end.kind),
        key=end.key,
        rank=end.rank,
        probability=end.probability,
        score=end.score,
        session=end.session,
        session_end=END_REASONS[end.session_end] if end.session_end else None,
        model_version=end.model_version,
        application=application,
    )
    if options.full or end.is_anomaly:
        _add_evidence(message, end)
    return message


def _add_evidence(message: verdict_pb2.Verdict, verdict: Verdict) -> None:
    message.template = verdict.template
    message.parameters.extend(verdict.parameters)
    message.typed_parameters.extend(map(_parameter, verdict.typed_parameters))
    message.window.extend(verdict.window)
    message.reason = verdict.reason
    if (value := verdict.abnormal_value) is not None:
        message.abnormal_value.slot = value.slot
        message.abnormal_value.unit = value.unit
        message.abnormal_value.observed = value.observed
        message.abnormal_value.predicted = value.predicted
        message.abnormal_value.low = value.low
        message.abnormal_value.high = value.high
        message.abnormal_value.after.extend(value.after)
        message.abnormal_value.text = value.text
        message.abnormal_value.known.extend(value.known)
        message.abnormal_value.known_count = value.known_count
        message.abnormal_value.trained_slot = value.trained_slot
    if (vector := verdict.vector) is not None:
        message.vector.key = verdict.key
        message.vector.previous.extend(vector.previous)
        for slot, unit, number in vector.numbers:
            message.vector.numbers.add(slot=slot, unit=unit, number=number)
    message.session_counts.update(verdict.counts)
    for candidate in verdict.candidates:
        added = message.candidates.add()
        added.key = candidate.key
        added.template = candidate.template
        added.probability = candidate.probability
    if verdict.diagnosis is not None:
        _add_diagnosis(message.diagnosis, verdict.diagnosis)


def _add_diagnosis(message: verdict_pb2.Diagnosis, diagnosis: Diagnosis) -> None:
    message.deviation = DEVIATIONS[diagnosis.deviation]
    message.text = diagnosis.text
    if diagnosis.task != NO_STATE:
        message.task = diagnosis.task
    if diagnosis.state != NO_STATE:
        message.state = diagnosis.state
    message.key = diagnosis.key
    message.template = diagnosis.template
    for expected in diagnosis.expected:
        step = message.expected.add()
        step.state = expected.state
        step.key = expected.key
        step.template = expected.template
        step.probability = expected.probability
        step.p50_s = expected.p50_s
        step.p99_s = expected.p99_s
    message.known_states.extend(diagnosis.known_states)
    message.skipped.extend(diagnosis.skipped)
    if diagnosis.first_divergence != NOWHERE:
        message.first_divergence = diagnosis.first_divergence
    message.has_returned = diagnosis.has_returned
    for slow in diagnosis.slow_steps:
        message.slow_steps.add(
            state=slow.state,
            key=slow.key,
            template=slow.template,
            elapsed_s=slow.elapsed_s,
            p50_s=slow.p50_s,
            p99_s=slow.p99_s,
        )
    message.path.extend(diagnosis.path)


def _parameter(parameter: Parameter) -> parameter_pb2.Parameter:
    return parameter_pb2.Parameter(
        text=parameter.text,
        kind=VALUE_KINDS[parameter.kind],
        start=parameter.start,
        end=parameter.end,
        number=parameter.number,
        unit=parameter.unit,
    )
