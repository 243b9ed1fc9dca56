"""When to notify of a group of alike anomalies: a state machine without clock, network or disk.

An alert opens with the first anomaly of its group, is told of once (``firing``), again at most every ``repeat_s`` while
new anomalies come (``reminder``), and once when none came for ``resolve_s`` or people said that it is none
(``resolved``). Then it is forgotten, and the next anomaly of the group opens another.

Groups beyond the rate limit are held: one alert of its own tells how many they are. A held group that still goes on
after ``repeat_s`` is told of after all, when the limit allows.

What was sent has to be reported with :meth:`AlertBook.told`; until then it is due again.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from deeplog_grpc.outputs.rates import TokenBucket

MORE = ""
"""In the place of a group's name: the alert on groups beyond the limit."""
MORE_REPEAT_S = 60.0
MAX_ALERTS = 10_000
"""Beyond it, held groups are forgotten; one that comes again counts as another."""


class Occasion(StrEnum):
    """Why a notification is sent."""

    FIRING = "firing"
    REMINDER = "reminder"
    RESOLVED = "resolved"
    RESEND = "resend"
    """Nothing is new: the other side forgets what is not sent again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What is told of an anomaly."""

    group_id: str
    at_s: float
    """When it was stored, in seconds since 1970-01-01 UTC."""
    application: str = ""
    kind: str = ""
    key: int = -1
    template: str = ""
    reason: str = ""
    diagnosis: str = ""
    session: str = ""
    verdict_id: str = ""
    score: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """A group whose anomalies go on. Times are in seconds since 1970-01-01 UTC."""

    latest: Sighting
    """The last anomaly."""
    opened_s: float
    """When its first one was stored."""
    count: int
    """Anomalies since then; of :data:`MORE`: groups."""
    told_count: int = 0
    """How many of them were told of."""
    told_s: float = 0.0
    """When that was, or when it was held; 0 = not yet."""
    sent_s: float = 0.0
    """When it was sent last, resent included; 0 = not yet."""
    is_held: bool = False
    """Whether it is beyond the limit, and told of only as one of many."""
    is_over: bool = False
    """Whether people said that it is none."""

    @property
    def group_id(self) -> str:
        """The name of the group."""
        return self.latest.group_id

    @property
    def is_announced(self) -> bool:
        """Whether it was told of by itself."""
        return self.sent_s > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A notification that is due."""

    occasion: Occasion
    alert: Alert
    """As it is now."""

    @property
    def new_count(self) -> int:
        """Anomalies since the notification before."""
        return self.alert.count - self.alert.told_count


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRules:
    """When a notification is due."""

    repeat_s: float
    resolve_s: float
    max_per_minute: int
    resend_s: float | None = None
    """None = nothing is sent again."""


class AlertBook:
    """The alerts of an output.

    Parameters
    ----------
    rules : AlertRules
    alerts : iterable of Alert
        Those that were open before.
    """

    def __init__(self, rules: AlertRules, alerts: Iterable[Alert] = (), *, max_alerts: int = MAX_ALERTS) -> None:
        self._rules = rules
        self._max_alerts = max_alerts
        self._alerts = {alert.group_id: alert for alert in alerts}
        self._changed: set[str] = set()
        self._bucket = TokenBucket(per_s=rules.max_per_minute / 60, burst=rules.max_per_minute)

    def __len__(self) -> int:
        return len(self._alerts)

    @property
    def group_ids(self) -> list[str]:
        """Groups that have an alert."""
        return [group_id for group_id in self._alerts if group_id != MORE]

    def see(self, sightings: Iterable[Sighting], *, now: float) -> None:
        """Count anomalies, in the order in which they were stored."""
        for seen in sightings:
            at_s = min(seen.at_s, now)  # else a clock that was set back would keep it open
            alert = self._alerts.get(seen.group_id)
            if alert is None:
                self._make_room()
                alert = Alert(latest=seen, opened_s=at_s, count=0)
            self._put(replace(alert, latest=replace(seen, at_s=at_s), count=alert.count + 1, is_over=False))

    def settle(self, group_ids: Iterable[str]) -> None:
        """People said that these groups are nothing to be told of."""
        for group_id in group_ids:
            alert = self._alerts.get(group_id)
            if alert is None or alert.is_over:
                continue
            if alert.is_announced:
                self._put(replace(alert, is_over=True))
            else:
                self._drop(group_id)

    def due(self, now: float) -> list[Notice]:
        """What is to be sent now: resolved ones, then new ones in the order in which they opened, reminders, resends.

        New groups that the limit leaves no room for are held from now on.
        """
        waiting: dict[Occasion, list[Alert]] = {occasion: [] for occasion in Occasion}
        for alert in list(self._alerts.values()):
            occasion = self._occasion(alert, now)
            if occasion is Occasion.RESOLVED and not alert.is_announced:
                self._drop(alert.group_id)
            elif occasion is not None:
                waiting[occasion].append(alert)
        free = int(self._bucket.available(now) + 1e-9)
        waiting[Occasion.FIRING].sort(key=lambda alert: (alert.is_held, alert.opened_s))
        for occasion in (Occasion.FIRING, Occasion.REMINDER):
            # The one on all that is beyond the limit is not counted: there is one a minute.
            more = [alert for alert in waiting[occasion] if alert.group_id == MORE]
            groups = [alert for alert in waiting[occasion] if alert.group_id != MORE]
            waiting[occasion] = more + groups[:free]
            if occasion is Occasion.FIRING:
                self._hold([alert for alert in groups[free:] if not alert.is_held], now)
            free = max(0, free - len(groups))
        order = (Occasion.RESOLVED, Occasion.FIRING, Occasion.REMINDER, Occasion.RESEND)
        return [Notice(occasion=occasion, alert=alert) for occasion in order for alert in waiting[occasion]]

    def told(self, notices: Iterable[Notice], *, now: float) -> None:
        """Notifications were sent, or refused for ever."""
        for notice in notices:
            sent = notice.alert
            current = self._alerts.get(sent.group_id)
            if current is None:
                continue
            if notice.occasion is Occasion.RESOLVED:
                if current.count == sent.count:
                    self._drop(sent.group_id)
                else:  # came back while that was sent: another alert
                    rest = current.count - sent.count
                    self._put(Alert(latest=current.latest, opened_s=current.latest.at_s, count=rest))
                continue
            if notice.occasion is not Occasion.RESEND:
                current = replace(current, told_count=sent.count, told_s=now, is_held=False)
                if sent.group_id != MORE:
                    self._bucket.take(1, now=now)
            self._put(replace(current, sent_s=now))

    def take_changes(self) -> tuple[list[Alert], list[str]]:
        """Alerts that changed since the last call, and groups whose alerts are gone."""
        changed, self._changed = self._changed, set()
        kept = [self._alerts[group_id] for group_id in changed if group_id in self._alerts]
        return kept, [group_id for group_id in changed if group_id not in self._alerts]

    def put_back(self, changed: Iterable[str]) -> None:
        """Changes of these groups could not be kept: the next call has them again."""
        self._changed.update(changed)

    def _occasion(self, alert: Alert, now: float) -> Occasion | None:
        rules = self._rules
        repeat_s = MORE_REPEAT_S if alert.group_id == MORE else rules.repeat_s
        has_news = alert.count > alert.told_count
        if not alert.is_announced and not alert.is_held:
            return Occasion.FIRING
        if alert.is_over or now - alert.latest.at_s >= rules.resolve_s:
            return Occasion.RESOLVED
        if has_news and now - alert.told_s >= repeat_s:
            return Occasion.FIRING if alert.is_held else Occasion.REMINDER
        if alert.is_announced and rules.resend_s is not None and now - alert.sent_s >= rules.resend_s:
            return Occasion.RESEND
        return None

    def _hold(self, alerts: list[Alert], now: float) -> None:
        for alert in alerts:
            self._put(replace(alert, is_held=True, told_s=now, told_count=alert.count))
        if alerts:
            latest = Sighting(group_id=MORE, at_s=now)
            more = self._alerts.get(MORE) or Alert(latest=latest, opened_s=now, count=0)
            self._put(replace(more, latest=latest, count=more.count + len(alerts)))

    def _make_room(self) -> None:
        if len(self._alerts) >= self._max_alerts:
            held = next((group_id for group_id, alert in self._alerts.items() if alert.is_held), None)
            if held is not None:
                self._drop(held)

    def _put(self, alert: Alert) -> None:
        self._alerts[alert.group_id] = alert
        self._changed.add(alert.group_id)

    def _drop(self, group_id: str) -> None:
        del self._alerts[group_id]
        self._changed.add(group_id)
