"""Stored anomalies and their groups as rows, and one anomaly with all its evidence."""

from collections.abc import Iterator

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from deeplog_grpc.cli.console import OUTPUT
from deeplog_grpc.cli.messages import name_of
from deeplog_grpc.cli.rows import KIND_STYLE, iso_time
from deeplog_grpc.cli.times import second
from deeplog_grpc.v1 import anomaly_pb2, verdict_pb2

_ID_CHARS = 10
_GROUP_CHARS = 14
_KIND_CHARS = 18
_INDENT = " " * (_ID_CHARS + 2)
_STATE_STYLE = {"open": "bold", "false positive": "green", "confirmed": "red", "explained": "dim"}
_KEYS = {-1: "(before the session began)", -2: "(not known)"}


def show_anomalies_head() -> None:
    """Print the names of the columns of :func:`show_anomaly`."""
    _head(f"{'verdict':<{_ID_CHARS}}  {'time (UTC)':<19}  {'kind':<{_KIND_CHARS}}  score  state")


def show_anomaly(anomaly: anomaly_pb2.Anomaly) -> None:
    """Print an anomaly: what it is on a line of a table, where, the template and the reason shortened below."""
    verdict = anomaly.verdict
    _row(
        Text(f"{verdict.verdict_id:<{_ID_CHARS}}", style="bold"),
        second(verdict.time_unix_nano).ljust(19),
        _kind(verdict),
        f"{verdict.score:>5.2f}",
        _state(anomaly, muted=anomaly.is_muted),
    )
    _line(Text.assemble((verdict.application, "dim"), " ", (verdict.session, "cyan")))
    _line(Text(verdict.template))
    _line(Text(verdict.reason, style="dim"))
    _line(Text(verdict.diagnosis.text, style="italic"))


def show_groups_head() -> None:
    """Print the names of the columns of :func:`show_group`."""
    _head(
        f"{'group':<{_GROUP_CHARS}}  {'last seen (UTC)':<19}  {'kind':<{_KIND_CHARS}}  {'open':>6}  {'all':>6}  state"
    )


def show_group(group: anomaly_pb2.AnomalyGroup) -> None:
    """Print a group in the same form."""
    _row(
        Text(f"{group.group_id:<{_GROUP_CHARS}}", style="bold"),
        second(group.last_seen_unix_nano).ljust(19),
        _kind(group),
        f"{group.open_count:>6,}",
        f"{group.count:>6,}",
        _state(group, muted=False),
    )
    muted = f"  muted until {second(group.muted_until_unix_nano)}" if group.muted_until_unix_nano else ""
    _line(Text.assemble((group.application, "dim"), f" last: {group.last_verdict_id}", (muted, "yellow")))
    _line(Text(group.template))
    _line(Text(group.reason, style="dim"))


def show_evidence(anomaly: anomaly_pb2.Anomaly) -> None:
    """Print an anomaly with all that is known of it."""
    table = Table(show_header=False, title=f"anomaly {anomaly.verdict.verdict_id}", title_justify="left")
    for name, value in _facts(anomaly):
        table.add_row(name, Text(value, overflow="fold"))
    OUTPUT.print(table)
    for part in (_context_table(anomaly), _window_table(anomaly.verdict), _candidates_table(anomaly.verdict)):
        if part.row_count:
            OUTPUT.print(part)
    for part in (
        _next_table(anomaly.verdict.diagnosis),
        _slow_table(anomaly.verdict.diagnosis),
        _numbers_table(anomaly.verdict),
        _counts_table(anomaly.verdict),
    ):
        if part.row_count:
            OUTPUT.print(part)


def _facts(anomaly: anomaly_pb2.Anomaly) -> Iterator[tuple[str, str]]:
    verdict = anomaly.verdict
    group = f"{anomaly.group_id} (muted)" if anomaly.is_muted else anomaly.group_id
    state = name_of(anomaly, "state").replace("_", " ")
    facts = {
        "kind": name_of(verdict, "kind"),
        "reason": verdict.reason,
        "diagnosis": verdict.diagnosis.text,
        "entry": anomaly.body,
        "template": verdict.template,
        "log key": "" if verdict.key == -1 else str(verdict.key),
        "parameters": ", ".join(verdict.parameters),
        "value": _value_text(verdict.abnormal_value) if verdict.HasField("abnormal_value") else "",
        "score": f"{verdict.score:.2f}",
        "rank": f"{verdict.rank} ({verdict.probability:.2%})" if verdict.rank else "",
        "time": iso_time(verdict.time_unix_nano),
        "application": verdict.application,
        "session": verdict.session,
        "session ended by": name_of(verdict, "session_end"),
        "state": f"{state} by feedback {anomaly.feedback_id}" if anomaly.feedback_id else state,
        "group": group,
        "model version": str(verdict.model_version),
        "stored": iso_time(anomaly.stored_unix_nano),
    }
    yield from ((name, value) for name, value in facts.items() if value)


