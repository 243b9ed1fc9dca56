"""``deeplog-grpc feedback``: say what an anomaly was, so that the models learn it."""

import re
from typing import Annotated

import typer

from deeplog_grpc.cli.console import JsonOption
from deeplog_grpc.cli.remote import (
    DEFAULT_SERVER,
    ActorOption,
    ApplicationOption,
    IdOption,
    NoteOption,
    ServerOption,
    actor_of,
    connected,
    named_order,
)
from deeplog_grpc.cli.update import show_update
from deeplog_grpc.client import FeedbackFields, new_feedback_id
from deeplog_grpc.errors import InputError
from deeplog_grpc.v1 import feedback_pb2, verdict_pb2

_ELAPSED = -1
_END = -1
_VALUE = re.compile(r"(elapsed|\d+)\s*=\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(\S*)")


def feedback(
    verdict: Annotated[str, typer.Argument(metavar="VERDICT", help="The anomaly's verdict id.")] = "",
    verdict_option: Annotated[str, typer.Option("--verdict", metavar="ID", help="The same as an option.")] = "",
    session: Annotated[str, typer.Option(metavar="NAME", help="All stored anomalies of a session.")] = "",
    group: Annotated[str, typer.Option(metavar="ID", help="All open anomalies of a group.")] = "",
    window: Annotated[
        str | None, typer.Option(metavar="KEYS", help="Log keys before --key, oldest first: 3,7,9. -1 = none yet.")
    ] = None,
    key: Annotated[str, typer.Option(help="Log key that came after --window, or that has --values; 'end' = end.")] = "",
    values: Annotated[
        str, typer.Option(help="Numbers of an entry with --key, by slot of its template: '0=12.5ms,elapsed=3'.")
    ] = "",
    false_positive: Annotated[
        bool, typer.Option("--false-positive", "--fp", help="It was normal: learn it, now.")
    ] = False,
    confirmed: Annotated[bool, typer.Option("--confirmed", help="It was abnormal: never learn it.")] = False,
    actor: ActorOption = None,
    note: NoteOption = "",
    feedback_id: IdOption = "",
    application: ApplicationOption = "",
    server: ServerOption = DEFAULT_SERVER,
    json: JsonOption = False,
) -> None:
    """Say what an anomaly was: a false positive, which the models learn at once, or confirmed.

    Name it by its verdict id, or name a session, a group, log keys (--window and --key) or numbers (--key and
    --values). The exit code is 3 if the new model was refused: the old one stays, and the output says why.

    **Example:** `deeplog-grpc feedback 3-128 --false-positive` or
    `deeplog-grpc feedback --group g-7 --confirmed --note 'disk was full'`
    """
    label = _label(false_positive=false_positive, confirmed=confirmed)
    fields = _target(
        {"VERDICT": verdict, "--verdict": verdict_option, "--session": session, "--group": group},
        key=key,
        window=window,
        values=values,
    )
    order = feedback_id or new_feedback_id()
    fields |= {"feedback_id": order, "application": application, "actor": actor_of(actor), "note": note}
    with named_order(order), connected(server) as client:
        update = client.feedback(label, **fields)
    show_update(update, json=json)


def step_of(window: str, key: str) -> feedback_pb2.LabelledStep:
    """A log key, or the end of the session, after a window.

    Raises
    ------
    InputError
        If a log key is no number.

    Examples
    --------
    >>> step = step_of("-1, 3,7", "end")
    >>> list(step.window), step.key
    ([-1, 3, 7], -1)
    """
    return feedback_pb2.LabelledStep(window=_keys(window), key=_key(key, "--key"))


def vector_of(key: str, values: str, window: str) -> verdict_pb2.ValueVector:
    """The numbers of an entry.

    Raises
    ------
    InputError
        If something is no number.

    Examples
    --------
    >>> vector = vector_of("4", "0=12.5ms, 2=7, elapsed=3", "9")
    >>> [(number.slot, number.number, number.unit) for number in vector.numbers], list(vector.previous)
    ([(0, 12.5, 'ms'), (2, 7.0, ''), (-1, 3.0, 's')], [-1, 9])
    """
    numbers = [_number(part.strip()) for part in values.split(",")]
    return verdict_pb2.ValueVector(key=_key(key, "--key"), numbers=numbers, previous=[-1, -1, *_keys(window)][-2:])


def _label(*, false_positive: bool, confirmed: bool) -> feedback_pb2.FeedbackLabel:
    if false_positive == confirmed:
        raise InputError("give exactly one of them", field="--false-positive, --confirmed")
    if confirmed:
        return feedback_pb2.FEEDBACK_LABEL_CONFIRMED
    return feedback_pb2.FEEDBACK_LABEL_FALSE_POSITIVE


def _target(named: dict[str, str], *, key: str, window: str | None, values: str) -> FeedbackFields:
    """What is meant: exactly one thing."""
    given = [name for name, value in {**named, "--key": key or values or window}.items() if value]
    if len(given) != 1:
        raise InputError("give exactly one of them", field="VERDICT, --session, --group, --key")
    if given == ["--key"]:
        return _by_key(key, window, values)
    verdict = named["VERDICT"] or named["--verdict"]
    found: FeedbackFields = {"verdict_id": verdict, "session": named["--session"], "group_id": named["--group"]}
    return found


def _by_key(key: str, window: str | None, values: str) -> FeedbackFields:
    if not key or (window is None and not values):
        raise InputError("needs --window or --values, and they need it", field="--key")
    if values:
        return {"vector": vector_of(key, values, window or "")}
    return {"step": step_of(window or "", key)}


def _keys(text: str) -> list[int]:
    return [_key(part, "--window") for part in text.split(",") if part.strip()]


def _key(text: str, field: str) -> int:
    if field == "--key" and text.strip() == "end":
        return _END
    try:
        return int(text)
    except ValueError:
        raise InputError(f"'{text.strip()}' is not the number of a log key", field=field) from None


def _number(text: str) -> verdict_pb2.ValueNumber:
    found = _VALUE.fullmatch(text)
    if found is None:
        raise InputError(f"'{text}' is not SLOT=NUMBER or elapsed=SECONDS", field="--values")
    slot, number, unit = found.groups()
    if slot == "elapsed":
        if unit not in ("", "s"):
            raise InputError(f"elapsed time is in seconds, not in '{unit}'", field="--values")
        return verdict_pb2.ValueNumber(slot=_ELAPSED, unit="s", number=float(number))
    return verdict_pb2.ValueNumber(slot=int(slot), unit=unit, number=float(number))
