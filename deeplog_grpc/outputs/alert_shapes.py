"""Notifications as the JSON that each receiver of alerts takes."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from jinja2 import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from deeplog_grpc.outputs.alerts import MORE, Notice, Occasion

ALERT_NAME = "LogAnomaly"
MORE_NAME = "LogAnomalyMore"
_MISSED_RESENDS = 4
"""After so many, Alertmanager takes an alert for resolved; Prometheus does the same."""
_MAX_TEXT = 1_000
"""Characters of log text in one value; Slack refuses more than some 3,000."""
_ENVIRONMENT = ImmutableSandboxedEnvironment(autoescape=False, undefined=StrictUndefined)


def plain_notice(notice: Notice, output: str) -> dict[str, Any]:
    """What a notification says, as plain data; see ``WebhookOutput.template``."""
    alert, latest = notice.alert, notice.alert.latest
    return {
        "output": output,
        "status": notice.occasion.value,
        "application": latest.application,
        "kind": latest.kind,
        "group_id": latest.group_id,
        "key": latest.key,
        "template": latest.template[:_MAX_TEXT],
        "reason": latest.reason[:_MAX_TEXT],
        "diagnosis": latest.diagnosis[:_MAX_TEXT],
        "session": latest.session[:_MAX_TEXT],
        "verdict_id": latest.verdict_id,
        "score": round(latest.score, 6),
        "count": alert.count,
        "new_count": notice.new_count,
        "starts_at": iso_time(alert.opened_s),
        "last_at": iso_time(latest.at_s),
        "summary": summary(notice),
    }


def summary(notice: Notice) -> str:
    """One line for a person."""
    alert, latest = notice.alert, notice.alert.latest
    if alert.group_id == MORE:
        if notice.occasion is Occasion.RESOLVED:
            return f"no further groups of anomalies beyond the limit; {alert.count:,} were"
        return f"and {alert.count:,} more groups of anomalies: see 'deeplog-grpc anomalies groups'"
    what = f"{latest.application}: {latest.reason or latest.kind}"[:_MAX_TEXT]
    match notice.occasion:
        case Occasion.RESOLVED:
            return f"over after {_times(alert.count)}: {what}"
        case Occasion.REMINDER:
            return f"{_times(notice.new_count)} more, {alert.count:,} in all: {what}"
        case _:
            return what if alert.count == 1 else f"{_times(alert.count)}: {what}"


def alertmanager_alerts(
    notices: Sequence[Notice], output: str, *, labels: Mapping[str, str], resend_s: float, now: float
) -> list[dict[str, Any]]:
    """The body of ``POST /api/v2/alerts``.

    Labels are the same as long as an alert is open: they are its identity there.
    """
    alerts = []
    for notice in notices:
        alert, said = notice.alert, plain_notice(notice, output)
        own = {"alertname": MORE_NAME}
        if alert.group_id != MORE:
            own = {
                "alertname": ALERT_NAME,
                "application": said["application"],
                "kind": said["kind"],
                "group_id": said["group_id"],
                "key": str(said["key"]),
            }
        notes = {
            name: str(said[name]) for name in ("summary", "reason", "diagnosis", "template", "count", "verdict_id")
        }
        notes["description"] = said["diagnosis"] or said["reason"]
        ends_s = now if notice.occasion is Occasion.RESOLVED else now + _MISSED_RESENDS * resend_s
        alerts.append(
            {
                "labels": {**labels, **own},
                "annotations": {name: text for name, text in notes.items() if text},
                "startsAt": said["starts_at"],
                "endsAt": iso_time(ends_s),
            }
        )
    return alerts


def slack_message(notice: Notice, output: str) -> dict[str, Any]:
    """The body for an incoming webhook of Slack."""
    said = plain_notice(notice, output)
    mark = ":white_check_mark:" if notice.occasion is Occasion.RESOLVED else ":rotating_light:"
    lines = [f"{mark} *{_escaped(said['summary'])}*"]
    if notice.alert.group_id != MORE:
        if said["diagnosis"]:
            lines.append(_escaped(said["diagnosis"]))
        if said["template"]:
            lines.append(f"`{_escaped(said['template']).replace('`', chr(39))}`")
        lines.append(
            _escaped(f"{said['kind']} · {said['count']:,} since {said['starts_at']} · group {said['group_id']}")
        )
    return {"text": "\n".join(lines)}


def rendered(template: str, notice: Notice, output: str) -> str:
    """The body that a template makes.

    Raises
    ------
    jinja2.TemplateError
        If the template does what it may not, or names what is not there.
    """
    return _ENVIRONMENT.from_string(template).render(alert=plain_notice(notice, output))


def iso_time(time_s: float) -> str:
    """A time as RFC 3339 has it.

    Examples
    --------
    >>> iso_time(0.5)
    '1970-01-01T00:00:00.500Z'
    """
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
