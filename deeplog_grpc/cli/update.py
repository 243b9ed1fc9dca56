"""What became of feedback or of an adaptation: for people and for machines."""

import typer
from rich.table import Table
from rich.text import Text

from deeplog_grpc.cli.console import OUTPUT, print_json
from deeplog_grpc.cli.messages import name_of, plain
from deeplog_grpc.v1 import feedback_pb2

EXIT_REFUSED = 3
"""The server has understood the order and refused it: the new model was not good enough."""

_MAX_ROWS = 20
_STYLES = {
    feedback_pb2.FEEDBACK_OUTCOME_LEARNED: "green",
    feedback_pb2.FEEDBACK_OUTCOME_REFUSED: "red",
}


def show_update(update: feedback_pb2.FeedbackResponse, *, json: bool) -> None:
    """Print it.

    Raises
    ------
    typer.Exit
        With code 3 if the update was refused.
    """
    if json:
        print_json(plain(update))
    else:
        _show(update)
    if update.outcome == feedback_pb2.FEEDBACK_OUTCOME_REFUSED:
        raise typer.Exit(EXIT_REFUSED)


def gate_text(check: feedback_pb2.GateCheck) -> str:
    """What the gate found, in one sentence.

    Examples
    --------
    >>> gate_text(feedback_pb2.GateCheck(sessions=200, flagged_before=0.01, flagged_after=0.015, margin=0.02))
    'of 200 known-normal sessions 1.00% -> 1.50% flagged (2.00% allowed)'
    """
    parts = [
        f"of {check.sessions:,} known-normal sessions {check.flagged_before:.2%} -> {check.flagged_after:.2%} flagged "
        f"({check.flagged_first + check.margin:.2%} allowed)"
    ]
    if check.confirmed:
        parts.append(f"{check.confirmed_flagged:,} of {check.confirmed:,} confirmed anomalies still found")
    if check.lessons:
        parts.append(f"{check.lessons_kept:,} of {check.lessons:,} earlier lessons kept")
    return ", ".join(parts)


def _show(update: feedback_pb2.FeedbackResponse) -> None:
    outcome = name_of(update, "outcome").replace("_", " ")
    message = update.message.removeprefix(outcome)  # which the server's sentence may begin with
    between = ": " if message == update.message and message else ""
    OUTPUT.print(Text.assemble((outcome, f"bold {_STYLES.get(update.outcome, '')}"), between, message))
    if update.cases:
        OUTPUT.print(_cases_table(update))
    for line in _lines(update):
        OUTPUT.print(Text(line))


def _lines(update: feedback_pb2.FeedbackResponse) -> list[str]:
    lines = []
    match update.outcome:
        case feedback_pb2.FEEDBACK_OUTCOME_LEARNED:
            lines.append(f"version {update.model_version} is in force: {update.steps:,} steps, {update.update_s:.1f} s")
        case feedback_pb2.FEEDBACK_OUTCOME_REFUSED:
            lines.append(f"version {update.model_version} stays in force")
    if update.HasField("check"):
        lines.append(f"gate: {gate_text(update.check)}")
    if update.explained:
        lines.append(f"{update.explained:,} other open anomalies explained")
    lines.append(f"feedback {update.feedback_id}{', had before' if update.is_repeat else ''}")
    return lines


def _cases_table(update: feedback_pb2.FeedbackResponse) -> Table:
    table = Table("kind", "key", "rank", "probability", "normal now")
    for case in update.cases[:_MAX_ROWS]:
        table.add_row(
            name_of(case, "kind"),
            _key(case.key),
            f"{_rank(case.rank_before)} -> {_rank(case.rank_after)}" if _has_place(case) else "-",
            f"{case.probability_before:.2%} -> {case.probability_after:.2%}" if _has_place(case) else "-",
            "yes" if case.is_normal else Text("no", style="red"),
        )
    rest = max(update.case_count, len(update.cases)) - min(len(update.cases), _MAX_ROWS)
    if rest:
        table.caption = f"and {rest:,} more"
    return table


def _has_place(case: feedback_pb2.LearnedCase) -> bool:
    """Whether it was judged by its place; numbers and counts are not, and have rank 0 and probability 1."""
    places = ((case.rank_before, case.probability_before), (case.rank_after, case.probability_after))
    return any(rank or 0 < probability < 1 for rank, probability in places)


def _key(key: int) -> str:
    return "end" if key == -1 else str(key)


def _rank(rank: int) -> str:
    return str(rank) if rank else "-"