def _value_text(value: verdict_pb2.AbnormalValue) -> str:
    """The value that fits least, and what was normal."""
    place = "elapsed time" if value.slot == -1 else f"slot {value.slot}"
    if value.text:
        return f"{place}: '{value.text}', new beside {', '.join(value.known)} ({value.known_count:,} in training)"
    unit = f" {value.unit}" if value.unit else ""
    return (
        f"{place}: {value.observed:,.6g}{unit}, where {value.predicted:,.6g} was expected "
        f"and {value.low:,.6g} to {value.high:,.6g} is normal"
    )


def _context_table(anomaly: anomaly_pb2.Anomaly) -> Table:
    table = _table("time (UTC)", "entry", title="entries of the session before it")
    for entry in anomaly.context:
        table.add_row(Text(iso_time(entry.time_unix_nano)[:23], no_wrap=True), Text(entry.body, overflow="fold"))
    return table


def _window_table(verdict: verdict_pb2.Verdict) -> Table:
    """The log keys before; only templates that the verdict itself tells are known."""
    known = {candidate.key: candidate.template for candidate in verdict.candidates}
    known[verdict.key] = verdict.template
    table = _table("key", "template", title="log keys before it")
    for key in verdict.window:
        table.add_row(str(key), Text(_KEYS.get(key) or known.get(key, ""), overflow="fold"))
    return table


def _candidates_table(verdict: verdict_pb2.Verdict) -> Table:
    table = _table("key", "probability", "template", title="expected instead")
    for candidate in verdict.candidates:
        template = Text(candidate.template, overflow="fold")
        table.add_row("end" if candidate.key == -1 else str(candidate.key), f"{candidate.probability:.2%}", template)
    return table


def _next_table(diagnosis: verdict_pb2.Diagnosis) -> Table:
    """What the workflow has next."""
    title = f"next in task {diagnosis.task}" if diagnosis.HasField("task") else "next in the workflow"
    table = _table("key", "probability", "usual delay", "template", title=title)
    for step in diagnosis.expected:
        key = "end" if step.key == -1 else str(step.key)
        delay = f"{step.p50_s:,.3g} s, 99 % in {step.p99_s:,.3g} s" if step.p99_s else ""
        table.add_row(key, f"{step.probability:.2%}", delay, Text(step.template, overflow="fold"))
    return table


def _slow_table(diagnosis: verdict_pb2.Diagnosis) -> Table:
    table = _table("key", "took", "usual delay", "template", title="slow steps of the session")
    for step in diagnosis.slow_steps:
        usual = f"{step.p50_s:,.3g} s, 99 % in {step.p99_s:,.3g} s"
        table.add_row(str(step.key), f"{step.elapsed_s:,.3g} s", usual, Text(step.template, overflow="fold"))
    return table


def _numbers_table(verdict: verdict_pb2.Verdict) -> Table:
    table = _table("slot", "number", title="its numbers")
    for number in verdict.vector.numbers:
        slot = "elapsed" if number.slot == -1 else str(number.slot)
        table.add_row(slot, f"{number.number:,.6g} {number.unit}".rstrip())
    return table


def _counts_table(verdict: verdict_pb2.Verdict) -> Table:
    table = _table("key", "times", title="log keys of the session")
    for key, times in sorted(verdict.session_counts.items()):
        table.add_row("not in the model" if key == -2 else str(key), f"{times:,}")
    return table


def _table(*columns: str, title: str) -> Table:
    return Table(*columns, title=title, title_justify="left")


def _kind(message: verdict_pb2.Verdict | anomaly_pb2.AnomalyGroup) -> Text:
    return Text(f"{name_of(message, 'kind'):<{_KIND_CHARS}}", style=KIND_STYLE.get(message.kind, ""))


def _state(message: anomaly_pb2.Anomaly | anomaly_pb2.AnomalyGroup, *, muted: bool) -> Text:
    state = name_of(message, "state").replace("_", " ")
    return Text.assemble((state, _STATE_STYLE.get(state, "")), (", muted" if muted else "", "yellow"))


def _head(text: str) -> None:
    OUTPUT.print(Text(text, style="bold underline"), no_wrap=True)


def _row(*cells: str | Text) -> None:
    OUTPUT.print(Text("  ").join(Text(cell) if isinstance(cell, str) else cell for cell in cells), no_wrap=True)


def _line(text: Text) -> None:
    """A line below a row, cut to the width; nothing where there is nothing to say."""
    if text.plain.strip():
        one_line = Text(" ").join(text.split("\n"))
        OUTPUT.print(Padding(one_line, (0, 0, 0, len(_INDENT))), no_wrap=True, overflow="ellipsis")
