"""What is done with answers before the spool lets go of what was answered."""

from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from deeplog_grpc.shipping.annotated import AnnotatedFile, annotated_lines
from deeplog_grpc.shipping.answers import Answer, answered_entries
from deeplog_grpc.shipping.counts import Counts
from deeplog_grpc.shipping.dead_letters import DeadLetters
from deeplog_grpc.storage import Spool

_log: Any = structlog.get_logger()


class Settler:
    """Writes annotated entries and dead letters, and then acknowledges; in one thread.

    Parameters
    ----------
    spool : Spool
    counts : Counts
    dead_letters : DeadLetters
    annotated : AnnotatedFile, optional
        None = entries are not written onward.
    anomalies_only : bool
        Whether only anomalies are.
    """

    def __init__(
        self,
        spool: Spool,
        counts: Counts,
        dead_letters: DeadLetters,
        annotated: AnnotatedFile | None,
        *,
        anomalies_only: bool,
    ) -> None:
        self._spool = spool
        self._counts = counts
        self._dead_letters = dead_letters
        self._annotated = annotated
        self._anomalies_only = anomalies_only

    def settle(self, answers: Sequence[Answer]) -> None:
        """Settle answers in their order.

        Raises
        ------
        OSError
            If something cannot be written; nothing of this is acknowledged then.
        """
        letters: list[dict[str, Any]] = []
        annotated: list[bytes] = []
        # One after the other: the entries of an answer take ten times the bytes of their lines.
        for answer in filter(self._is_needed, answers):
            entries = list(answered_entries(answer))
            letters += [{**entry.fields, **entry.verdict} for entry in entries if entry.is_refused]
            if self._annotated is not None:
                annotated.append(annotated_lines(entries, anomalies_only=self._anomalies_only))
        self._dead_letters.write(letters)
        last = max(answer.sequence for answer in answers)
        if self._annotated is not None:
            positions = self._annotated.write(annotated)
            self._spool.acknowledge(last, positions)
            self._annotated.commit()
        else:
            self._spool.acknowledge(last)
        self._count(answers, letters)

    def _is_needed(self, answer: Answer) -> bool:
        """Whether the entries of an answer have to be looked at."""
        return bool(self._annotated is not None or answer.result.status.code or answer.result.response.errors)

    def _count(self, answers: Sequence[Answer], letters: Sequence[Mapping[str, Any]]) -> None:
        for answer in answers:
            response = answer.result.response
            self._counts.entries_acknowledged += response.entry_count
            self._counts.entries_repeated += response.entry_count if response.is_repeat else 0
            self._counts.anomalies += response.anomaly_count
        if letters:
            self._counts.entries_acknowledged += len(letters)
            self._counts.dead_lettered += len(letters)
            reasons = sorted({str(letter["error"]) for letter in letters})
            _log.error("entries refused", entries=len(letters), reasons=reasons, kept_in=str(self._dead_letters.path))
