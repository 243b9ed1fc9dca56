"""Anomalies as rows: the same whether a server or this process judged."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.padding import Padding
from rich.text import Text

from deeplog_grpc.cli.console import OUTPUT
from deeplog_grpc.detection import Kind, Verdict
from deeplog_grpc.detection.verdicts import AbnormalValue
from deeplog_grpc.v1 import verdict_pb2
from deeplog_grpc.workflow import Deviation

KIND_STYLE: dict[int, str] = {
    Kind.UNSEEN_KEY: "red",
    Kind.EXECUTION_PATH: "magenta",
    Kind.INCOMPLETE_SESSION: "yellow",
    Kind.SESSION_COUNTS: "yellow",
    Kind.SESSION_LENGTH: "yellow",
    Kind.UNSEEN_TRANSITION: "magenta",
    Kind.PARAMETER_VALUE: "blue",
    Kind.ELAPSED_TIME: "blue",
    Kind.NEW_VALUE: "blue",
}
_INDENT = (0, 0, 0, 11)
_KIND_CHARS = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where the entries of a batch stand in their file."""

    path: str
    lines: Sequence[int]
    """1-based line number of each entry."""
    times_ns: NDArray[np.int64]

    def last(self) -> "Places":
        """The last place alone: where sessions are flushed."""
        return Places(path=self.path, lines=self.lines[-1:], times_ns=self.times_ns[-1:])


@dataclass(frozen=True, slots=True, kw_only=True)
class AnomalyRow:
    """One anomaly."""

    file: str
    line: int
    """1-based. Of an end of a session: the line at which it was seen."""
    time: str
    """ISO 8601, UTC; empty when not known."""
    application: str
    session: str
    kind: str
    key: int
    template: str
    score: float
    reason: str
    abnormal_value: dict[str, Any] | None
    """What is abnormal, where a value is: the fields of :class:`~deeplog_grpc.detection.verdicts.AbnormalValue`."""
    verdict_id: str
    """Of the stored anomaly, for feedback; empty where nothing is stored."""
    deviation: str = ""
    """What is wrong, seen from the workflow; empty where there is none."""
    diagnosis: str = ""
    """One sentence: where the session left its workflow."""

    def show(self) -> None:
        """Print it: where and what on a line of a table, the template and the reason below."""
        kind = Kind[self.kind.upper()]
        head = Text.assemble(
            (f"{self.line:>9}  ", "bold"),
            f"{self.time[:23]:<23}  ",
            (f"{self.kind:<{_KIND_CHARS}}  ", KIND_STYLE.get(kind, "")),
            f"{self.score:.2f}  ",
            (self.session, "cyan"),
            (f"  {self.verdict_id}" if self.verdict_id else "", "bold"),
        )
        OUTPUT.print(head, no_wrap=True, overflow="ellipsis")
        OUTPUT.print(Padding(Text(self.template), _INDENT))
        OUTPUT.print(Padding(Text(self.reason, style="dim"), _INDENT))
        if self.diagnosis:
            OUTPUT.print(Padding(Text(self.diagnosis, style="italic"), _INDENT))


def print_head() -> None:
    """Print the names of the columns of :meth:`AnomalyRow.show`."""
    head = f"{'line':>9}  {'time (UTC)':<23}  {'kind':<{_KIND_CHARS}}  score session"
    OUTPUT.print(Text(head, style="bold underline"), no_wrap=True)


def row_of(verdict: Verdict, application: str, places: Places) -> AnomalyRow:
    """A row of a verdict of this process."""
    value = verdict.abnormal_value
    return _row(verdict, Kind(verdict.kind), application, places, None if value is None else asdict(value))


def row_of_message(verdict: verdict_pb2.Verdict, places: Places) -> AnomalyRow:
    """A row of a verdict of a server."""
    value = None
    if verdict.HasField("abnormal_value"):
        names = [field.name for field in fields(AbnormalValue)]
        value = {name: _plain(getattr(verdict.abnormal_value, name)) for name in names}
    return _row(verdict, Kind(verdict.kind), verdict.application, places, value)


def _plain(value: Any) -> Any:
    """A repeated field as a tuple."""
    return value if isinstance(value, str | int | float) else tuple(value)


def _row(verdict: Any, kind: Kind, application: str, places: Places, value: dict[str, Any] | None) -> AnomalyRow:
    """Both shapes of a verdict have the same names of fields."""
    index = min(verdict.index, len(places.lines) - 1)
    diagnosis = verdict.diagnosis
    is_diagnosed = diagnosis is not None and diagnosis.deviation != 0
    return AnomalyRow(
        file=places.path,
        line=places.lines[index],
        time=iso_time(int(places.times_ns[index])),
        application=application,
        session=verdict.session,
        kind=kind.name.lower(),
        key=verdict.key,
        template=verdict.template,
        score=round(float(np.float32(verdict.score)), 4),  # a server sends it in single precision
        reason=verdict.reason,
        abnormal_value=value,
        verdict_id=verdict.verdict_id,
        deviation=Deviation(diagnosis.deviation).name.lower() if is_diagnosed else "",
        diagnosis=diagnosis.text if is_diagnosed else "",
    )


def iso_time(time_ns: int) -> str:
    """ISO 8601 in UTC with milliseconds; empty for 0 = not known."""
    if not time_ns:
        return ""
    return datetime.fromtimestamp(time_ns / 1e9, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
